from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.optimism import expected_max, optimism_of_best, pooled_sd, shared_luck


@pytest.mark.parametrize(
    ("k", "n", "in_sd"),
    [(80, 1, 2.43), (80, 3, 1.40), (80, 5, 1.08), (80, 10, 0.77), (400, 5, 1.33), (20, 1, 1.86), (20, 10, 0.59)],
)
def test_optimism_of_equal_configurations(k: int, n: int, in_sd: float) -> None:
    assert optimism_of_best(1.0, n, k) == pytest.approx(in_sd, abs=0.01)


def test_the_only_configuration_is_not_optimistic() -> None:
    assert expected_max(1) == 0


def test_the_largest_of_two_and_three_are_known_in_closed_form() -> None:
    assert expected_max(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-6)
    assert expected_max(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-6)


def test_fresh_seeds_are_not_optimistic_and_the_selected_ones_are() -> None:
    rng, k, n, searches = np.random.default_rng(0), 80, 5, 8000
    truth = rng.normal(95.0, 1.0, (searches, k))
    selected = truth + rng.normal(size=(searches, k)) / math.sqrt(n)  # mean of n seeds with a run sd of 1
    winner = selected.argmax(axis=1)[:, None]

    chosen = np.take_along_axis(truth, winner, 1)[:, 0]
    confirmed = chosen + rng.normal(size=searches) / math.sqrt(n)

    assert abs((confirmed - chosen).mean()) <= 0.05
    assert (np.take_along_axis(selected, winner, 1)[:, 0] - chosen).mean() == pytest.approx(0.45, abs=0.05)


def test_pooled_sd_is_within_configurations() -> None:
    assert pooled_sd([[1.0, 3.0], [101.0, 103.0], [7.0]]) == pytest.approx(math.sqrt(2))
    assert math.isnan(pooled_sd([[1.0], [2.0]]))


def test_shared_luck_is_a_correlation_within_configurations() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(40, 5))
    level = 100 * rng.normal(size=(40, 1))

    assert shared_luck(list(luck + level), list(luck - level)) == pytest.approx(1.0)
    assert shared_luck(list(luck + level), list(rng.normal(size=(40, 5)) + level)) < 0.2


def test_shared_luck_is_taken_for_complete_where_seeds_are_few() -> None:
    assert shared_luck([[1.0, 2.0]], [[2.0, 1.0]]) == 1
