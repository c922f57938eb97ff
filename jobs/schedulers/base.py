"""The seam between the suite and whatever runs its jobs: handles, states, and what every backend can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from jobs.resources import Resources


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


class Phase(str, Enum):
    """Where a job stands. What a scheduler says and we do not know counts as alive: `QUEUED`."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Cause(str, Enum):
    """Why a job ended without its run having written a result."""

    CANCELLED = "cancelled"
    TIMEOUT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE = "node failure"
    SIGNAL = "killed by a signal"
    EXIT = "exit code"
    LAUNCHER = "its launcher ended"
    CONTINUE = "asked to be continued"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class JobState:
    """A job's phase and, once it ended, the scheduler's account of why."""

    phase: Phase
    cause: Cause | None = None
    detail: str = ""  # one line in the scheduler's words: "signal 9", "used 2.1 of 2.0 GiB"


class Scheduler(Protocol):
    """What a backend does; one conformance suite (`tests/jobs/conformance.py`) holds for all of them."""

    name: str

    def submit(self, batch: Batch, resources: Resources) -> list[JobHandle]:
        """Hands all elements of `batch` over and returns a handle for each, in order.

        Raises:
            SchedulerError: refused or unreachable; nothing was accepted unless the error is transient.
        """
        ...

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """State of every job, with one query for all of them."""
        ...

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """Asks for all of them to be stopped; returns before they are."""
        ...
