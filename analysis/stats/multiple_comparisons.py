"""Find the configurations not distinguished from the best by one-sided tests with Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from analysis.stats.intervals import MIN_SEEDS, Array, Scores
from analysis.stats.power import ALPHA, break_even
from analysis.stats.shrinkage import Prior, fit_prior

TiedMethod = Literal["welch", "moderated", "pooled", "paired"]
Groups = Sequence[Scores] | Array  # per configuration (n_seeds,)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, sample variance (NaN for one seed) and number of seeds.

    Arrays of one shape, or single numbers.
    """

    mean: Array
    variance: Array
    n: Array

    def take(self, index: int) -> Moments:
        """Return the moments of one configuration."""
        return Moments(self.mean[index], self.variance[index], self.n[index])


@dataclass(frozen=True, slots=True)
class TiedSet:
    """Every configuration against the best; arrays are parallel to the configurations."""

    method: TiedMethod
    reference: int  # the best mean
    # one-sided, NaN where there is no test (the reference, configurations with too few seeds)
    p: Array
    adjusted: Array  # by Holm over all tests
    is_tied: Flags  # tested and not rejected; False for the reference
    notes: tuple[str, ...]  # what could not be done as asked, and why

    @property
    def n_tests(self) -> int:
        """Count the tests: the size of the family."""
        return int(np.isfinite(self.p).sum())


@dataclass(frozen=True, slots=True)
class Effect:
    """How far A lies above B."""

    difference: float
    low: float  # Welch's t interval of the difference, NaN for fewer than three seeds on a side
    high: float
    superiority: float  # P(A > B) over pairs of seeds, ties count half


@dataclass(frozen=True, slots=True)
class Pairing:
    """Whether seeds are compared pair by pair, decided before any p value is seen."""

    correlation: float  # intraclass, of the seed block
    break_even: float
    is_paired: bool


def moments(groups: Groups) -> Moments:
    """Return the moments of each configuration.

    Args:
        groups: per configuration (n_seeds,) finite scores, at least one.
    """
    arrays = [np.asarray(group, dtype=float) for group in groups]
    return Moments(
        np.array([group.mean() for group in arrays]),
        np.array([group.var(ddof=1) if group.size > 1 else np.nan for group in arrays]),
        np.array([group.size for group in arrays], dtype=float),
    )


def tied_set(
    groups: Groups,
    method: TiedMethod = "welch",
    *,
    alpha: float = ALPHA,
    reference: int | None = None,
    in_prior: Sequence[bool] | None = None,
) -> TiedSet:
    """Find the configurations that tests do not distinguish from the best.

    Args:
        groups: per configuration (n_seeds,) finite scores, higher is better (negate losses).
        method: `welch` needs no assumption on variances; `moderated` shrinks them towards each
            other (Smyth 2004); `pooled` takes one variance for all, refused where a Brown-Forsythe
            test sees several; `paired` takes differences seed by seed, for which all groups have
            the same seeds in the same order.
        alpha: error rate of the family.
        reference: the configuration to compare with; the best mean unless given.
        in_prior: for `moderated`: configurations whose variance takes part in the prior; leave out
            those of which seeds have failed.

    Source: with 80 tied configurations of 5 to 10 seeds, 0.5 to 1.1 % are excluded
    (tests/analysis/stats/test_multiple_comparisons.py).
    """
    found = moments(groups)
    best = int(np.argmax(found.mean)) if reference is None else reference
    notes: list[str] = []
    if method == "pooled" and not _has_one_variance(groups):
        notes.append(
            "variances differ (Brown-Forsythe, p < 0.05): Welch tests instead of one pooled "
            "variance"
        )
        method = "welch"
    p = _p_paired(groups, best) if method == "paired" else _p_values(found, best, method, in_prior)
    p[best] = np.nan
    if untested := int(np.isnan(p).sum()) - 1:
        notes.append(
            f"{untested} of {len(groups) - 1} not tested: a test needs two seeds on either side"
        )
    adjusted = holm(p)
    return TiedSet(method, best, p, adjusted, adjusted > alpha, tuple(notes))


def holm(p: Array) -> Array:
    """Return Holm's step-down adjusted p values along the last axis; NaN is no test and stays."""
    order = np.argsort(p, axis=-1)  # NaN last
    ordered = np.take_along_axis(p, order, axis=-1)
    tests = np.isfinite(p).sum(axis=-1, keepdims=True)
    factor = np.maximum(tests - np.arange(p.shape[-1]), 1)
    stepped = np.minimum(np.maximum.accumulate(ordered * factor, axis=-1), 1.0)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, axis=-1)
    return adjusted


def welch_p(best: Moments, others: Moments) -> Array:
    """Return one-sided p values of "the best is better" by Welch's test; shapes broadcast."""
    error, freedom = _welch(best, others)
    return _upper_tail(best.mean - others.mean, error, freedom)


