"""Estimate the selection bias (winner's curse) of the best, reported on the runs that chose it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr

from analysis.stats.correlation import pearson
from analysis.stats.intervals import Scores

MIN_RESIDUALS = 10  # fewer say nothing about how two metrics share their luck


def expected_max(k: int) -> float:
    """Return the expectation of the largest of `k` standard normal numbers: 2.43 for 80 of them."""
    if k < 2:
        return 0.0
    # midpoints of steps from -10 to 10, none of which spans the jump at 0
    x = (np.arange(4000) - 1999.5) / 200
    below = np.exp(k * log_ndtr(x))
    return float(np.where(x > 0, 1 - below, -below).sum() / 200)


def optimism_of_best(sd: float, n: int, k: int, shared: float = 1.0) -> float:
    """Return how much the mean of the best of `k` equal configurations exceeds the truth.

    For unequal ones, that is an upper bound.

    Args:
        sd: of single seeds.
        n: seeds per configuration.
        k: configurations among which the best was chosen.
        shared: correlation of the luck in the metric that chose with that in the reported one.
    """
    return max(shared, 0.0) * sd * expected_max(k) / math.sqrt(n)


def pooled_sd(groups: Sequence[Scores]) -> float:
    """Return the standard deviation of single seeds around the mean of their configuration.

    NaN where no configuration has two seeds.
    """
    residuals, freedom = _residuals(groups)
    return math.sqrt(float(residuals @ residuals) / freedom) if freedom else math.nan


def shared_luck(chosen_by: Sequence[Scores], reported: Sequence[Scores]) -> float:
    """Return the correlation of two metrics over seeds, within configurations.

    1 where there are too few seeds to know.

    Args:
        chosen_by: per configuration (n_seeds,) of the metric that chose.
        reported: the same runs, in the same order, in the other metric.
    """
    (left, freedom), (right, _) = _residuals(chosen_by), _residuals(reported)
    if freedom < MIN_RESIDUALS:
        return 1.0
    r = pearson(left, right)
    return 1.0 if math.isnan(r) else min(max(r, 0.0), 1.0)


def _residuals(
    groups: Sequence[Scores],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int]:
    several = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    parts = [group - group.mean() for group in several]
    joined = np.concatenate(parts) if parts else np.zeros(0)
    return joined, joined.size - len(parts)
