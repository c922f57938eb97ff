"""Scalars of TensorBoard's event files in the folder of a run, without TensorBoard.

An event file is a sequence of TFRecords: length, checksum of the length, an `Event` of
tensorflow/core/util/event.proto, its checksum. Importing TensorBoard's own reader would take
longer, and more memory, than a program's run may cost; the tests compare with it.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anlp.core.units import count
from anlp.programs.sources.wire import Value, double, fields, message_of, signed, text_of

PATTERN = "events.out.tfevents.*"
MOST_NAMES = 5  # in a sentence
LARGEST_RECORD = 1 << 28
_LENGTH = struct.Struct("<QI")
_FOOTER = 4

EVENT_STEP, EVENT_SUMMARY = 2, 5
SUMMARY_VALUE = 1
TAG, SIMPLE_VALUE, TENSOR = 1, 2, 8  # of a value
TENSOR_TYPE, TENSOR_SHAPE, TENSOR_CONTENT = 1, 2, 4
SHAPE_DIMENSION, DIMENSION_SIZE = 2, 1
# By the type of a tensor: the field with its values, and the format of one in its content.
TENSOR_VALUES = {1: (5, "f"), 2: (6, "d"), 3: (7, "i"), 9: (10, "q")}

# Parts of a path that name an attempt, not what was measured: torch, Lightning, dates.
_ATTEMPT = re.compile(
    r"[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.*|version_\d+|\d{4}-?\d\d-?\d\d.*|runs|logs"
)


class EventFiles:
    """The scalars of all event files below a folder, one row for each step of a file.

    Files in different folders (`train`, `validation`) are told apart by the folder in the names.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, _EventFile] = {}
        self.must_restart = False  # the names of the rows so far have changed
        self._had_rows = False
        self._prefix_of: dict[Path, str] = {}

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that are new; the last step of a file waits until the next has begun."""
        for path in sorted(self._folder.rglob(PATTERN), key=_order):
            if path not in self._files:
                self._files[path] = _EventFile(path)
        before, self._prefix_of = self._prefix_of, self._prefixes()
        self.must_restart = self._had_rows and any(
            self._prefix_of[folder] != prefix for folder, prefix in before.items()
        )
        last = {self._prefix_of[path.parent]: path for path in self._files}
        for path, file in self._files.items():
            prefix = self._prefix_of[path.parent]
            for row in file.new_rows():
                self._had_rows = True
                yield _named(row, prefix)
            if file.waiting and last[prefix] != path:  # a later attempt has begun
                yield _named(file.take_waiting(), prefix)

    def last_rows(self) -> Iterator[dict[str, Any]]:
        """Yield what waits, when the program has ended."""
        for path, file in self._files.items():
            if file.waiting:
                self._had_rows = True
                yield _named(file.take_waiting(), self._prefix_of[path.parent])

    def rewind(self) -> None:
        """Let `new_rows` begin again."""
        self._files = {path: _EventFile(path) for path in self._files}
        self.must_restart = False

    @property
    def is_there(self) -> bool:
        """Return whether there was a scalar."""
        return self._had_rows

    def notes(self) -> list[str]:
        """Return what people should know about the files."""
        found = [
            f"{path.name}: damaged after {file.position:,} bytes, the rest is left out"
            for path, file in self._files.items()
            if file.is_damaged
        ]
        others: Counter[str] = Counter()
        for file in self._files.values():
            others.update(file.others)
        if others:
            names = ", ".join(sorted(others)[:MOST_NAMES])
            more = ", …" if len(others) > MOST_NAMES else ""
            found.append(
                f"{count(sum(others.values()), 'value')} of TensorBoard that are no scalars are "
                f"left out: {names}{more}"
            )
        return found

    def _prefixes(self) -> dict[Path, str]:
        """Return what stands before the names of each folder."""
        parts = {
            path.parent: [
                part
                for part in path.parent.relative_to(self._folder).parts
                if not _ATTEMPT.fullmatch(part)
            ]
            for path in self._files
        }
        shared = 0
        while len({tuple(each[: shared + 1]) for each in parts.values()}) == 1 and all(
            len(each) > shared for each in parts.values()
        ):
            shared += 1
        return {folder: "/".join(each[shared:]) for folder, each in parts.items()}


class _EventFile:
    """One growing file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.is_damaged = False
        self.others: Counter[str] = Counter()  # values that are no scalars, by tag
        self.waiting: dict[str, Any] = {}  # the row of the step that is being written

    def new_rows(self) -> Iterator[dict[str, Any]]:
        for record in self._new_records():
            try:
                step, values = self._parse(record)
            except ValueError:
                self.is_damaged = True
                return
            if self.waiting and self.waiting["step"] != step and values:
                yield self.take_waiting()
            if values:
                self.waiting.update(values, step=step)

    def take_waiting(self) -> dict[str, Any]:
        row, self.waiting = self.waiting, {}
        return row

    def _new_records(self) -> Iterator[bytes]:
        if self.is_damaged:
            return
        try:
            file = self.path.open("rb")
        except OSError:
            return
        with file:
            file.seek(self.position)
            while len(header := file.read(_LENGTH.size)) == _LENGTH.size:
                length, checksum = _LENGTH.unpack(header)
                if masked_checksum(header[:8]) != checksum or length > LARGEST_RECORD:
                    self.is_damaged = True
                    return
                record = file.read(length + _FOOTER)
                if len(record) < length + _FOOTER:
                    return  # not written whole yet
                self.position += _LENGTH.size + length + _FOOTER
                yield record[:-_FOOTER]

    def _parse(self, event: bytes) -> tuple[int, dict[str, float]]:
        step, values = 0, {}
        for number, content in fields(event):
            if number == EVENT_STEP:
                step = signed(content)
            elif number == EVENT_SUMMARY:
                for which, value in fields(message_of(content)):
                    if which == SUMMARY_VALUE:
                        tag, scalar = _scalar(message_of(value))
                        if scalar is not None:
                            values[tag] = scalar
                        elif not tag.startswith("_"):
                            self.others[tag] += 1
        return step, values


