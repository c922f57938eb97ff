"""Compute rank correlations with intervals, and average them over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from analysis.stats.intervals import Array, Scores, TooFewSeedsError

MIN_PAIRS = 4  # Fisher's z has a variance of about 1 / (n - 3)


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's r with its interval; NaN throughout where one side is constant."""

    r: float
    low: float
    high: float
    tau: float  # Kendall's tau-b, the one to read where there are ties
    n: int
    has_ties: bool


def rank_correlation(x: Scores, y: Scores, level: float = 0.95) -> RankCorrelation:
    """Return Spearman's rank correlation with a Bonett-Wright interval, and Kendall's tau-b.

    Args:
        x: (n,) finite.
        y: (n,) parallel to `x`.
        level: nominal coverage.

    Raises:
        TooFewSeedsError: fewer than four pairs.

    Source: covers 95.7 and 95.6 % at n = 30 and 200 for rho = 0.6
    (tests/analysis/stats/test_correlation.py).
    """
    from scipy.stats import kendalltau  # a second to import

    left, right = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if left.size < MIN_PAIRS:
        raise TooFewSeedsError(
            f"a rank correlation with an interval needs at least {MIN_PAIRS} pairs, got {left.size}"
        )
    has_ties = len(np.unique(left)) < left.size or len(np.unique(right)) < right.size
    r = pearson(_ranks(left), _ranks(right))
    tau = math.nan if math.isnan(r) else float(kendalltau(left, right).statistic)
    low, high = spearman_interval(r, left.size, level)
    return RankCorrelation(r, low, high, tau, left.size, has_ties)


def spearman_interval(r: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the interval, in Fisher's z space with the error of Bonett-Wright.

    The standard error is sqrt((1 + r²/2) / (n - 3)).
    """
    if math.isnan(r) or abs(r) >= 1:
        return r, r
    half_width = float(ndtri((1 + level) / 2)) * math.sqrt((1 + r**2 / 2) / (n - 3))
    return math.tanh(math.atanh(r) - half_width), math.tanh(math.atanh(r) + half_width)


def average_correlation(correlations: Sequence[float]) -> float:
    """Average correlations in Fisher's z space.

    NaN ones are left out, ±1 count as the nearest number below.
    """
    known = [min(max(r, -1 + 1e-12), 1 - 1e-12) for r in correlations if not math.isnan(r)]
    return math.tanh(sum(map(math.atanh, known)) / len(known)) if known else math.nan


def pearson(x: Array, y: Array) -> float:
    """Return the linear correlation, NaN where one side is constant."""
    left, right = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / scale if scale else math.nan


def _ranks(values: Array) -> Array:
    """Return ranks from 1; ties share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[inverse]
    return ranks
