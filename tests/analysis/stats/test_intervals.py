from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from analysis.stats.intervals import (
    NotFiniteError,
    TooFewSeedsError,
    interquartile_mean,
    interval_from_moments,
    mean_interval,
    sampling_sd,
    seed_interval,
    wilson,
    z_coverage,
)

# mean, sd, n, z half-width, t half-width, t interval; the z half-widths are those of published
# tables
PUBLISHED = [
    (98.027, 1.359, 7, 1.0067, 1.2569, 96.770, 99.284),
    (98.360, 0.719, 9, 0.4697, 0.5527, 97.807, 98.913),
    (93.512, 2.035, 8, 1.4102, 1.7013, 91.811, 95.213),
    (95.646, 0.6406, 7, 0.4746, 0.5925, 95.054, 96.238),
]


@pytest.mark.parametrize(("mean", "sd", "n", "z", "t", "low", "high"), PUBLISHED)
def test_half_widths_of_published_tables(
    mean: float, sd: float, n: int, z: float, t: float, low: float, high: float
) -> None:
    student = interval_from_moments(mean, sd, n)

    assert interval_from_moments(mean, sd, n, method="z").half_width == pytest.approx(z, abs=5e-5)
    assert student.half_width == pytest.approx(t, abs=5e-5)
    assert (student.low, student.high) == pytest.approx((low, high), abs=5e-4)


def test_interval_of_scores_is_that_of_scipy() -> None:
    scores = [0.981, 0.979, 0.985, 0.970]

    low, high = scipy.stats.t.interval(0.9, 3, np.mean(scores), scipy.stats.sem(scores))
    found = mean_interval(scores, level=0.9)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert (found.n, found.method) == (4, "t")


def test_intervals_are_not_clipped() -> None:
    assert mean_interval([0.99, 1.0, 1.0]).high > 1


def test_equal_scores_have_an_interval_of_width_zero() -> None:
    assert mean_interval([0.5, 0.5, 0.5]).half_width == 0


@pytest.mark.parametrize("scores", [[], [0.9], [0.9, 0.8]])
def test_fewer_than_three_scores_are_refused(scores: list[float]) -> None:
    with pytest.raises(TooFewSeedsError, match=f"at least 3 of them, got {len(scores)}"):
        mean_interval(scores)
    assert all(map(math.isnan, seed_interval(scores)))


def test_nan_is_refused_and_counted() -> None:
    with pytest.raises(NotFiniteError, match="2 of 3 values"):
        mean_interval([0.9, float("nan"), float("inf")])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0, 2.0, 3.0], level=level)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (980, 1000, 0.96931, 0.98702),
        (9803, 10000, 0.97739, 0.98284),
        (100, 100, 0.96301, 1),
        (0, 50, 0, 0.07135),
    ],
)
def test_wilson_vectors(k: int, n: int, low: float, high: float) -> None:
    found = wilson(k, n)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


def test_wilson_ends_are_exact() -> None:
    assert {wilson(n, n).high for n in range(1, 200)} == {1}
    assert {wilson(0, n).low for n in range(1, 200)} == {0}


def test_wilson_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        wilson(0, 0)


@pytest.mark.parametrize(
    ("n", "percent"), [(2, 70.0), (5, 87.8), (7, 90.2), (10, 91.8), (30, 94.0)]
)
def test_true_coverage_of_z(n: int, percent: float) -> None:
    assert 100 * z_coverage(n) == pytest.approx(percent, abs=0.05)


def test_a_bootstrap_needs_twenty_seeds() -> None:
    with pytest.raises(TooFewSeedsError, match="at least 20 seeds, got 19; use t"):
        mean_interval([0.9] * 10 + [0.8] * 9, method="bootstrap-t")


def test_bootstrap_t_is_near_t_for_symmetric_scores_and_leans_with_skewed_ones() -> None:
    symmetric = np.random.default_rng(0).normal(size=40)
    skewed = 1 - np.random.default_rng(0).exponential(size=40)

    plain, studentised = mean_interval(symmetric), mean_interval(symmetric, method="bootstrap-t")
    leaning = mean_interval(skewed, method="bootstrap-t")

    assert studentised.half_width == pytest.approx(plain.half_width, rel=0.15)
    assert leaning.mean - leaning.low > 1.2 * (leaning.high - leaning.mean)
    assert leaning == mean_interval(skewed, method="bootstrap-t")


def test_bootstrap_t_of_equal_scores_has_no_width() -> None:
    assert mean_interval([0.5] * 20, method="bootstrap-t").half_width == 0


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (3, 3), (4, 2), (5, 3), (7, 5), (8, 4), (10, 6)])
def test_interquartile_mean_keeps_the_middle(n: int, kept: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    cut = (n - kept) // 2

    assert interquartile_mean(values) == pytest.approx(np.sort(values)[cut : n - cut].mean())
    assert interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25))


def test_sampling_sd_is_that_of_a_share() -> None:
    assert sampling_sd(0.98, 10_000) == pytest.approx(0.0014)
