"""Elements: the lines of a batch file, each with what one element of an array job runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anlp.core.spec import RunSpec
from anlp.records.options import RunOptions


@dataclass(frozen=True, slots=True)
class Element:
    """One line of a batch file: what one element of an array job runs."""

    specs: tuple[RunSpec, ...]
    options: RunOptions
    at_once: int = 1  # how many of them at the same time; the others follow
    mem_limit_mib: int | None = None  # of each of several: the scheduler limits only their sum

    def to_json(self) -> dict[str, Any]:
        """Return the line in the batch file; `anlp.tasks.element_from_json` reads it."""
        form = {"specs": [spec.to_json() for spec in self.specs], "options": self.options.to_json()}
        shared = {"at_once": self.at_once, "mem_limit_mib": self.mem_limit_mib}
        return form if len(self.specs) == 1 else {**form, **shared}
