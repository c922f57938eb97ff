"""The wire format of protocol buffers, as far as logs of metrics need it: fields of a message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | bytes  # a varint, or the bytes of anything else

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    r"""Yield the number and the value of each field, in order.

    >>> list(fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]

    Raises:
        ValueError: it is no message, or a torn one.
    """
    position, end = 0, len(message)
    while position < end:
        key = message[position]
        position += 1
        if key > 127:
            key, position = _varint(message, position - 1)
        kind = key & 7
        if kind == _BYTES:
            size = message[position] if position < end else 128
            position += 1
            if size > 127:
                size, position = _varint(message, position - 1)
        elif kind == _VARINT:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if position + size > end:
            raise ValueError("a torn field")
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        if position >= len(message):
            raise ValueError("a torn number")
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
    raise ValueError("a number of more than 64 bits")


def text_of(value: Value) -> str:
    """Return the value of a field of type string."""
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def message_of(value: Value) -> bytes:
    """Return the value of a field that is a message.

    Raises:
        ValueError: it is a number.
    """
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def signed(value: Value) -> int:
    """Return the value of a field of type int32 or int64."""
    number = value if isinstance(value, int) else 0
    return number - (1 << 64) if number >= 1 << 63 else number


def zigzag(value: Value) -> int:
    """Return the value of a field of type sint64.

    >>> [zigzag(number) for number in (0, 1, 2, 3)]
    [0, -1, 1, -2]
    """
    number = value if isinstance(value, int) else 0
    return (number >> 1) ^ -(number & 1)


def double(value: Value) -> float:
    """Return the value of a field of type double or float."""
    if not isinstance(value, bytes) or len(value) not in (4, 8):
        raise ValueError("no floating-point number")
    return float(struct.unpack("<d" if len(value) == 8 else "<f", value)[0])
