"""Compute intervals from few numbers: arrays in, numbers out."""

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
Method = Literal["t", "z", "bootstrap-t"]

MIN_SEEDS = 3  # two values say more themselves than an interval six times as wide
# with fewer, a bootstrap of the mean covers less than Student t, or is too long to be of use
BOOTSTRAP_SEEDS = 20
RESAMPLES = 10_000


class TooFewSeedsError(ValueError):
    """An interval was asked of fewer values than it needs."""


class NotFiniteError(ValueError):
    """A value is NaN or infinite; leave such runs out first and say so."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval.

    It is not clipped to the range of the metric: clip for display only.
    """

    mean: float
    half_width: float
    low: float
    high: float
    n: int
    method: str  # "t", "z", "bootstrap-t" or "wilson"

    @property
    def is_symmetric(self) -> bool:
        """Return whether mean ± half-width says it; other intervals are written with their ends."""
        return self.method in ("t", "z")


def mean_interval(scores: Scores, level: float = 0.95, method: Method = "t") -> Interval:
    """Return the interval of the mean over seeds.

    Args:
        scores: (n_seeds,) one metric value per seed, finite.
        level: nominal coverage in (0, 1).
        method: `t` is Student's; `z` (normal quantiles) reproduces older tables and is too narrow
            for few seeds, see `z_coverage`; `bootstrap-t` suits skewed scores of many seeds.

    Raises:
        TooFewSeedsError: fewer than three values, or than 20 for `bootstrap-t`.
        NotFiniteError: a value is NaN or infinite.

    Source: t covers 94-96 % at n = 5..10 where z covers 88-92 %
    (tests/analysis/stats/test_coverage.py).
    """
    values = _finite(scores)
    if values.size < MIN_SEEDS:
        raise TooFewSeedsError(
            f"an interval over seeds needs at least {MIN_SEEDS} of them, got {values.size}"
        )
    if method == "bootstrap-t":
        return _bootstrap_t(values, level)
    return interval_from_moments(
        float(values.mean()), float(values.std(ddof=1)), values.size, level, method
    )


def seed_interval(scores: Scores) -> tuple[float, float]:
    """Return the ends of the 95 % t interval over seeds; NaN for fewer seeds than it needs."""
    if len(scores) < MIN_SEEDS:
        return math.nan, math.nan
    interval = mean_interval(scores)
    return interval.low, interval.high


def interval_from_moments(
    mean: float, sd: float, n: int, level: float = 0.95, method: Literal["t", "z"] = "t"
) -> Interval:
    """Return the interval of a mean from mean, sample standard deviation and n >= 2.

    The standard deviation has n - 1 in its denominator.

    Raises:
        TooFewSeedsError: n < 2.
    """
    if n < 2:
        raise TooFewSeedsError(f"an interval over seeds needs at least 2 of them, got {n}")
    half_width = _quantile(level, n, method) * sd / math.sqrt(n)
    return Interval(mean, half_width, mean - half_width, mean + half_width, n, method)


def z_coverage(n: int, level: float = 0.95) -> float:
    """Return the true coverage of a nominal z interval of the mean of n normal values."""
    return float(2 * stdtr(n - 1, _quantile(level, n, "z")) - 1)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Return the Wilson interval of a share from k successes among n samples.

    Its `mean` is k / n, which is not its centre.

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


def interquartile_mean(values: Scores) -> float:
    """Average the middle half: floor(n / 4) values are cut at each end.

    For configurations or data sets: over fewer than eight seeds it would hide those that failed.

    Raises:
        TooFewSeedsError: there are no values.
    """
    ordered = np.sort(_finite(values))
    if not ordered.size:
        raise TooFewSeedsError("no values: nothing to average")
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def sampling_sd(share: float, samples: int) -> float:
    """Return the standard deviation of an accuracy that comes from the finite test set alone.

    Seeds that scatter by much more are unstable; by about this, they differ in single samples only.
    """
    return math.sqrt(share * (1 - share) / samples)


def _bootstrap_t(values: Array, level: float) -> Interval:
    """Return quantiles of the studentised mean from resamples, equal in every call."""
    n, mean, error = (
        values.size,
        float(values.mean()),
        float(values.std(ddof=1)) / math.sqrt(values.size),
    )
    if n < BOOTSTRAP_SEEDS:
        raise TooFewSeedsError(
            f"a bootstrap-t interval needs at least {BOOTSTRAP_SEEDS} seeds, got {n}; use t"
        )
    drawn = values[np.random.default_rng(0).integers(n, size=(RESAMPLES, n))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    studentised = (drawn.mean(axis=1) - mean)[errors > 0] / errors[errors > 0]
    if not studentised.size:  # all scores are equal
        return Interval(mean, 0.0, mean, mean, n, "bootstrap-t")
    lower, upper = np.quantile(studentised, [(1 - level) / 2, (1 + level) / 2])
    low, high = float(mean - upper * error), float(mean - lower * error)
    return Interval(mean, (high - low) / 2, low, high, n, "bootstrap-t")


def _finite(scores: Scores) -> Array:
    values = np.asarray(scores, dtype=float)
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite"
        )
    return values


def _quantile(level: float, n: int, method: Method) -> float:
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    upper = (1 + level) / 2
    return float(stdtrit(n - 1, upper) if method == "t" else ndtri(upper))
