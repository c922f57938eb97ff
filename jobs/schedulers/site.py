"""Describe a site: what one cluster calls things, and which defaults and queues its jobs get."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from anlp.core.units import parse_walltime
from jobs.config.fields import Key, text, texts, whole
from jobs.config.resources import Resources
from jobs.config.yaml_tree import Tree, show

NO_DEFAULTS = frozenset({"gpus", "cpus", "nodes"})  # `Resources` always sets them

TOKEN = re.compile(r"[A-Za-z0-9_.+:/@=^%~-]+")
VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class QueueRule:
    """Names a queue and the jobs that belong into it."""

    queue: str
    min_gpus: int = 0
    max_gpus: int | None = None
    over_min: float = 0.0  # longer than so many minutes
    upto_min: float | None = None

    def fits(self, resources: Resources) -> bool:
        """Return whether jobs that ask for this belong into the queue.

        A job without a time limit fits only a rule that names none.
        """
        if resources.gpus < self.min_gpus:
            return False
        if self.max_gpus is not None and resources.gpus > self.max_gpus:
            return False
        if resources.walltime_min is None:
            return self.over_min == 0 and self.upto_min is None
        if self.upto_min is not None and resources.walltime_min > self.upto_min:
            return False
        return self.over_min < resources.walltime_min


@dataclass(frozen=True)
class Profile:
    """Holds what every profile has; a backend adds its own fields and keys in a subclass.

    Every field is a key of the file, explained in `profiles/generic-*.yaml`.
    """

    KEYS: ClassVar[Mapping[str, Key]] = {}  # of the file, that this kind of profile alone has

    name: str
    scheduler: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)  # fields of Resources
    queues: tuple[QueueRule, ...] = ()
    max_array_size: int | None = None
    warn_s: float = 120.0  # before the time limit
    container: str | None = None  # the image that runs of this site are carried out in
    binds: tuple[str, ...] = ()  # what is seen inside besides runs and data


def apply(profile: Profile, resources: Resources) -> Resources:
    """Return `resources` with the site's defaults, and the queue that its rules choose."""
    missing = {}
    for entry in fields(resources):
        is_default = entry.name in profile.defaults and entry.name not in {"extra", *NO_DEFAULTS}
        if is_default and getattr(resources, entry.name) is None:
            missing[entry.name] = profile.defaults[entry.name]
    extra = (*profile.defaults.get("extra", ()), *resources.extra)
    filled = replace(resources, **missing, extra=extra)
    if resources.queue is not None:
        return filled
    queue = next((rule.queue for rule in profile.queues if rule.fits(filled)), filled.queue)
    return replace(filled, queue=queue)


def fill_limits(profile: Profile, resources: Resources) -> Resources:
    """Return `resources` with the site's time and memory where a run asks for none.

    They are filled in before runs share jobs, whose limits are sums, and before the journal records
    what was asked for, from which a retry works out more. The writer of the script adds everything
    else that a profile has (`apply`).
    """
    memory, time = resources.mem_mib, resources.walltime_min
    return replace(
        resources,
        mem_mib=profile.defaults.get("mem_mib") if memory is None else memory,
        walltime_min=profile.defaults.get("walltime_min") if time is None else time,
    )


def like(pattern: re.Pattern[str], wanted: str) -> Callable[[Tree], str]:
    """Return a reader of a text of one form, which is safe in a script or a directive."""

    def parse(tree: Tree) -> str:
        value = text(tree)
        if not pattern.fullmatch(value):
            raise ValueError(f"expected {wanted}, got {show(tree)}")
        return value

    return parse


def several(pattern: re.Pattern[str], wanted: str) -> Callable[[Tree], tuple[str, ...]]:
    """Return a reader of a list of such texts."""

    def parse(tree: Tree) -> tuple[str, ...]:
        values = texts(tree)
        for value in values:
            if not pattern.fullmatch(value):
                raise ValueError(f"expected {wanted}, got {value!r}")
        return values

    return parse


def read_minutes(tree: Tree) -> float:
    """Read a time in minutes."""
    return parse_walltime(text(tree))


def read_seconds(tree: Tree) -> float:
    """Read a time in seconds; 0 needs no unit."""
    return 0.0 if text(tree) == "0" else parse_walltime(text(tree)) * 60


COMMON_KEYS: Mapping[str, Key] = {
    "scheduler": Key("scheduler", text),
    "warn": Key("warn_s", read_seconds),
    "container": Key("container", text),
    "binds": Key("binds", texts),
}
QUEUE_KEYS: Mapping[str, Key] = {
    "queue": Key("queue", like(TOKEN, "the name of a queue")),
    "min_gpus": Key("min_gpus", whole(0)),
    "max_gpus": Key("max_gpus", whole(0)),
    "over": Key("over_min", read_minutes),
    "up_to": Key("upto_min", read_minutes),
}
