"""Read batch files: what each submission of a grid handed over, one line for each element of its jobs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
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
    specs: tuple[Mapping[str, Any], ...]  # `RunSpec.to_json()` of each run
    options: Mapping[str, Any]  # `RunOptions.to_json()`
    at_once: int = 1  # runs of the element that go at the same time; the others follow

    @property
    def run_ids(self) -> list[str]:
        """The ids of its runs, in order."""
        return [form["run_id"] for form in self.specs]


def read_batch(path: Path, tag: str | None = None) -> tuple[BatchLine, ...]:
    """Return the lines of a batch file; damaged lines are left out, a missing file has none.

    A file that has not changed is read once in the life of a process.

    Args:
        path: the file.
        tag: of a submission: the lines of another one, which took over the name of a deleted file, are left out.

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
    lines = (_parse_line(index, form) for index, form in read_numbered_jsonl(path))
    return tuple(line for line in lines if line is not None)


def _parse_line(index: int, form: Mapping[str, Any]) -> BatchLine | None:
    """One line; None where it is damaged."""
    specs, options, at_once = form.get("specs"), form.get("options"), form.get("at_once", 1)
    if not isinstance(specs, list) or not all(map(_is_spec, specs)):
        return None
    if not isinstance(options, dict) or "batch" not in options or not isinstance(at_once, int):
        return None
    return BatchLine(index, tuple(specs), options, at_once)


def _is_spec(form: object) -> bool:
    return isinstance(form, dict) and form.keys() >= SPEC_NAMES
