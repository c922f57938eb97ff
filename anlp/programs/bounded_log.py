"""The log of a program: safe for a terminal, and bounded in size."""

from __future__ import annotations

import os
import re
from pathlib import Path

from anlp.core.files import open_to_write

LONGEST_LINE = 1 << 16  # that is held back until it is whole
SLACK = 1 << 20  # of the tail in memory, so that it is not cut at every line

_SEQUENCE = re.compile(  # colours, cursor movements, window titles, character sets
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)
_C1 = re.compile(rb"\xc2[\x80-\x9f]")  # the same in one character of UTF-8
# What else steers a terminal becomes `?`; bells and backspaces are left out.
_STEERING = bytes(byte for byte in range(32) if byte not in b"\t\n\r") + b"\x7f"
_HARMLESS = bytes.maketrans(_STEERING, b"?" * len(_STEERING))
_LEFT_OUT = b"\x07\x08"


class LineFilter:
    """Turns what arrives of one stream into lines that do no harm to a terminal.

    A progress bar draws over its own line with carriage returns: of the states between two looks
    only the last is kept.
    """

    def __init__(self) -> None:
        self._open = b""  # the line that has not ended
        self._is_shown = False  # a part of it has been taken
        self._return = b""  # what is to be printed next goes over what was shown

    def feed(self, data: bytes) -> bytes:
        """Return the lines that `data` completes."""
        text = self._open + data
        if self._is_shown and b"\r" in text.partition(b"\n")[0]:
            self._return = b"\r"
        cut = text.rfind(b"\n") + 1
        self._open = _last_state(text[cut:])
        if not cut:
            return self.take() if len(self._open) > LONGEST_LINE else b""
        whole = self._return + _harmless(_last_states(text[:cut]))
        self._is_shown, self._return = False, b""
        return whole

    def take(self) -> bytes:
        """Return what there is of the line that has not ended."""
        if not self._open:
            return b""
        shown = self._return + _harmless(self._open.rstrip(b"\r"))
        self._return = b"\r" if self._open.endswith(b"\r") else b""
        self._open, self._is_shown = b"", True
        return shown


def _last_states(lines: bytes) -> bytes:
    if b"\r" not in lines:
        return lines
    return b"\n".join(_last_state(line).rstrip(b"\r") for line in lines.split(b"\n"))


def _last_state(line: bytes) -> bytes:
    r"""Return what a line shows after its carriage returns.

    >>> _last_state(b"10%\r20%"), _last_state(b"10%\r20%\r")
    (b'20%', b'20%\r')
    """
    body = line.rstrip(b"\r")
    return line[body.rfind(b"\r") + 1 :]


def _harmless(text: bytes) -> bytes:
    if b"\x1b" in text:
        text = _SEQUENCE.sub(b"", text)
    text = text.translate(_HARMLESS, _LEFT_OUT)
    return _C1.sub(b"?", text) if b"\xc2" in text else text  # last: their bytes may have met now


class BoundedLog:
    """A file that keeps the first and the last half of what is written, within a limit.

    What is left out between them is one counted line. Up to the limit every write is in the file
    at once; beyond it at each `flush`. Lines that others append to the file stay until the limit
    is reached. A full disk ends nothing: `error` says so and the bytes count as left out.

    Args:
        path: created, or appended to.
        limit: of the bytes that are added.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.error = ""
        self._file = open_to_write(path)
        self._half = max(limit // 2, 1)
        self._head_left = self._half
        self._start = 0  # where the last half begins in the file
        self._tail = bytearray()
        self._tail_total = 0  # bytes behind the first half, those left out included
        self._unwritten = 0
        self._in_file = 0  # bytes of the tail
        self._lost = 0  # bytes that the disk refused

    @property
    def left_out(self) -> int:
        """Return the number of bytes that are not in the file."""
        return self._tail_total - self._in_file - self._unwritten + self._lost

    def write(self, data: bytes) -> None:
        """Add data."""
        if not data:
            return
        if self._head_left:
            head, data = data[: self._head_left], data[self._head_left :]
            self._head_left -= len(head)
            self._append(head)
            if not self._head_left:
                self._start = os.lseek(self._file, 0, os.SEEK_END)
        self._tail += data
        self._tail_total += len(data)
        self._unwritten += len(data)
        if len(self._tail) > self._half + SLACK:
            del self._tail[: len(self._tail) - self._half]
        if self._tail_total <= self._half:
            self.flush()

    def flush(self) -> None:
        """Bring the file up to date."""
        if self._in_file + self._unwritten <= self._half:
            if self._unwritten:
                self._append(bytes(self._tail[-self._unwritten :]))
            self._in_file += self._unwritten
            self._unwritten = 0
        else:  # half of the last half: the next lines can be appended
            self._rewrite(self._half // 2)

    def close(self) -> None:
        """Leave the first half, the number of bytes left out, and the last half."""
        if self._tail_total > self._half:
            self._rewrite(self._half)
        os.close(self._file)

    def _rewrite(self, size: int) -> None:
        last = bytes(self._tail[-size:])
        last = last[last.find(b"\n", 0, 4096) + 1 :]  # begins with a whole line where it can
        self._in_file, self._unwritten = len(last), 0
        line = f"\n… {self._tail_total - len(last):,} bytes left out …\n"
        try:
            os.ftruncate(self._file, self._start)
        except OSError as error:
            self.error = str(error.strerror)
            return
        self._append(line.encode() + last)

    def _append(self, data: bytes) -> None:
        try:
            os.lseek(self._file, 0, os.SEEK_END)
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.error = str(error.strerror)
            self._lost += len(data)
