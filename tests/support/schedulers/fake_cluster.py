"""A shared scheduler that answers what a test tells it to, counts the questions, and can be
down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from anlp.core.errors import SchedulerError
from jobs.runs.polling import Reply
from jobs.schedulers import registry
from jobs.schedulers.base import Cause, Job, JobHandle, JobState, Phase, Scheduler

DOWN = "slurm: squeue: Unable to contact slurm controller (connect failure)"


class FakeCluster:
    """Takes the place of `ask_scheduler`, or, installed, of Slurm; this machine's own jobs are
    looked at as ever.
    """

    name = "slurm"

    def __init__(self) -> None:
        self.stopped: list[JobHandle] = []
        self.state = JobState(Phase.QUEUED)
        self.notes: tuple[str, ...] = ()
        self.error: SchedulerError | None = None
        self.asked: list[tuple[str, int]] = []  # scheduler and number of jobs, of each question
        self.now = 1_000_000.0

    def __call__(self, name: str, jobs: Sequence[JobHandle]) -> Reply:
        if name == registry.LOCAL:
            return registry.states(jobs), ()
        self.asked.append((name, len(jobs)))
        if self.error is not None:
            raise self.error
        return dict.fromkeys(jobs, self.state), self.notes

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Has every command of this process find it under the name of Slurm."""
        original = registry.get_scheduler

        def find(name: str, **options: object) -> Scheduler | FakeCluster:
            return self if name == self.name else original(name)

        monkeypatch.setattr(registry, "get_scheduler", find)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """As `Scheduler.states`."""
        return self(self.name, jobs)[0]

    def find(self, tag: str) -> list[Job]:
        """As `Scheduler.find`; no answer was ever lost."""
        del tag
        return []

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """As `Scheduler.cancel`."""
        self.stopped += jobs

    def clock(self) -> float:
        """The time, which passes only by hand."""
        return self.now

    def end(self, cause: Cause, detail: str = "") -> None:
        """From now on every job has ended so."""
        self.state = JobState(Phase.ENDED, cause, detail)

    def go_down(self) -> None:
        """From now on no question is answered."""
        self.error = SchedulerError(f"{DOWN}; try again later", transient=True)
