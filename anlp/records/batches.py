"""Read batch files: what a submission hands over, one line for each element of its jobs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.records.files import read_numbered_jsonl

KEPT_FILES = 256  # in memory: a grid with more submissions than that is read anew each time
SPEC_NAMES = frozenset({"run_id", "settings", "seed"})


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch file, as far as it can be read without knowing the task."""

    index: int  # of the element
    specs: Sequence[Mapping[str, Any]]  # `RunSpec.to_json()` of each run
    options: Mapping[str, Any]  # `RunOptions.to_json()`
    at_once: int = 1  # runs of the element that go at the same time; the others follow

    @property
    def run_ids(self) -> list[str]:
        """Return the ids of its runs, in order."""
        return [form["run_id"] for form in self.specs]


def read_batch(path: Path, tag: str | None = None) -> tuple[BatchLine, ...]:
    """Return the lines of a batch file; damaged lines are left out, a missing file has none.

    A file that has not changed is read once in the life of a process.

    Args:
        path: the file.
        tag: of a submission; lines of another one, which reused the name of a deleted file, are
            left out.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    lines = _read(path, (found.st_mtime_ns, found.st_size, found.st_ino))
    if tag is None or all(line.options["batch"] == tag for line in lines):
        return lines
    return tuple(line for line in lines if line.options["batch"] == tag)


@functools.lru_cache(maxsize=KEPT_FILES)
def _read(path: Path, stamp: tuple[int, int, int]) -> tuple[BatchLine, ...]:
    del stamp  # tells the versions of a file apart
    lines: list[BatchLine] = []
    options: Mapping[str, Any] = {}
    for index, form in read_numbered_jsonl(path):
        if not _is_whole(form):
            continue
        if form["options"] != options:
            options = form["options"]  # lines share them: 10,000 copies would fill the memory
        lines.append(BatchLine(index, form["specs"], options, form.get("at_once", 1)))
    return tuple(lines)


def _is_whole(form: Mapping[str, Any]) -> bool:
    """Return whether a line has all that is read from it."""
    specs, options = form.get("specs"), form.get("options")
    if not isinstance(specs, list) or not all(map(_is_spec, specs)):
        return False
    is_readable = isinstance(options, dict) and "batch" in options
    return is_readable and isinstance(form.get("at_once", 1), int)


def _is_spec(form: object) -> bool:
    return isinstance(form, dict) and form.keys() >= SPEC_NAMES
