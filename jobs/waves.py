"""The order in which chosen runs are handed over: canaries first, and one batch for all that ask for the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anlp.spec import RunSpec
from jobs.failures import ENDED_WELL
from jobs.resources import Resources
from jobs.state import RunStatus


@dataclass(frozen=True, slots=True)
class Wave:
    """Runs that are handed over together."""

    specs: tuple[RunSpec, ...]
    resources: Resources
    is_canary: bool = False  # whatever comes behind it starts only if all of its runs end well


def make_waves(
    specs: Sequence[RunSpec],
    resources: Resources,
    asks: Mapping[str, Resources],
    *,
    canary: bool = False,
    passed: Collection[object] = (),
) -> list[Wave]:
    """The waves of a submission, in order.

    Args:
        specs: the runs.
        resources: what each asks for, unless `asks` says otherwise.
        asks: by run id.
        canary: whether one configuration per model goes first; where nothing would be left, nothing does.
        passed: models that need no canary any more.
    """
    chosen = choose_canaries(specs, passed) if canary else set()
    if len(chosen) == len(specs):
        chosen = set()
    groups: dict[tuple[bool, Resources], list[RunSpec]] = defaultdict(list)
    for spec in specs:
        groups[spec.run_id not in chosen, asks.get(spec.run_id, resources)].append(spec)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])  # stable: canaries before the others
    return [Wave(tuple(some), asked, is_canary=not is_rest) for (is_rest, asked), some in ordered]


def choose_canaries(specs: Sequence[RunSpec], passed: Collection[object] = ()) -> set[str]:
    """Ids of the first run of each model (of each task that has none), but of those that have passed."""
    first: dict[object, str] = {}
    for spec in specs:
        first.setdefault(spec.settings.values().get("model"), spec.run_id)
    return {run_id for model, run_id in first.items() if model not in passed}


def passed_models(history: Iterable[RunStatus]) -> set[object]:
    """Models of which a run has its result: that was their canary."""
    return {status.values.get("model") for status in history if status.state in ENDED_WELL}
