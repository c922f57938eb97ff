"""Which scheduler answers for a job: by name, and by the handles of a grid."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from anlp.errors import UserError
from jobs.machine import inspect, plan_slots
from jobs.resources import Resources
from jobs.schedulers.base import JobHandle, JobState, Scheduler
from jobs.schedulers.local import LocalScheduler

NAMES = ("auto", "local")
MOST_SLOTS = 1024


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


def describe(name: str, slots: int | None, resources: Resources) -> tuple[int, str]:
    """How many runs go at a time, and where, in words; asks nothing of a scheduler.

    Raises:
        UserError: no such scheduler, or the machine cannot give what a run asks for.
    """
    choose(name)
    machine = inspect(os.environ, with_gpus=resources.gpus > 0)
    plan = plan_slots(resources, machine, MOST_SLOTS, asked=slots)
    device = "GPU" if any(plan.devices) else "CPU"
    return plan.slots, f"on this machine, {plan.slots} at a time ({device})"
