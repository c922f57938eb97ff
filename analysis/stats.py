"""Intervals from few numbers: arrays in, numbers out, nothing but numpy and scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats would take a second longer to import

Array = npt.NDArray[np.float64]
Scores = Sequence[float] | Array
Method = Literal["t", "z"]


class TooFewSeedsError(ValueError):
    """An interval was asked of fewer values than it needs."""


class NotFiniteError(ValueError):
    """A value is NaN or infinite; leave such runs out first and say so."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval, never clipped to the range of the metric: clip for display only."""

    mean: float
    half_width: float
    low: float
    high: float
    n: int
    method: str  # "t", "z" or "wilson"


def mean_interval(scores: Scores, level: float = 0.95, method: Method = "t") -> Interval:
    """Interval of the mean over seeds: Student t, or normal quantiles (`z`) to reproduce older tables.

    Args:
        scores: (n_seeds,) one metric value per seed, finite.
        level: nominal coverage in (0, 1).
        method: `z` is too narrow for few seeds, see `z_coverage`.

    Raises:
        TooFewSeedsError: fewer than two values.
        NotFiniteError: a value is NaN or infinite.

    Source: t covers 94-96 % at n = 5..10 where z covers 88-92 % (tests/analysis/test_coverage.py).
    """
    values = np.asarray(scores, dtype=float)
    if values.size < 2:
        raise TooFewSeedsError(f"an interval over seeds needs at least 2 of them, got {values.size}")
    if not np.isfinite(values).all():
        raise NotFiniteError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite")
    return interval_from_moments(float(values.mean()), float(values.std(ddof=1)), values.size, level, method)


def interval_from_moments(mean: float, sd: float, n: int, level: float = 0.95, method: Method = "t") -> Interval:
    """The same from the mean and the sample standard deviation (n - 1 in its denominator) of n >= 2 values.

    Raises:
        TooFewSeedsError: n < 2.
    """
    if n < 2:
        raise TooFewSeedsError(f"an interval over seeds needs at least 2 of them, got {n}")
    half_width = _quantile(level, n, method) * sd / math.sqrt(n)
    return Interval(mean, half_width, mean - half_width, mean + half_width, n, method)


def z_coverage(n: int, level: float = 0.95) -> float:
    """True coverage of a nominal `level` z interval of the mean of n normal values with unknown variance."""
    return float(2 * stdtr(n - 1, _quantile(level, n, "z")) - 1)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Wilson interval of a share from k successes among n samples; `mean` is k / n, which is not its centre.

    Raises:
        ValueError: not 0 <= k <= n, or n = 0.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"expected 0 <= k <= n and n >= 1, got k={k}, n={n}")
    z, share = _quantile(level, n, "z"), k / n
    scale = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / scale
    half_width = z / scale * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if k == 0 else centre - half_width  # exact ends, free of rounding
    high = 1.0 if k == n else centre + half_width
    return Interval(share, half_width, low, high, n, "wilson")


def _quantile(level: float, n: int, method: Method) -> float:
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    upper = (1 + level) / 2
    return float(stdtrit(n - 1, upper) if method == "t" else ndtri(upper))
