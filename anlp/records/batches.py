"""Read batch files: what a submission hands over, one line for each element of its jobs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anlp.records.files import parse_jsonl
from anlp.records.options import options_from_json

KEPT_FILES = 256  # in memory: a grid with more submissions than that is read anew each time
MOST_AT_ONCE = 1_000_000
_RUN_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}")  # it names a folder, and nothing outside the grid's


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
    found = []
    for index, line in parse_jsonl(path, _LineParser().parse):
        found.append(replace(line, index=index))
    return tuple(found)


class _LineParser:
    """Checks lines one after the other; options that they share are checked and kept once.

    Otherwise the options of 100,000 lines would fill the memory, and checking them takes seconds.
    """

    def __init__(self) -> None:
        self._options: Mapping[str, Any] = {}

    def parse(self, form: Mapping[str, Any]) -> BatchLine:
        """Check all that is read of a line; its number is filled in by the caller.

        Raises:
            ValueError: it is damaged.
        """
        specs, at_once = form.get("specs"), form.get("at_once", 1)
        if not isinstance(specs, list) or not specs:
            raise ValueError(f"specs: expected a list of runs, got {specs!r:.60}")
        for spec in specs:
            if not _is_spec(spec):
                raise ValueError(
                    f"specs: expected run_id, task, settings and seed, got {spec!r:.60}"
                )
        if type(at_once) is not int or not 1 <= at_once <= MOST_AT_ONCE:
            raise ValueError(f"at_once: expected a number of runs, got {at_once!r:.60}")
        return BatchLine(0, specs, self._shared(form.get("options")), at_once)

    def _shared(self, options: Any) -> Mapping[str, Any]:
        if not self._options or options != self._options:
            options_from_json(options)
            if "batch" not in options:
                raise ValueError("options: expected the key 'batch'")
            self._options = options
        return self._options


def _is_spec(form: object) -> bool:
    return (
        isinstance(form, dict)
        and isinstance(form.get("run_id"), str)
        and _RUN_ID.fullmatch(form["run_id"]) is not None
        and isinstance(form.get("task"), str)
        and type(form.get("seed")) is int
        and isinstance(form.get("settings"), dict)
        and all(isinstance(value, bool | int | float | str) for value in form["settings"].values())
    )
