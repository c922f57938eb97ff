"""A grid made small: one run of each kind, in seconds and without files, to see that everything is in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anlp.settings import make_spec
from anlp.spec import RunSpec

LEAST_RUNS = 2
KINDS = ("model", "method")  # settings that decide which code runs
SUFFIX = "-smoke"


def make_small(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """The first run of each model, and the next ones where that is fewer than two, with the task's small settings."""
    chosen: dict[object, RunSpec] = {}
    for spec in specs:
        chosen.setdefault(_kind(spec), spec)
    rest = (spec for spec in specs if spec not in chosen.values())
    small = _small(chosen.values())
    for spec in rest:
        if len(small) >= LEAST_RUNS:
            break
        small |= _small([spec])
    return list(small.values())


def _kind(spec: RunSpec) -> tuple[object, ...]:
    values = spec.settings.values()
    return (spec.task, *(values.get(name) for name in KINDS))


def _small(specs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    """By id: runs that differ in nothing that is left are one."""
    made = [make_spec(spec.task, {**spec.settings.values(), **spec.settings.smoke}, spec.seed) for spec in specs]
    return {spec.run_id: spec for spec in made}
