"""Which scheduler answers for a job: by name, and by the handles of a grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from anlp.errors import UserError
from jobs.schedulers.base import JobHandle, JobState, Scheduler
from jobs.schedulers.local import LocalScheduler

NAMES = ("auto", "local")


def choose(name: str, *, slots: int | None = None) -> LocalScheduler:
    """The scheduler of that name; `auto` takes what this machine has.

    Raises:
        UserError: no such scheduler.
    """
    if name not in NAMES:
        raise UserError(f"--on: expected one of {', '.join(NAMES)}, got {name!r}")
    return LocalScheduler(slots=slots)


def states(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    """State of jobs of any schedulers, with one query for each scheduler."""
    found: dict[JobHandle, JobState] = {}
    for name, group in _by_scheduler(jobs).items():
        found.update(_named(name).states(group))
    return found


def cancel(jobs: Sequence[JobHandle]) -> None:
    """Asks each scheduler to stop its own."""
    for name, group in _by_scheduler(jobs).items():
        _named(name).cancel(group)


def _named(name: str) -> Scheduler:
    return choose(name)


def _by_scheduler(jobs: Sequence[JobHandle]) -> Mapping[str, list[JobHandle]]:
    groups: dict[str, list[JobHandle]] = defaultdict(list)
    for job in jobs:
        groups[job.scheduler].append(job)
    return groups
