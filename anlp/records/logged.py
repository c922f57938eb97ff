"""What a user's own program logged, as a result: the epoch that counts, and its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anlp.core.metrics import default_metric, higher_is_better
from anlp.records.program import ProgramMetrics

Row = Mapping[str, float]
EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class LoggedResult:
    """The metrics that a finished run is known by.

    Args:
        metrics: by name.
        epoch: that they are of; None where only a summary was logged.
        select: the metric that chose the epoch; empty: it is the last one.
        is_diverged: whether the metric that selects ended as NaN or infinity.
        is_missing: whether the grid file names a metric to select by that was not logged.
    """

    metrics: Mapping[str, float]
    epoch: int | None
    select: str
    is_diverged: bool = False
    is_missing: bool = False


def result_of_log(
    rows: Sequence[Row], summary: Mapping[str, float], wanted: ProgramMetrics
) -> LoggedResult:
    """Return the result of a run from its log.

    The epoch is the best one by the metric that selects: the one that the grid file names, else the
    usual one measured on the validation set. Without such a metric it is the last epoch. Metrics
    that were not logged in that epoch have their last value; the summary fills in what no epoch
    has.

    Args:
        rows: one per epoch, in order, with `epoch` and values by name.
        summary: final values by name.
        wanted: what the grid file says of metrics.
    """
    last: dict[str, float] = {}
    for row in rows:
        last |= {name: value for name, value in row.items() if name != EPOCH}
    known = {**summary, **last}
    select = wanted.select or _usual(known)
    is_missing = bool(wanted.select) and wanted.select not in known
    is_diverged = select in known and not math.isfinite(known[select])
    best = _best(rows, select)
    if best is None:
        epoch = int(rows[-1][EPOCH]) if rows else None
        return LoggedResult(_finite(known), epoch, "", is_diverged, is_missing)
    own = {name: value for name, value in best.items() if name != EPOCH}
    metrics = _finite({**known, **own})
    return LoggedResult(metrics, int(best[EPOCH]), select, is_diverged, is_missing)


def _usual(known: Mapping[str, float]) -> str:
    """Return the metric that selects where no file names one: measured on the validation set."""
    validated = {name for name in known if name.startswith("val/")}
    return default_metric(validated, ()) or ""


def _best(rows: Sequence[Row], select: str) -> Row | None:
    """Return the first row with the best finite value; None where no row has one."""
    measured = [row for row in rows if math.isfinite(row.get(select, math.nan))]
    if not select or not measured:
        return None
    choose = max if higher_is_better(select) else min
    return choose(measured, key=lambda row: row[select])


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
