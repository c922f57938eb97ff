"""How long the next runs will take, from the seconds of those that finished."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anlp.record import RunState
from anlp.spec import RunSpec
from jobs.state import RunStatus

Kind = tuple[Any, Any]


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
    total = sum(medians.get(kind_of(item), overall) * int(item.get("epochs", 1)) for item in values)
    return total / max(1, slots)


def _seconds_per_epoch(history: Iterable[RunStatus]) -> Mapping[Kind, list[float]]:
    costs: dict[Kind, list[float]] = defaultdict(list)
    for status in history:
        if status.state is RunState.DONE and status.result and status.result.epochs:
            costs[kind_of(status.values)].append(status.result.seconds / status.result.epochs)
    return costs


def kind_of(values: Mapping[str, Any]) -> Kind:
    """What runs have in common that cost about the same for each epoch: data and model."""
    return values.get("data"), values.get("model")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` (0 to 1) of them do not exceed; at least one value."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def render_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`: as exact as an estimate deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def render_hours(hours: float, unit: str) -> str:
    """`0.34 GPU-hours`, `1.2 GPU-hours`, `340 CPU-hours`."""
    if hours < 0.01:
        return f"under 0.01 {unit}"
    return f"{hours:.2g} {unit}" if hours < 10 else f"{hours:,.0f} {unit}"
