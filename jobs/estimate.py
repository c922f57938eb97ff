"""How long the next runs will take, from the seconds of those that finished."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anlp.record import RunState
from anlp.spec import RunSpec
from jobs.state import RunStatus


def estimate_seconds(specs: Sequence[RunSpec], history: Iterable[RunStatus], slots: int) -> float | None:
    """Wall seconds of `specs` on `slots` slots; None where nothing comparable has finished yet.

    A run costs its epochs times the median seconds per epoch of the finished runs of the same data and model.
    """
    costs = _seconds_per_epoch(history)
    if not costs:
        return None
    overall = statistics.median(cost for group in costs.values() for cost in group)
    medians = {key: statistics.median(group) for key, group in costs.items()}
    values = [spec.settings.values() for spec in specs]
    total = sum(medians.get(_kind(item), overall) * int(item.get("epochs", 1)) for item in values)
    return total / max(1, slots)


def _seconds_per_epoch(history: Iterable[RunStatus]) -> Mapping[tuple[Any, ...], list[float]]:
    costs: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for status in history:
        if status.state is RunState.DONE and status.result and status.result.epochs:
            costs[_kind(status.values)].append(status.result.seconds / status.result.epochs)
    return costs


def _kind(values: Mapping[str, Any]) -> tuple[Any, ...]:
    return values.get("data"), values.get("model")


def render_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`: as exact as an estimate deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
