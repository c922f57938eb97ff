"""Headers of wav files: where the samples are, also where the recorder never wrote the sizes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

RIFF, RIFX, RF64 = b"RIFF", b"RIFX", b"RF64"
CHUNK = 8  # bytes of a chunk's name and size
FORMAT = 16  # bytes that every format chunk has
PLAIN = (1, 3, 0xFFFE)  # samples one after the other: whole numbers, fractions, or either
# what recorders and pipes write before they know the size: nothing, or as much as fits
LEAST_UNKNOWN = 0x7FFF_0000


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says, and where the samples are."""

    order: str  # of bytes: "<" or ">"
    form: bytes  # content of the format chunk
    frame: int  # bytes of one sample of all channels
    start: int
    size: int  # bytes of samples, as stored
    is_known: bool  # False: no size was written, the samples go to the end of the file


def repaired(content: bytes) -> bytes:
    """Return a wav file with its format and its samples only, and with right sizes.

    The size of the whole file is of no use and is not read: recorders get it wrong. Where the size
    of the samples was never written, they go to the end of the file.

    Raises:
        ValueError: no wav file, one without format or samples, or one that is cut short.
    """
    header = _header(content)
    end = min(header.start + header.size, len(content))
    if header.is_known and end < header.start + header.size:
        raise ValueError(
            f"it is cut short: {header.size} bytes of samples are announced, "
            f"{len(content) - header.start} are there"
        )
    samples = content[header.start : end]
    samples = samples[: len(samples) - len(samples) % header.frame]
    form = _chunk(header.order, b"fmt ", header.form)
    body = b"WAVE" + form + _chunk(header.order, b"data", samples)
    name = RIFX if header.order == ">" else RIFF
    return _chunk(header.order, name, body)


def _chunk(order: str, name: bytes, content: bytes) -> bytes:
    padding = b"\0" * (len(content) % 2)
    return name + struct.pack(f"{order}I", len(content)) + content + padding


def _header(content: bytes) -> Header:
    if content[:4] not in (RIFF, RIFX, RF64) or content[8:12] != b"WAVE":
        raise ValueError("it does not begin as a wav file")
    order = ">" if content[:4] == RIFX else "<"
    form, large = b"", 0
    at = 12
    while at + CHUNK <= len(content):
        name, (size,) = content[at : at + 4], struct.unpack_from(f"{order}I", content, at + 4)
        start = at + CHUNK
        if name == b"data":
            frame = _frame(order, form)
            size, is_known = _size_of_samples(content, start, large or size)
            return Header(order, form, frame, start, size, is_known)
        if name == b"fmt ":
            form = content[start : start + size]
        if name == b"ds64" and size >= FORMAT and len(content) >= start + FORMAT:
            (large,) = struct.unpack_from("<Q", content, start + 8)
        at = start + size + size % 2
    raise ValueError("it has no samples (no data chunk)")


def _frame(order: str, form: bytes) -> int:
    """Return the bytes of one sample of all channels.

    Raises:
        ValueError: the format is missing or impossible.
    """
    if len(form) < FORMAT:
        raise ValueError("it has no format (no fmt chunk) before its samples")
    coding, channels, _, _, frame, bits = struct.unpack_from(f"{order}HHIIHH", form)
    said = {"channels": channels, "bytes for a sample": frame}
    if coding in PLAIN:
        said["bits in a sample"] = bits
    for what, number in said.items():
        if not number:
            raise ValueError(f"its header says 0 {what}")
    if coding in PLAIN and frame % channels:
        raise ValueError(f"its header says {frame} bytes for a sample of {channels} channels")
    return int(frame)


def _size_of_samples(content: bytes, start: int, size: int) -> tuple[int, bool]:
    """Return how many bytes the samples have, and whether the header says so."""
    there = len(content) - start
    is_missing = size == 0 and there > 0 and not _are_chunks(content, start)
    is_unknown = size >= LEAST_UNKNOWN and size > there
    if is_missing or is_unknown:
        return there, False
    return size, True


def _are_chunks(content: bytes, at: int) -> bool:
    """Tell whether the rest of a file is chunks, one behind the other."""
    while at + CHUNK <= len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        if not (content[at : at + 4].isascii() and content[at : at + 4].decode().isprintable()):
            return False
        at += CHUNK + size + size % 2
    return at >= len(content) and at - len(content) <= 1
