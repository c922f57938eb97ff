"""Where an exception arose, from the text of its traceback."""

from __future__ import annotations

import re

_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python", "<frozen ")


def innermost_frame(traceback: str) -> str:
    """The line of the innermost frame of our own code (of any code where none is ours); empty where there is none."""
    frames = list(_FRAME.finditer(traceback))
    own = [frame for frame in frames if not any(part in frame["path"] for part in _FOREIGN)]
    return (own or frames)[-1][0].strip() if frames else ""


def render_frame(traceback: str) -> str:
    """The innermost frame of our own code as `loop.py:88 in step`; empty where there is none."""
    frame = _FRAME.match(innermost_frame(traceback))
    return f"{_file(frame['path'])}:{frame['line']} in {frame['function']}" if frame else ""


def place(traceback: str) -> str:
    """The same without the line number, so that it survives an edit further up: `loop.py step`."""
    frame = _FRAME.match(innermost_frame(traceback))
    return f"{_file(frame['path'])} {frame['function']}" if frame else ""


def _file(path: str) -> str:
    return path.rpartition("/")[2]
