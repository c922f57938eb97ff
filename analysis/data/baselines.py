"""Chance level: the score that a model which has learned nothing reaches.

One rule for tables, charts, importance and verdicts, by the kind of score:

| score | chance level |
|---|---|
| accuracy (`…/acc`) | the better of guessing and the majority class, as the run's result says |
| R², correlation | 0 |
| cross-entropy (`…/loss` of a classifier) | `-log(accuracy of guessing)` |
| anything else | unknown |

A run whose result does not say its baselines (it is live, or crashed) has those of runs on the
same data.
Baselines are of the test set; the other splits are close to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.data.frames import BASELINE
from analysis.text.levels import is_missing
from analysis.text.metrics import is_correlation
from anlp.core.metrics import higher_is_better, words_of

RANDOM, MAJORITY = f"{BASELINE}random", f"{BASELINE}majority"
SAME_DATA = ("task", "data")  # settings that runs on the same data share


def fill_baselines(runs: pd.DataFrame, *others: str) -> pd.DataFrame:
    """Return the runs with missing baselines taken from runs on the same data.

    Args:
        runs: see `analysis.data.frames`.
        others: more columns to fill in, such as `size/val`.
    """
    names = [name for name in (RANDOM, MAJORITY, *others) if name in runs]
    keys = [runs[name] for name in SAME_DATA if name in runs]
    if runs.empty or not names or not keys:
        return runs
    of_same_data = runs[names].groupby(keys, dropna=False).transform("first")
    return runs.assign(**{name: runs[name].fillna(of_same_data[name]) for name in names})


def run_chance_level(run: Mapping[Any, Any], metric: str) -> float | None:
    """Return the chance level of one run, None where it is unknown.

    Args:
        run: a row of the frame that `fill_baselines` returns.
        metric: the score.
    """
    if "r2" in words_of(metric) or is_correlation(metric):
        return 0.0
    if metric.endswith("/acc"):
        known: list[Any] = [run.get(RANDOM), run.get(MAJORITY)]
        return max((float(value) for value in known if not is_missing(value)), default=None)
    if metric.endswith("/loss"):
        random: Any = run.get(RANDOM)
        if not is_missing(random) and 0 < random < 1:
            return -math.log(random)
    return None


def chance_levels(runs: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Return the chance level of each run, NaN where it is unknown."""
    levels = [run_chance_level(run, metric) for run in fill_baselines(runs).to_dict("records")]
    return pd.Series(levels, index=runs.index, dtype=float)


def chance_level(runs: pd.DataFrame, metric: str) -> float | None:
    """Return the one chance level of several runs: the best where they are on different data.

    None where it is unknown for all of them.
    """
    levels = chance_levels(runs, metric)
    best = levels.max() if higher_is_better(metric) else levels.min()
    return None if math.isnan(best) else float(best)
