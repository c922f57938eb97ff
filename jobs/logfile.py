"""The end of a run's log, read without reading the rest of it."""

from __future__ import annotations

import os
from pathlib import Path

from anlp.record import read_result
from jobs.state import RunStatus

BLOCK = 1 << 16


def last_words(status: RunStatus, lines: int) -> list[str]:
    """The last lines of a run's log; of a failed run without a log, those of its traceback."""
    found = tail(status.folder.log, lines)
    if found:
        return found
    result = read_result(status.folder)
    return result.error.traceback.splitlines()[-lines:] if result and result.error else []


def tail(path: Path, lines: int, end: int | None = None) -> list[str]:
    """The last lines before byte `end` of a text file, reading no more of it than they need; none without a file."""
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END) if end is None else end
            content = b""
            while position > 0 and content.count(b"\n") <= lines:
                start = max(0, position - BLOCK)
                file.seek(start)
                content = file.read(position - start) + content
                position = start
    except OSError:
        return []
    text = content.decode(errors="replace").removesuffix("\n")
    return text.split("\n")[-lines:] if text else []
