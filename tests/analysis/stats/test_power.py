from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import ttest_ind

from analysis.stats.power import (
    break_even,
    largest_family,
    resolution_line,
    seeds_for_power,
    seeds_to_reject,
    smallest_p,
)


@pytest.mark.parametrize(
    ("n", "p", "family", "paired_p", "paired_family"),
    [
        (5, 1 / 252, 12, 1 / 32, 1),
        (6, 1 / 924, 46, 1 / 64, 3),
        (7, 1 / 3432, 171, 1 / 128, 6),
        (8, 1 / 12870, 643, 1 / 256, 12),
        (10, 1 / 184756, 9237, 1 / 1024, 51),
        (12, 1 / 2704156, 135207, 1 / 4096, 204),
    ],
)
def test_what_permutation_tests_can_reach(
    n: int, p: float, family: int, paired_p: float, paired_family: int
) -> None:
    assert smallest_p(n) == pytest.approx(p)
    assert largest_family(n) == family
    assert smallest_p(n, paired=True) == pytest.approx(paired_p)
    assert largest_family(n, paired=True) == paired_family


def test_eighty_configurations_need_seven_seeds_or_eleven_pairs() -> None:
    assert (seeds_to_reject(79), seeds_to_reject(79, paired=True)) == (7, 11)


def test_the_fewest_seeds_reject_in_the_first_step_of_holm_and_one_less_does_not() -> None:
    for comparisons in range(1, 100):
        n = seeds_to_reject(comparisons)
        assert comparisons / comb(2 * n, n) <= 0.05 < comparisons / comb(2 * n - 2, n - 1)


def test_the_resolution_line_is_printed_only_where_it_binds() -> None:
    line = "With 5 seeds and 80 configurations a permutation test can never reject; 7 are needed."

    assert resolution_line(5, 80) == line
    assert resolution_line(7, 80) == ""
    assert resolution_line(5, 12) == ""  # 11 / 252 = 0.0437
    assert resolution_line(1, 2).startswith("With 1 seed and 2 configurations")
    assert resolution_line(5, 1) == ""


@pytest.mark.parametrize(
    ("comparisons", "wanted"),
    [(1, [51, 14, 7, 4, 3]), (79, [135, 36, 18, 11, 7])],
    ids=["one", "79"],
)
def test_seeds_for_eighty_percent_power(comparisons: int, wanted: list[int]) -> None:
    assert [seeds_for_power(d, comparisons) for d in (0.5, 1, 1.5, 2, 3)] == wanted


def test_no_number_of_seeds_shows_that_equals_differ() -> None:
    with pytest.raises(ValueError, match="other than 0"):
        seeds_for_power(0)


def test_pairing_breaks_even_later_in_large_families() -> None:
    assert [round(break_even(5, family), 3) for family in (1, 28, 79)] == [0.239, 0.560, 0.640]
    assert [round(break_even(n), 2) for n in (5, 7, 10)] == [0.24, 0.16, 0.11]


def test_power_and_pairing_are_of_the_one_sided_tests_that_are_made() -> None:
    """Simulated: 14 seeds see a difference of one sd in 80 % of cases, 13 do not."""
    rng = np.random.default_rng(0)
    seen = {}
    for n in (13, 14):
        better, worse = rng.normal(1, 1, (20_000, n)), rng.normal(0, 1, (20_000, n))
        seen[n] = float(
            (ttest_ind(better, worse, axis=1, alternative="greater").pvalue < 0.05).mean()
        )

    assert seen[13] < 0.8 <= seen[14] + 0.005
    assert seeds_for_power(1.0) == 14
