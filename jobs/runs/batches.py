"""The runs that a grid's submissions handed over, from the batch files and the journal."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anlp.records.batches import BatchLine, read_batch
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import Outcome, RunResult
from jobs.runs.journal import Submission
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase

Redo = Literal["none", "failed", "all"]
Purpose = Literal["search", "confirm"]
# Causes after which a scheduler may run a job once more under its id
QUEUED_AGAIN = frozenset({Cause.PREEMPTED, Cause.NODE, Cause.CONTINUE})


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

    def is_job_of(self, record: Mapping[str, Any]) -> bool:
        """Return whether a lease is of its job; a script that is run by hand has another."""
        if record.get("batch", self.submission.tag) != self.submission.tag:
            return False
        own = re.match(r"\d+", self.handle.native_id)
        if own is None or "job" not in record:
            return True
        named = re.search(r"\d+", str(record["job"]))  # of `123[4].server`, `slurm:123_4`
        return named is not None and named[0] == own[0]

    def waits_for_one_of(self, jobs: Container[tuple[str, str]]) -> bool:
        """Return whether it waits for one of these jobs, each a scheduler and an id."""
        has_ended = self.index in self.submission.endings
        scheduler = self.submission.scheduler
        return not has_ended and any((scheduler, job) in jobs for job in self.submission.after)


def jobs_that_ended_badly(
    submissions: Mapping[str, Submission],
    runs: Iterable[Asked],
    results: Mapping[str, RunResult],
    states: Mapping[JobHandle, JobState],
) -> set[tuple[str, str]]:
    """Return scheduler and id of the jobs after which nothing that waits for them may start.

    Schedulers differ here: PBS keeps what waits for a job that was deleted before it began, for
    ever.
    """
    found = {
        (submission.scheduler, submission.handle(index).native_id)
        for submission in submissions.values()
        for index in submission.endings
    }
    for run in runs:
        result = results.get(run.run_id)
        job = states.get(run.handle)
        if result is not None:
            is_bad = result.outcome is Outcome.FAILED
        else:
            is_bad = job is not None and job.phase is Phase.ENDED and job.cause is not None
        if is_bad:
            found.add((run.handle.scheduler, run.handle.native_id))
    return found


def recall(
    states: Mapping[JobHandle, JobState], runs: Iterable[Asked]
) -> Mapping[JobHandle, JobState]:
    """Return the states, with ends that an earlier command saw and a scheduler has forgotten.

    A job that waits, or seems to, may have been queued again after some ends.
    """
    found = dict(states)
    for run in runs:
        ending = run.submission.learned.get(run.index)
        if ending is None or run.index in run.submission.endings:
            continue
        state = states.get(run.handle, JobState(Phase.QUEUED))
        is_unexplained = state.phase is Phase.ENDED and state.cause is Cause.UNKNOWN
        is_unknown = state.phase is Phase.QUEUED and ending.cause not in QUEUED_AGAIN
        if is_unexplained or is_unknown:
            found[run.handle] = JobState(Phase.ENDED, ending.cause, ending.detail, ending.node)
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
