"""Chance level: what a model that knows nothing reaches."""

from __future__ import annotations

import math

import pandas as pd

from analysis.data.frames import BASELINE
from analysis.text.metrics import is_correlation


def chance_level(runs: pd.DataFrame, metric: str) -> float | None:
    """What knowing nothing reaches, where that is known."""
    columns = [
        f"{BASELINE}{name}" for name in ("random", "majority") if f"{BASELINE}{name}" in runs
    ]
    known = runs[columns].max().max() if columns else math.nan
    if metric.endswith("/r2") or is_correlation(metric):
        return 0.0
    if math.isnan(known):
        return None
    if metric.endswith("/acc"):
        return float(known)
    random = runs[f"{BASELINE}random"].max() if f"{BASELINE}random" in runs else math.nan
    return -math.log(random) if metric.endswith("/loss") and 0 < random < 1 else None


def best_baseline(runs: pd.DataFrame, metric: str) -> float | None:
    """The better of random and majority class, for accuracies; of the test set, to which other splits are close."""
    names = [f"{BASELINE}{name}" for name in ("random", "majority") if f"{BASELINE}{name}" in runs]
    values = [float(value) for name in names for value in runs[name].dropna().unique()]
    return max(values) if values and metric.endswith("/acc") else None
