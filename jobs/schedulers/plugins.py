"""List the schedulers: those of this package, and those that other packages add as plug-ins.

A package adds one by an entry point of the group `anlp.schedulers`, whose name is the scheduler's
and whose value names a class that follows `jobs.schedulers.base.Scheduler`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from anlp.core.errors import UserError, describe_error, did_you_mean
from jobs.schedulers.base import Scheduler

GROUP = "anlp.schedulers"
BUILT_IN: Mapping[str, str] = {  # in the order in which `auto` asks them
    "local": "jobs.schedulers.local.scheduler:LocalScheduler",
    "slurm": "jobs.schedulers.slurm.scheduler:SlurmScheduler",
    "pbs": "jobs.schedulers.pbs.scheduler:PbsScheduler",
    "lsf": "jobs.schedulers.lsf.scheduler:LsfScheduler",
}
SCHEDULER_OF_PROFILES = "pbs"  # of a profile file that names none

_registered: dict[str, type[Scheduler]] = {}


def register(name: str, scheduler: type[Scheduler]) -> None:
    """Add a scheduler to those of this process, or replace the one of that name."""
    _registered[name] = scheduler


def find(name: str) -> type[Scheduler]:
    """Return the scheduler of that name; plug-ins are looked for only where none is built in.

    Raises:
        UserError: there is none, or the package that adds it is broken.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        return _load_built_in(name)
    point = _plugins().get(name)
    if point is None:
        raise UserError(f"no scheduler {name!r}{did_you_mean(name, names())}")
    return _load_plugin(point)


def names() -> tuple[str, ...]:
    """Return the names of all schedulers, those of plug-ins last."""
    return tuple(dict.fromkeys([*BUILT_IN, *_registered, *sorted(_plugins())]))


def built_in() -> Iterator[type[Scheduler]]:
    """Return the schedulers of this package and those that were registered."""
    for name in dict.fromkeys([*BUILT_IN, *_registered]):
        yield find(name)


def _load_built_in(name: str) -> type[Scheduler]:
    module, _, attribute = BUILT_IN[name].partition(":")
    scheduler: type[Scheduler] = getattr(importlib.import_module(module), attribute)
    return scheduler


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    """Return the plug-ins of installed packages by name; to list them takes milliseconds."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}


@cache
def _load_plugin(point: EntryPoint) -> type[Scheduler]:
    package = point.dist.name if point.dist is not None else point.value
    try:
        scheduler: type[Scheduler] = point.load()
    except Exception as error:  # a plug-in is foreign code: its fault is said, not shown
        raise UserError(
            f"scheduler {point.name!r}: the package {package} that adds it cannot be loaded "
            f"({describe_error(error)}); update or remove the package"
        ) from error
    if getattr(scheduler, "name", None) != point.name or not hasattr(scheduler, "create"):
        raise UserError(
            f"scheduler {point.name!r}: the package {package} names no scheduler of that name in "
            f"{point.value}; update or remove the package"
        )
    return scheduler
