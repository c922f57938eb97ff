"""Estimate the best score to expect from a search of k configurations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from analysis.stats.intervals import Array, NotFiniteError, Scores, TooFewSeedsError


@dataclass(frozen=True, slots=True)
class EvpCurve:
    """The expected best by budget; arrays are (n_budgets,) and parallel, higher is better."""

    budgets: Array  # configurations searched: 1, 2, ..., N at most
    expected: Array  # U: unbiased, exact for a search without repetition among these configurations
    resampled: Array  # V: with repetition (Dodge et al. 2019), biased low
    sd: Array  # of `expected`, by jackknife over configurations; NaN for one
    reliable_to: int  # beyond this budget a curve is to be dashed: half of the configurations


def evp_curve(
    values: Scores, max_budget: int | None = None, *, selected_by: Scores | None = None
) -> EvpCurve:
    """Return the expected best of k of the configurations that were run, for k to `max_budget`.

    Args:
        values: (n_configurations,) finite, one per configuration (the mean over its seeds), higher
            is better.
        max_budget: all configurations unless given.
        selected_by: (n_configurations,) what the search selects by, higher is better, where that
            is not the value itself; the curve is of the values of the selected ones.

    Raises:
        TooFewSeedsError: there are no values.
        NotFiniteError: a value is NaN or infinite.

    Source: U of Tang et al. 2020 (arXiv 2004.13705), equal to enumeration
    (tests/analysis/stats/test_expected_performance.py).
    """
    found = np.asarray(values, dtype=float)
    by = found if selected_by is None else np.asarray(selected_by, dtype=float)
    ordered = found[np.argsort(by, kind="stable")]
    if not ordered.size:
        raise TooFewSeedsError("no configurations: nothing to expect")
    if not np.isfinite(ordered).all():
        raise NotFiniteError(
            f"{int((~np.isfinite(ordered)).sum())} of {ordered.size} values are NaN or infinite"
        )
    budgets = np.arange(1, min(max_budget or ordered.size, ordered.size) + 1)
    return EvpCurve(
        budgets.astype(float),
        np.array([unbiased_best(ordered, int(k)) for k in budgets]),
        np.array([resampled_best(ordered, int(k)) for k in budgets]),
        np.array([_jackknife_sd(ordered, int(k)) for k in budgets]),
        max(1, ordered.size // 2),
    )


def unbiased_best(ordered: Array, k: int) -> float:
    """Average the selected value over all subsets of size `k`, 1 <= k <= N.

    Args:
        ordered: (N,) the one that is selected last.
        k: size of the subsets.
    """
    i = np.arange(ordered.size - 1, k - 1, -1, dtype=float)  # ranks N - 1 down to k
    # from the largest: no overflow
    weights = k / ordered.size * np.cumprod(np.concatenate([[1.0], (i - k + 1) / i]))
    return float(weights @ ordered[::-1][: weights.size])


def resampled_best(ordered: Array, k: int) -> float:
    """Average the selected value of `k` draws with replacement.

    Args:
        ordered: (N,) the one that is selected last.
        k: number of draws.
    """
    shares = np.arange(ordered.size + 1) / ordered.size
    return float(np.diff(shares**k) @ ordered)


def _jackknife_sd(ordered: Array, k: int) -> float:
    """Estimate the error from leaving out each configuration, all at once by prefix sums."""
    n = ordered.size
    if n < 2:
        return np.nan
    ranks = np.arange(1, n)  # of the N - 1 that remain
    # where one is missing, there are at most n - 1 to choose from
    weights = _weights(ranks, min(k, n - 1), n - 1)
    # those before the one left out keep their rank, those behind it have one rank less
    below = np.concatenate([[0.0], np.cumsum(weights * ordered[:-1])])
    above = np.concatenate([np.cumsum((weights * ordered[1:])[::-1])[::-1], [0.0]])
    without = below + above
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


def _weights(ranks: npt.NDArray[np.int64], k: int, n: int) -> Array:
    """Return C(rank - 1, k - 1) / C(n, k), 0 for ranks below k."""
    usable = np.maximum(ranks, k)
    logs = (
        gammaln(usable)
        - gammaln(k)
        - gammaln(usable - k + 1)
        - gammaln(n + 1)
        + gammaln(k + 1)
        + gammaln(n - k + 1)
    )
    found: Array = np.where(ranks >= k, np.exp(logs), 0.0)
    return found
