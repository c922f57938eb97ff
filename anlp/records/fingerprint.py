"""Fingerprints of failures: the exception, its message without figures, where it arose.

Two failures of one cause have one fingerprint.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from anlp.records.results import RunError

_FRAME = re.compile(
    r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE
)
_FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python", "<frozen ")

# What differs between two failures of one cause. The order matters: paths contain digits.
_SPECIFICS = (
    (re.compile(r"'[^']*'|\"[^\"]*\""), "'…'"),
    (re.compile(r"(?<![\w.])(?:~|\.{1,2})?/[^\s:,;)\]]+"), "PATH"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "N"),
    (re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "N"),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal for exceptions of one cause."""

    type: str
    message: str
    place: str

    def __str__(self) -> str:
        """`ValueError: bad shape, in loop.py step`."""
        text = f"{self.type}: {self.message}" if self.message else self.type
        return f"{text}, in {self.place}" if self.place else text


def fingerprint_of(error: RunError) -> Fingerprint:
    """Return the fingerprint of the exception that ended a run."""
    return Fingerprint(error.type, normalise(error.message), place(error.traceback))


@functools.lru_cache(maxsize=1024)  # thousands of runs may end alike
def normalise(message: str) -> str:
    """Return the first line of a message without numbers, hex, paths and quoted values.

    >>> normalise("file 'a.npy' has 3 rows")
    "file '…' has N rows"
    """
    line = first_line(message)
    for pattern, stand_in in _SPECIFICS:
        line = pattern.sub(stand_in, line)
    return line


def first_line(text: str) -> str:
    """Return the first line that is not blank; empty where there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def innermost_frame(traceback: str) -> str:
    """Return the line of the innermost frame of this project's code.

    Of any code where none is this project's; empty where there is no frame.
    """
    frames = list(_FRAME.finditer(traceback))
    own = [frame for frame in frames if not any(part in frame["path"] for part in _FOREIGN)]
    if not frames:
        return ""
    return (own or frames)[-1][0].strip()


def render_frame(traceback: str) -> str:
    """Return the innermost frame as `loop.py:88 in step`; empty where there is none."""
    frame = _FRAME.match(innermost_frame(traceback))
    return f"{_file(frame['path'])}:{frame['line']} in {frame['function']}" if frame else ""


def place(traceback: str) -> str:
    """Return the innermost frame without its line number: `loop.py step`.

    It survives an edit further up.
    """
    frame = _FRAME.match(innermost_frame(traceback))
    return f"{_file(frame['path'])} {frame['function']}" if frame else ""


def _file(path: str) -> str:
    return path.rpartition("/")[2]
