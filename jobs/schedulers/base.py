"""The seam between the suite and whatever runs its jobs: handles, states, and what every backend can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from jobs.config.resources import Resources

MOST_OF_NAME = 40


@dataclass(frozen=True, slots=True)
class JobHandle:
    """One element of one job, as the scheduler knows it."""

    scheduler: str  # "local", "slurm", "pbs"
    native_id: str
    index: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one submission hands over: a batch file, one line per element."""

    tag: str  # unique; named in the journal before the scheduler is called
    name: str  # job name: the grid's
    path: Path
    size: int
    max_parallel: int | None = None
    after: tuple[str, ...] = ()  # ids of jobs that must have ended well before any element starts
    apart: bool = False  # every element a job of its own, so that its end can be waited for (`after`) on any scheduler

    def job_name(self, first: int) -> str:
        """Name of the job whose first element is `first`: `mnist.3f2a9c0d1e4b.0`, legal for every scheduler.

        It carries the tag, so that a job whose acceptance was never reported is found again (`parse_job_name`).
        """
        return f"{re.sub('[^A-Za-z0-9_-]', '_', self.name)[:MOST_OF_NAME]}.{self.tag}.{first}"


def parse_job_name(name: str) -> tuple[str, int] | None:
    """Tag and first element of a job of ours, None for anybody else's."""
    match = re.fullmatch(r"[A-Za-z0-9_-]+\.([0-9a-f]{12})\.(\d+)", name)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the scheduler named it, covering elements `first` to `first + size - 1` of its batch.

    The handle of element `i` is `JobHandle(scheduler, native_id, i - first)`.
    """

    native_id: str
    first: int
    size: int


class Phase(str, Enum):
    """Where a job stands. What a scheduler says and we do not know counts as alive: `QUEUED`."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Cause(str, Enum):
    """Why a job ended without its run having written a result."""

    CANCELLED = "cancelled"
    SKIPPED = "held back"  # never begun, since what went before it failed (a canary, too many runs in a row)
    PREEMPTED = "preempted"
    TIMEOUT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE = "node failure"
    NOT_STARTED = "never started"  # accepted, but its program did not begin: no output folder, no image, no module
    SIGNAL = "killed by a signal"
    EXIT = "exit code"
    LAUNCHER = "its launcher ended"
    CONTINUE = "asked to be continued"
    DISK_FULL = "its folder could not be written"  # a full disk, a quota: where the run would have said how it ended
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, text: str) -> Cause | None:
        """Return the cause whose value is `text`, None where there is none."""
        return next((cause for cause in cls if cause.value == text), None)


@dataclass(frozen=True, slots=True)
class JobState:
    """A job's phase and, once it ended, the scheduler's account of why."""

    phase: Phase
    cause: Cause | None = None
    detail: str = ""  # one line in the scheduler's words: "signal 9", "used 2.1 of 2.0 GiB"
    node: str = ""  # where it ran, as the scheduler names it


def report_to_none(_: Job) -> None:
    """For who does not want to be told."""


class Scheduler(Protocol):
    """What a backend does; one conformance suite (`tests/support/schedulers/conformance.py`) holds for all of them."""

    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the last call: what was left out, what could not be asked."""
        ...

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Hands the elements of `batch` over, in order, with as few calls as the site's limits allow.

        Args:
            batch: the elements.
            resources: what each asks for.
            accepted: told of each job as soon as it was accepted, before the next call.

        Returns:
            A handle for each accepted element, in order: fewer than the batch has where the user's submit limit is
            reached; the rest is for the next submit.

        Raises:
            SchedulerError: refused or unreachable; what `accepted` was told of is accepted all the same, and where the
                error is transient the call that failed may have been accepted, too (`find` knows).
        """
        ...

    def find(self, tag: str) -> list[Job]:
        """The jobs of a submission that the scheduler knows, by their names; for when its answer was never received.

        Raises:
            SchedulerError: it cannot be asked now.
        """
        ...

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """State of every job, with one query for all of them."""
        ...

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """Asks for all of them to be stopped; returns before they are."""
        ...
