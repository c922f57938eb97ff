from __future__ import annotations

import pytest

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
        (5, 0.0079, 6, 0.0625, 0),
        (6, 0.0022, 23, 0.0313, 1),
        (7, 0.00058, 85, 0.0156, 3),
        (8, 0.00016, 321, 0.0078, 6),
        (10, 1.1e-5, 4618, 0.0020, 25),
        (12, 7.4e-7, 67603, 0.00049, 102),
    ],
)
def test_what_permutation_tests_can_reach(
    n: int, p: float, family: int, paired_p: float, paired_family: int
) -> None:
    assert smallest_p(n) == pytest.approx(p, rel=0.03)
    assert largest_family(n) == family
    assert smallest_p(n, paired=True) == pytest.approx(paired_p, rel=0.03)
    assert largest_family(n, paired=True) == paired_family


def test_eighty_configurations_need_seven_seeds_or_twelve_pairs() -> None:
    assert (seeds_to_reject(79), seeds_to_reject(79, paired=True)) == (7, 12)


def test_the_resolution_line_is_printed_only_where_it_binds() -> None:
    line = "With 5 seeds and 80 configurations a permutation test can never reject; 7 are needed."

    assert resolution_line(5, 80) == line
    assert resolution_line(7, 80) == ""
    assert resolution_line(1, 2).startswith("With 1 seed and 2 configurations")
    assert resolution_line(5, 1) == ""


@pytest.mark.parametrize(
    ("comparisons", "wanted"),
    [(1, [64, 17, 9, 6, 4]), (79, [149, 40, 20, 13, 8])],
    ids=["one", "79"],
)
def test_seeds_for_eighty_percent_power(comparisons: int, wanted: list[int]) -> None:
    assert [seeds_for_power(d, comparisons) for d in (0.5, 1, 1.5, 2, 3)] == wanted


def test_no_number_of_seeds_shows_that_equals_differ() -> None:
    with pytest.raises(ValueError, match="other than 0"):
        seeds_for_power(0)


def test_pairing_breaks_even_later_in_large_families() -> None:
    assert [round(break_even(n), 2) for n in (5, 7, 10)] == [0.31, 0.21, 0.14]
    assert [round(break_even(n, 79), 2) for n in (5, 7, 10)] == [0.69, 0.50, 0.35]
