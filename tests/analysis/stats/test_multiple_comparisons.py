from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from analysis.stats.intervals import Array
from analysis.stats.multiple_comparisons import (
    TiedMethod,
    choose_pairing,
    effect,
    holm,
    moments,
    seed_correlation,
    tied_set,
    welch_p,
)
from analysis.stats.power import resolution_line
from analysis.stats.shrinkage import fit_prior, trigamma_inverse

SIMULATIONS, K = 500, 80


def rates(method: TiedMethod, n: int, *, bests: int, unequal: bool = False) -> tuple[float, float]:
    """How often the first of `bests` configurations 3 sd above the others is kept, and the share of
    those excluded.
    """
    rng = np.random.default_rng(n)
    kept, excluded = 0, 0.0
    truth = np.where(np.arange(K) < bests, 3.0, 0.0)[:, None]
    for _ in range(SIMULATIONS):
        variance = 4 / rng.chisquare(4, (K, 1)) if unequal else 1.0
        found = tied_set(truth + np.sqrt(variance) * rng.normal(size=(K, n)), method)
        kept += found.is_tied[0] or found.reference == 0
        others = np.arange(K) >= bests if bests < K else np.arange(K) != found.reference
        excluded += float((~found.is_tied[others]).mean())
    return kept / SIMULATIONS, excluded / SIMULATIONS


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 7, 10])
@pytest.mark.parametrize("method", ["welch", "moderated"])
def test_the_true_best_is_kept(method: TiedMethod, n: int) -> None:
    assert rates(method, n, bests=2)[0] >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("method", ["welch", "moderated"])
def test_the_true_best_is_kept_with_unequal_variances(method: TiedMethod) -> None:
    assert rates(method, 5, bests=2, unequal=True)[0] >= 0.93


@pytest.mark.slow
def test_moderation_excludes_more_of_the_worse() -> None:
    welch, moderated = (
        rates(method, 5, bests=2, unequal=True)[1] for method in ("welch", "moderated")
    )

    assert welch == pytest.approx(0.47, abs=0.05)
    assert moderated == pytest.approx(0.85, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_hardly_any_configuration_is_excluded_when_all_are_tied(n: int) -> None:
    assert rates("welch", n, bests=K)[1] <= 0.02


def test_raw_tests_would_exclude_a_quarter_of_the_tied() -> None:
    rng = np.random.default_rng(0)
    found = [tied_set(rng.normal(size=(K, 5))) for _ in range(200)]

    assert np.nanmean([set_.p < 0.05 for set_ in found]) > 0.2


def test_five_seeds_and_eighty_configurations_print_the_bound() -> None:
    assert "7 are needed" in resolution_line(5, 80)


def test_welch_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 1, 5), rng.normal(0, 3, 8)
    found = moments([a, b])

    p = welch_p(found.take(0), found.take(1))

    assert float(p) == pytest.approx(
        scipy.stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
    )


def test_paired_is_that_of_scipy() -> None:
    scores = np.random.default_rng(3).normal(size=(3, 6))

    found = tied_set(scores, "paired")

    best = found.reference
    wanted = [
        scipy.stats.ttest_rel(scores[best], row, alternative="greater").pvalue
        for i, row in enumerate(scores)
        if i != best
    ]
    assert found.p[np.isfinite(found.p)] == pytest.approx(wanted)


def test_holm_steps_down_and_leaves_missing_tests_alone() -> None:
    adjusted = holm(np.array([0.01, 0.04, math.nan, 0.03, 0.5]))

    assert adjusted == pytest.approx([0.04, 0.09, math.nan, 0.09, 0.5], nan_ok=True)


def test_a_single_seed_is_neither_tied_nor_excluded_by_a_test() -> None:
    found = tied_set([[0.9, 0.91, 0.92], [0.5], [0.1, 0.11, 0.1]])

    assert found.reference == 0
    assert np.isnan(found.p[1])
    assert not found.is_tied.any()
    assert found.notes == ("1 of 2 not tested: a test needs two seeds on either side",)
    assert found.n_tests == 1


def test_one_configuration_is_tied_with_nothing() -> None:
    found = tied_set([[0.9, 0.8]])

    assert (found.reference, found.n_tests, found.notes) == (0, 0, ())
    assert not found.is_tied.any()


@pytest.mark.parametrize("method", ["welch", "moderated", "pooled", "paired"])
def test_equal_scores_everywhere_are_tied(method: TiedMethod) -> None:
    found = tied_set([[0.5, 0.5, 0.5]] * 3, method)

    assert found.is_tied.tolist() == [False, True, True]


@pytest.mark.parametrize("method", ["welch", "moderated", "pooled"])
def test_differences_without_any_spread_are_certain(method: TiedMethod) -> None:
    assert not tied_set([[0.9, 0.9], [0.5, 0.5]], method).is_tied.any()


@pytest.mark.parametrize("method", ["welch", "moderated", "pooled"])
def test_single_seeds_only_leave_nothing_to_test(method: TiedMethod) -> None:
    assert tied_set([[0.9], [0.8], [0.7]], method).n_tests == 0


def test_one_pooled_variance_is_refused_where_there_are_several() -> None:
    rng = np.random.default_rng(0)
    scores: list[Array] = [*rng.normal(size=(10, 8)), *(20 * rng.normal(size=(10, 8)))]

    assert tied_set(scores, "pooled").method == "welch"
    assert "Brown-Forsythe" in tied_set(scores, "pooled").notes[0]
    assert tied_set(rng.normal(size=(20, 8)), "pooled").method == "pooled"


def test_effect_is_the_difference_with_its_interval_and_the_share_of_pairs() -> None:
    a, b = [0.9, 0.8, 0.85], [0.8, 0.7, 0.6]

    found = effect(a, b)

    wanted = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert found.difference == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.superiority == pytest.approx((8 + 0.5) / 9)


def test_effect_of_single_seeds_has_no_interval() -> None:
    assert math.isnan(effect([0.9], [0.8, 0.7]).low)


def test_pairing_is_chosen_where_seeds_share_their_luck() -> None:
    rng = np.random.default_rng(0)
    own, shared = rng.normal(size=(20, 7)), 3 * rng.normal(size=7)

    assert not choose_pairing(own).is_paired
    assert choose_pairing(own + shared).is_paired
    assert seed_correlation(own + shared) == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_pairing_of_one_seed_or_configuration_is_refused(shape: tuple[int, int]) -> None:
    assert not choose_pairing(np.zeros(shape)).is_paired


def test_the_prior_of_variances_is_recovered() -> None:
    rng, freedom = np.random.default_rng(0), 4.0
    truth = freedom / rng.chisquare(freedom, 5000)
    sample = truth * rng.chisquare(4, 5000) / 4

    prior = fit_prior(sample, np.full(5000, 5.0))

    assert prior.freedom == pytest.approx(freedom, rel=0.15)
    assert prior.variance == pytest.approx(1.0, rel=0.05)


def test_equal_variances_have_a_prior_of_infinite_freedom() -> None:
    prior = fit_prior(np.full(10, 2.0), np.full(10, 5.0))

    assert math.isinf(prior.freedom)


@pytest.mark.parametrize("x", [1e-3, 0.5, 7.0, 1e4])
def test_trigamma_is_inverted(x: float) -> None:
    from scipy.special import polygamma

    assert trigamma_inverse(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)
