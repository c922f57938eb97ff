"""Shrink the variances of few seeds towards each other (Smyth 2004, moderated t of limma)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma

from analysis.stats.intervals import Array

Flags = npt.NDArray[np.bool_]

# of the median variance: one that is 0 by rounding would make the mean of logarithms -infinity
FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Prior:
    """The common variance and the degrees of freedom for which it counts.

    Infinitely many: all variances are equal.
    """

    variance: float
    freedom: float
    total_freedom: float  # of all variances that took part

    def shrink(self, variance: Array, n: Array) -> Array:
        """Return (d0 s0² + d s²) / (d0 + d), d = n - 1; a single seed has the prior's variance."""
        own = n - 1
        if math.isinf(self.freedom):
            return np.full_like(np.asarray(n, dtype=float), self.variance)
        known = np.where(own > 0, np.nan_to_num(variance), 0.0)
        # neither a prior nor a second seed: NaN, there is no variance
        with np.errstate(invalid="ignore"):
            return np.asarray(
                (self.freedom * self.variance + own * known) / (self.freedom + own), dtype=float
            )


def moderated_errors(variance: Array, n: Array, usable: Flags | None = None) -> Array:
    """Return the standard error of each mean, by its own variance shrunk towards the prior.

    A single seed has the variance of the prior, or the mean variance where there is no prior; NaN
    where no configuration has two seeds.

    Args:
        variance: (n_configurations,) sample variances; NaN for single seeds.
        n: (n_configurations,) seeds.
        usable: (n_configurations,) whose variances take part in the prior; all unless given.
    """
    taken = np.ones(len(n), dtype=bool) if usable is None else usable
    shrunk = fit_prior(variance[taken], n[taken]).shrink(variance, n)
    known = variance[np.isfinite(variance) & (n > 1)]
    if not known.size:
        return np.full(len(n), math.nan)
    return np.asarray(np.sqrt(np.where(np.isnan(shrunk), known.mean(), shrunk) / n), dtype=float)


def fit_prior(variance: Array, n: Array) -> Prior:
    """Fit the prior to the moments of log variances; no freedom where fewer than two can be used.

    Args:
        variance: (n_configurations,) sample variances; NaN for single seeds, which are left out.
        n: (n_configurations,) seeds.
    """
    several = (n > 1) & np.isfinite(variance)
    found, own = variance[several], n[several] - 1
    if found.size < 2 or not found.any():
        return Prior(0.0, 0.0, float(own.sum()))
    logs = np.log(np.maximum(found, FLOOR * np.median(found[found > 0])))
    centred = logs - digamma(own / 2) + np.log(own / 2)
    excess = float(centred.var(ddof=1) - polygamma(1, own / 2).mean())
    if excess <= 0:
        return Prior(math.exp(centred.mean()), math.inf, float(own.sum()))
    half = trigamma_inverse(excess)
    return Prior(
        math.exp(centred.mean() + float(digamma(half)) - math.log(half)), 2 * half, float(own.sum())
    )


def trigamma_inverse(y: float) -> float:
    """Solve trigamma(x) = y for x > 0 by Newton's method on the reciprocal (Smyth 2004)."""
    x = 0.5 + 1 / y
    for _ in range(50):
        value = float(polygamma(1, x))
        step = value * (1 - value / y) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x
