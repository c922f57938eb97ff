"""The runs that a grid's submissions handed over, from the batch files and the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anlp.records.batches import BatchLine, read_batch
from anlp.records.folders import GridFolder, RunFolder
from jobs.runs.journal import Submission
from jobs.schedulers.base import JobHandle

Redo = Literal["none", "failed", "all"]
Purpose = Literal["search", "confirm"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as a batch file names it, with the submission that is responsible for it."""

    run_id: str
    folder: RunFolder
    form: Mapping[str, Any]  # RunSpec.to_json()
    submission: Submission
    handle: JobHandle  # of its element
    line: BatchLine  # its element
    place: int = 0  # within its element

    @property
    def values(self) -> dict[str, Any]:
        """Settings and seed by name, for filters and screens."""
        return {**self.form["settings"], "seed": self.form["seed"]}

    @property
    def index(self) -> int:
        """Return the number of its element in the submission."""
        return self.line.index

    @property
    def at_once(self) -> int:
        """Runs of its element that go at the same time; the others follow."""
        return self.line.at_once

    @property
    def in_job(self) -> int:
        """Runs of its element, itself included."""
        return len(self.line.specs)

    @property
    def purpose(self) -> Purpose:
        """Return whether it searches or confirms what a search found."""
        found: Purpose = self.line.options.get("purpose", "search")
        return found

    @property
    def redo(self) -> Redo:
        """Return which earlier results this submission of the run sets aside."""
        found: Redo = self.line.options.get("redo", "none")
        return found


def handed_over(
    folder: GridFolder, submissions: Mapping[str, Submission]
) -> Iterator[tuple[Submission, BatchLine]]:
    """Yield every element that a scheduler accepted, or may have, in order of submission."""
    for submission in submissions.values():
        for line in read_batch(folder.path / submission.batch, submission.tag):
            if submission.took(line.index):
                yield submission, line


def asked_runs(folder: GridFolder, submissions: Mapping[str, Submission]) -> dict[str, Asked]:
    """Return every run that was ever submitted, with its latest submission that was accepted."""
    found: dict[str, Asked] = {}
    for submission, line in handed_over(folder, submissions):
        handle = submission.handle(line.index)
        for place, form in enumerate(line.specs):
            run_id = form["run_id"]
            found[run_id] = Asked(run_id, folder.run(run_id), form, submission, handle, line, place)
    return found
