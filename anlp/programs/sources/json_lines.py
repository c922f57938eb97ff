"""JSON lines that a program appends to the file in `ANLP_METRICS`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anlp.core.units import count
from anlp.programs.sources.rows import flatten

CHUNK = 1 << 20


class JsonLines:
    """The objects of a growing file; a line counts when its end is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.must_restart = False  # the program wrote the file anew
        self._position = 0
        self._bad = 0
        self._first_bad = ""
        self._number = 0  # of the last line

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of lines that were not read before."""
        try:
            file = self._path.open("rb")
        except OSError:  # not written yet
            return
        with file:
            if self._position > file.seek(0, 2):
                self.must_restart = True
                return
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                self._number += 1
                yield from self._parse(line)

    def rewind(self) -> None:
        """Let `new_rows` begin again."""
        self._position = self._number = self._bad = 0
        self._first_bad = ""
        self.must_restart = False

    @property
    def is_there(self) -> bool:
        """Return whether a line was read."""
        return self._number > 0

    def notes(self) -> list[str]:
        """Return what people should know about the file."""
        if not self._bad:
            return []
        lines = count(self._bad, "line")
        return [
            f"{lines} of $ANLP_METRICS that are no JSON objects are left out; {self._first_bad}"
        ]

    def _parse(self, line: bytes) -> Iterator[dict[str, Any]]:
        if not line.strip():
            return
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield dict(flatten(found))
            return
        self._bad += 1
        if not self._first_bad:
            shown = line[:60].decode(errors="replace").strip()
            self._first_bad = f"the first is line {self._number}: {shown!r}"
