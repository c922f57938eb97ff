"""Test whether a short series rises: Mann-Kendall's test and Theil-Sen's slope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.stats.intervals import Array

MAX_POINTS = 50  # of a longer series, evenly spread: they tell nearly all about its trend


@dataclass(frozen=True, slots=True)
class Trend:
    """The trend of y over x."""

    p_rising: float  # one-sided; 1 for a constant series
    p_falling: float  # likewise
    slope: float  # per unit of x


def trend(x: Array, y: Array) -> Trend:
    """Return the trend of a series.

    Args:
        x: (n,) ascending, for instance epochs.
        y: (n,) finite.
    """
    x, y = thinned(x), thinned(y)
    if y.size < 2:
        return Trend(1.0, 1.0, 0.0)
    earlier, later = _pairs(y.size)
    rise = y[later] - y[earlier]
    slope = float(np.median(rise / (x[later] - x[earlier])))
    score = int(np.sign(rise).sum())
    return Trend(_p_at_least(score, y), _p_at_least(-score, y), slope)


def thinned(series: Array) -> Array:
    """Return at most `MAX_POINTS` of a series, first and last among them."""
    if series.size <= MAX_POINTS:
        return series
    chosen: Array = series[np.linspace(0, series.size - 1, MAX_POINTS).round().astype(int)]
    return chosen


def _p_at_least(score: int, y: Array) -> float:
    """Return P(S >= score) of a series in random order: exact without ties, normal with them."""
    n = y.size
    ordered = np.sort(y)
    if (ordered[1:] != ordered[:-1]).all():
        return float(_tails(n)[(score + n * (n - 1) // 2) // 2])
    _, ties = np.unique(ordered, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    return float(ndtr(-score / math.sqrt(variance))) if variance > 0 else 1.0


@lru_cache(maxsize=MAX_POINTS + 1)
def _tails(n: int) -> Array:
    """Return the shares of orders of n values in which at least c pairs are concordant, by c."""
    shares: Array = np.ones(1)
    for size in range(2, n + 1):
        shares = np.convolve(shares, np.full(size, 1 / size))
    return np.asarray(shares[::-1].cumsum()[::-1], dtype=float)


@lru_cache(maxsize=MAX_POINTS + 1)
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.triu_indices(n, 1)