def moderated_p(best: Moments, others: Moments, prior: Prior) -> Array:
    """Return one-sided p values with variances shrunk towards the prior.

    The prior also adds its degrees of freedom.
    """
    error = np.sqrt(
        prior.shrink(best.variance, best.n) / best.n
        + prior.shrink(others.variance, others.n) / others.n
    )
    freedom = np.minimum(2 * prior.freedom + best.n + others.n - 2, max(prior.total_freedom, 1.0))
    return _upper_tail(best.mean - others.mean, error, freedom)


def effect(a: Scores, b: Scores, level: float = 0.95) -> Effect:
    """Return the difference of the means with its interval, and how often `a` is above `b`.

    The latter is the share of pairs of seeds.
    """
    left, right = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    difference = float(left.mean() - right.mean())
    above = left[:, None] > right
    superiority = float((above + 0.5 * (left[:, None] == right)).mean())
    if min(left.size, right.size) < MIN_SEEDS:
        return Effect(difference, np.nan, np.nan, superiority)
    found = moments([left, right])
    error, freedom = _welch(found.take(0), found.take(1))
    half_width = float(stdtrit(freedom, (1 + level) / 2) * error) if error > 0 else 0.0
    return Effect(difference, difference - half_width, difference + half_width, superiority)


def choose_pairing(scores: Array, *, alpha: float = ALPHA) -> Pairing:
    """Decide whether to compare seed by seed.

    Args:
        scores: (n_configurations, n_seeds), one column per seed that all configurations share.
        alpha: error rate of the family, of which the first step decides where pairing breaks even.
    """
    configurations, seeds = scores.shape
    if configurations < 2 or seeds < 2:
        return Pairing(0.0, 1.0, False)
    correlation = seed_correlation(scores)
    needed = break_even(seeds, configurations - 1, alpha=alpha)
    return Pairing(correlation, needed, correlation > needed)


def seed_correlation(scores: Array) -> float:
    """Return the intraclass correlation of the seeds of a table (n_configurations, n_seeds).

    It is high where a seed means one split or one order of samples, and that matters; 0 if nothing
    is shared.
    """
    configurations, seeds = scores.shape
    rows, columns, grand = (
        scores.mean(axis=1, keepdims=True),
        scores.mean(axis=0, keepdims=True),
        scores.mean(),
    )
    residual = ((scores - rows - columns + grand) ** 2).sum() / ((configurations - 1) * (seeds - 1))
    block = configurations * ((columns - grand) ** 2).sum() / (seeds - 1)
    shared = max(float(block - residual) / configurations, 0.0)
    return shared / (shared + float(residual)) if shared else 0.0


def _p_values(
    found: Moments, best: int, method: TiedMethod, in_prior: Sequence[bool] | None
) -> Array:
    if method == "welch":
        return welch_p(found.take(best), found)
    if method == "moderated":
        usable = np.ones(len(found.n), bool) if in_prior is None else np.asarray(in_prior, bool)
        return moderated_p(
            found.take(best), found, fit_prior(found.variance[usable], found.n[usable])
        )
    freedom = found.n - 1
    variance = np.nansum(found.variance * freedom) / max(freedom.sum(), 1)
    error = np.sqrt(variance * (1 / found.n[best] + 1 / found.n))
    p = _upper_tail(
        found.mean[best] - found.mean, error, np.full_like(found.n, max(freedom.sum(), 1))
    )
    return np.where(freedom.sum() > 0, p, np.nan)


def _p_paired(groups: Groups, best: int) -> Array:
    scores = np.array([np.asarray(group, dtype=float) for group in groups])
    seeds = scores.shape[1]
    if seeds < 2:
        return np.full(len(scores), np.nan)
    differences = scores[best] - scores
    error = differences.std(axis=1, ddof=1) / np.sqrt(seeds)
    return _upper_tail(differences.mean(axis=1), error, np.full(len(scores), seeds - 1.0))


def _welch(a: Moments, b: Moments) -> tuple[Array, Array]:
    """Return the standard error of the difference and Satterthwaite's degrees of freedom.

    NaN for one seed.
    """
    left, right = a.variance / a.n, b.variance / b.n
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (left + right) ** 2 / (left**2 / (a.n - 1) + right**2 / (b.n - 1))
    return np.sqrt(left + right), freedom


def _upper_tail(difference: Array, error: Array, freedom: Array) -> Array:
    """Return P(T > difference / error).

    Without any spread a difference is certain, and equality is no difference.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(freedom, -difference / error)
    certain = np.where(difference > 0, 0.0, 1.0)
    return np.asarray(np.where(error == 0, certain, p), dtype=float)


def _has_one_variance(groups: Groups) -> bool:
    """Return whether a Brown-Forsythe test lets one variance stand for all."""
    from scipy.stats import f_oneway  # a second to import

    several = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    distances = [np.abs(group - np.median(group)) for group in several]
    if len(distances) < 2 or not any(distance.any() for distance in distances):
        return True
    return not f_oneway(*distances).pvalue < ALPHA
