"""Finished runs by the metric that they were told to select by, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from anlp.direction import higher_is_better
from jobs.state import RunStatus


def selection_metric(done: Sequence[RunStatus]) -> str | None:
    """The validation metric that finished runs are compared by: the one they were told to monitor."""
    metrics = [set(status.result.metrics) for status in done if status.result]
    shared = set.intersection(*metrics) if metrics else set()
    monitored = {str(status.values.get("monitor")) for status in done} & shared
    candidates = sorted(monitored) or sorted(name for name in shared if name.startswith("val/"))
    return candidates[0] if candidates else None


def best_runs(done: Iterable[RunStatus], metric: str) -> list[tuple[float, RunStatus]]:
    """Finished runs with their value of `metric`, the best first; those without a finite one are left out."""
    scored = [(status.result.metrics.get(metric, math.nan), status) for status in done if status.result]
    finite = [pair for pair in scored if math.isfinite(pair[0])]
    return sorted(finite, key=lambda pair: pair[0], reverse=higher_is_better(metric))
