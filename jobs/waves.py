"""The order in which chosen runs are handed over: canaries first, and one batch for all that ask for the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anlp.spec import RunSpec
from jobs.resources import Resources


@dataclass(frozen=True, slots=True)
class Wave:
    """Runs that are handed over together."""

    specs: tuple[RunSpec, ...]
    resources: Resources
    is_canary: bool = False  # whatever comes behind it starts only if all of its runs end well


def make_waves(
    specs: Sequence[RunSpec], resources: Resources, asks: Mapping[str, Resources], *, canary: bool = False
) -> list[Wave]:
    """The waves of a submission, in order.

    Args:
        specs: the runs.
        resources: what each asks for, unless `asks` says otherwise.
        asks: by run id.
        canary: whether one configuration per model goes first; where nothing would be left, nothing does.
    """
    chosen = choose_canaries(specs) if canary else set()
    if len(chosen) == len(specs):
        chosen = set()
    groups: dict[tuple[bool, Resources], list[RunSpec]] = defaultdict(list)
    for spec in specs:
        groups[spec.run_id not in chosen, asks.get(spec.run_id, resources)].append(spec)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])  # stable: canaries before the others
    return [Wave(tuple(some), asked, is_canary=not is_rest) for (is_rest, asked), some in ordered]


def choose_canaries(specs: Sequence[RunSpec]) -> set[str]:
    """Ids of the first run of each model (of each task that has none)."""
    first: dict[object, str] = {}
    for spec in specs:
        first.setdefault(spec.settings.values().get("model"), spec.run_id)
    return set(first.values())
