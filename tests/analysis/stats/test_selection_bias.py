from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.results.configurations import configurations
from analysis.results.plan import Plan
from analysis.results.rows import make_row
from analysis.stats.selection_bias import expected_max, optimism_of_best, pooled_sd, shared_luck


@pytest.mark.parametrize(
    ("k", "n", "in_sd"),
    [
        (80, 1, 2.43),
        (80, 3, 1.40),
        (80, 5, 1.08),
        (80, 10, 0.77),
        (400, 5, 1.33),
        (20, 1, 1.86),
        (20, 10, 0.59),
    ],
)
def test_optimism_of_equal_configurations(k: int, n: int, in_sd: float) -> None:
    assert optimism_of_best(1.0, n, k) == pytest.approx(in_sd, abs=0.01)


def test_the_only_configuration_is_not_optimistic() -> None:
    assert expected_max(1) == 0


def test_the_largest_of_two_and_three_are_known_in_closed_form() -> None:
    assert expected_max(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-6)
    assert expected_max(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-6)


def seeds_of(
    number: int, mean: float, rng: np.random.Generator, purpose: str
) -> list[dict[str, Any]]:
    """Five runs of configuration `number`, as the frame has them; the sd of a run is 0.01."""
    return [
        {
            "config_id": str(number),
            "outcome": "ok",
            "purpose": purpose,
            "seed": seed,
            "lr": number,
            "val/acc": score,
        }
        for seed, score in enumerate((mean + 0.01 * rng.normal(size=5)).tolist())
    ]


@pytest.mark.slow
def test_the_confirmed_column_is_not_optimistic_and_the_selected_one_is() -> None:
    rng, k, searches = np.random.default_rng(0), 20, 2000
    confirmed, selected, predicted = [], [], []
    for _ in range(searches):
        truth = 0.5 + 0.01 * rng.normal(size=k)
        runs = [
            run for number in range(k) for run in seeds_of(number, truth[number], rng, "search")
        ]
        winner = configurations(pd.DataFrame(runs), "val/acc")[0]
        number = int(winner.config_id)
        fresh = tuple(seeds_of(number, truth[number], rng, "confirm"))
        plan = Plan(report="val/acc")
        row = make_row(replace(winner, runs=(*winner.runs, *fresh)), ["lr"], plan)
        assert row.mean is not None
        assert row.optimistic is not None
        confirmed.append(row.mean - truth[number])
        selected.append(row.optimistic - truth[number])
        predicted.append(optimism_of_best(0.01, 5, k))

    assert abs(np.mean(confirmed)) <= 0.05 * 0.01
    assert (
        0.2 * 0.01 < np.mean(selected) < np.mean(predicted)
    )  # which is for equal ones, an upper bound


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