def _named(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    if not prefix:
        return dict(row)
    return {name if name == "step" else f"{prefix}/{name}": value for name, value in row.items()}


def _order(path: Path) -> tuple[str, str]:
    """Return the key by which attempts follow one another: the name begins with its time."""
    return path.name, str(path)


def _scalar(value: bytes) -> tuple[str, float | None]:
    """Return the tag of a value and its number, None where it is no scalar."""
    tag, scalar = "", None
    for number, content in fields(value):
        if number == TAG:
            tag = text_of(content)
        elif number == SIMPLE_VALUE:
            scalar = shortest(double(content))
        elif number == TENSOR:
            scalar = _scalar_of_tensor(message_of(content))
    return tag, scalar


def _scalar_of_tensor(tensor: bytes) -> float | None:
    found: dict[int, Value] = dict(fields(tensor))
    kind = signed(found.get(TENSOR_TYPE, 0))
    if kind not in TENSOR_VALUES or _size(found.get(TENSOR_SHAPE, b"")) != 1:
        return None
    where, form = TENSOR_VALUES[kind]
    content = found.get(TENSOR_CONTENT) or found.get(where)
    if content is None:
        return 0.0
    if isinstance(content, int):
        return float(signed(content))
    if where in (7, 10) and TENSOR_CONTENT not in found:  # packed varints
        return float(signed(next(iter(fields(b"\x08" + content)))[1]))
    if len(content) != struct.calcsize(f"<{form}"):
        return None
    number = struct.unpack(f"<{form}", content)[0]
    return shortest(number) if form == "f" else float(number)


def _size(shape: Value) -> int:
    size = 1
    for number, dimension in fields(message_of(shape)):
        if number == SHAPE_DIMENSION:
            size *= signed(dict(fields(message_of(dimension))).get(DIMENSION_SIZE, 0))
    return size


def shortest(single: float) -> float:
    """Return the shortest decimal number that is this one in single precision.

    >>> shortest(0.10000000149011612)
    0.1
    """
    for digits in (6, 7, 8):
        rounded = float(f"{single:.{digits}g}")
        if array("f", [rounded])[0] == single:
            return rounded
    return single


def _checksum_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _checksum_table()


def masked_checksum(data: bytes) -> int:
    """Return the CRC-32C of a few bytes, in the form of TFRecord."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
