"""Choose the metric that selects configurations, and its counterpart on the test set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from analysis.data.frames import metric_columns
from anlp.core.errors import UserError
from anlp.core.metrics import default_metric, reported_with


def usual_metric(runs: pd.DataFrame) -> str:
    """Return the metric that ranks configurations unless one is named: the one all runs monitor.

    Args:
        runs: see `analysis.data.frames`.

    Raises:
        UserError: no run has finished with a metric.
    """
    monitored: list[str] = []
    if "monitor" in runs:
        monitored = [str(name) for name in runs["monitor"].dropna().unique()]
    found = default_metric(measured_metrics(runs), monitored)
    if found is None:
        raise UserError(nothing_finished(runs))
    return found


def tested_metric(runs: pd.DataFrame, select: str) -> str:
    """Return the metric that is reported: the declared one, else that on the test set.

    Where neither was measured, it is the metric that selects.
    """
    declared = reported_with(select)
    if declared in measured_metrics(runs):
        return declared
    name = f"test/{select.partition('/')[2]}"
    return name if name in measured_metrics(runs) else select


def selecting_metric(runs: pd.DataFrame, metric: str) -> str:
    """Return the metric that selects configurations where `metric` is shown.

    A metric on the test set selects nothing: its counterpart on the validation set does, or the
    usual one.
    """
    split, _, name = metric.partition("/")
    if split != "test":
        return metric
    counterpart = f"val/{name}"
    if counterpart in measured_metrics(runs):
        return counterpart
    usual = usual_metric(runs)
    return metric if usual.startswith("test/") else usual


def nothing_finished(runs: pd.DataFrame) -> str:
    """Say why there is no metric: how many runs there are in which state."""
    finished = int((runs["outcome"] == "ok").sum())
    if finished:
        return f"no run has a finite metric ({finished} finished without one)"
    counts = ", ".join(
        f"{count} {outcome}" for outcome, count in Counter(runs["outcome"]).most_common()
    )
    return f"no run has finished with a metric ({counts or 'there are none'})"


def measured_metrics(runs: pd.DataFrame) -> list[str]:
    """Return the metrics of which some finished run has a finite value."""
    finished = runs[runs["outcome"] == "ok"]
    return [
        name for name in metric_columns(runs) if np.isfinite(finished[name].astype(float)).any()
    ]
