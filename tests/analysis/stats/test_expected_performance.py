from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest

from analysis.stats.expected_performance import evp_curve
from analysis.stats.intervals import NotFiniteError, TooFewSeedsError


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_the_unbiased_estimate_is_enumeration_of_all_subsets(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)

    curve = evp_curve(values)

    wanted = [np.mean([max(subset) for subset in combinations(values, k)]) for k in range(1, n + 1)]
    assert curve.expected == pytest.approx(wanted, abs=1e-12)


def test_the_resampled_estimate_is_enumeration_of_all_draws() -> None:
    values = np.random.default_rng(0).normal(size=4)

    wanted = [np.mean([max(draw) for draw in product(values, repeat=k)]) for k in range(1, 5)]

    assert evp_curve(values).resampled == pytest.approx(wanted, abs=1e-12)


@pytest.mark.slow
def test_one_configuration_is_the_mean_and_all_are_the_maximum() -> None:
    values = np.random.default_rng(0).random(2000)

    curve = evp_curve(values)

    assert curve.expected[0] == pytest.approx(values.mean(), abs=1e-12)
    assert curve.expected[-1] == pytest.approx(values.max(), abs=1e-12)
    assert (np.diff(curve.expected) >= -1e-12).all()
    assert curve.reliable_to == 1000


@pytest.mark.slow
def test_the_estimate_is_unbiased_where_resampling_is_low() -> None:
    rng, n, k = np.random.default_rng(0), 20, 5
    curves = [evp_curve(rng.random(n), k) for _ in range(2000)]

    assert np.mean([curve.expected[k - 1] for curve in curves]) == pytest.approx(
        k / (k + 1), abs=0.003
    )
    assert np.mean([curve.resampled[k - 1] for curve in curves]) == pytest.approx(
        k / (k + 1) - 0.017, abs=0.003
    )


def test_the_jackknife_is_that_of_leaving_out_one_configuration_after_the_other() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=8))

    curve = evp_curve(values)

    for k in range(1, 8):
        without = np.array([evp_curve(np.delete(values, j)).expected[k - 1] for j in range(8)])
        assert curve.sd[k - 1] == pytest.approx(
            math.sqrt(7 / 8 * ((without - without.mean()) ** 2).sum())
        )


def test_one_configuration_has_no_sd() -> None:
    curve = evp_curve([0.5])

    assert (curve.expected[0], curve.reliable_to) == (0.5, 1)
    assert math.isnan(curve.sd[0])


def test_equal_values_stay_equal() -> None:
    assert evp_curve([0.5] * 6).expected == pytest.approx([0.5] * 6)


def test_no_values_and_nan_are_refused() -> None:
    with pytest.raises(TooFewSeedsError, match="nothing to expect"):
        evp_curve([])
    with pytest.raises(NotFiniteError, match="1 of 2"):
        evp_curve([0.5, math.nan])
