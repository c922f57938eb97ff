from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from analysis.stats.correlation import average_correlation, rank_correlation, spearman_interval
from analysis.stats.intervals import TooFewSeedsError


def test_r_and_tau_are_those_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(6, size=40).astype(float), rng.normal(size=40)

    found = rank_correlation(x, y)

    assert found.r == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found.tau == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert found.has_ties
    assert found.low < found.r < found.high


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 200])
def test_the_interval_covers_the_true_correlation(n: int) -> None:
    rng, rho, repetitions = np.random.default_rng(n), 0.6, 3000
    truth = 6 / math.pi * math.asin(rho / 2)  # Spearman's, of a normal pair with Pearson's rho
    pairs = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(repetitions, n))
    ranks = pairs.argsort(axis=1).argsort(axis=1).astype(float)
    centred = ranks - (n - 1) / 2
    r = (centred[..., 0] * centred[..., 1]).sum(axis=1) / (centred[..., 0] ** 2).sum(axis=1)

    ends = [spearman_interval(float(value), n) for value in r]

    assert 0.94 <= np.mean([low <= truth <= high for low, high in ends]) <= 0.97


def test_a_constant_side_has_no_correlation() -> None:
    found = rank_correlation([1.0, 1, 1, 1, 1], [1.0, 2, 3, 4, 5])

    assert math.isnan(found.r)
    assert math.isnan(found.low)
    assert math.isnan(found.tau)


def test_a_perfect_correlation_is_exact() -> None:
    found = rank_correlation([1.0, 2, 3, 4], [10.0, 20, 30, 40])

    assert found.r == pytest.approx(1.0)
    assert found.high == pytest.approx(1.0)


def test_three_pairs_are_refused() -> None:
    with pytest.raises(TooFewSeedsError, match="at least 4 pairs, got 3"):
        rank_correlation([1.0, 2, 3], [1.0, 2, 3])


def test_correlations_are_averaged_in_z_space() -> None:
    assert average_correlation([0.2, 0.9]) == pytest.approx(
        math.tanh((math.atanh(0.2) + math.atanh(0.9)) / 2)
    )
    assert average_correlation([0.5, math.nan]) == pytest.approx(0.5)
    assert average_correlation([1.0, 1.0]) == pytest.approx(1.0)
    assert math.isnan(average_correlation([]))
