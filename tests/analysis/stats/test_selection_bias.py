from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.results.configurations import configurations
from analysis.results.plan import Plan
from analysis.results.rows import make_row
from analysis.stats.intervals import Array
from analysis.stats.selection_bias import selection_optimism, shared_luck
from analysis.stats.shrinkage import moderated_errors

Draw = Callable[[np.random.Generator], Array]


def spread(sd: float) -> Draw:
    return lambda rng: sd * rng.normal(size=20)


def two_ahead(by: float) -> Draw:
    return lambda rng: np.array([by, by, *[0.0] * 18])


def searches(
    draw: Draw, n: int = 5, replicates: int = 400, sd: float = 1.0
) -> tuple[list[float], list[float]]:
    """Return the true optimism of the best and the estimated one, of simulated searches."""
    rng = np.random.default_rng(3)
    true, estimated = [], []
    for _ in range(replicates):
        truth = draw(rng)
        scores = truth[:, None] + sd * rng.normal(size=(len(truth), n))
        found, best, errors = moments_of(scores)
        true.append(float(found[best] - truth[best]))
        estimated.append(selection_optimism(found, errors, best).value)
    return true, estimated


def moments_of(scores: Array) -> tuple[Array, int, Array]:
    k, n = scores.shape
    means = scores.mean(axis=1)
    errors = moderated_errors(scores.var(axis=1, ddof=1), np.full(k, float(n)))
    return means, int(means.argmax()), errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "in_sd"),
    [
        (spread(0), 0.843),
        (spread(0.5), 0.560),
        (spread(1), 0.344),
        (spread(3), 0.130),
        (two_ahead(3), 0.258),
        (two_ahead(6), 0.243),
    ],
    ids=["equal", "sd 0.5", "sd 1", "sd 3", "two at +3", "two at +6"],
)
def test_the_estimated_optimism_is_the_true_one(draw: Draw, in_sd: float) -> None:
    true, estimated = searches(draw, replicates=600)

    noise = float(np.std(estimated)) / math.sqrt(len(estimated))
    assert np.mean(true) == pytest.approx(in_sd, abs=0.06)
    assert np.mean(estimated) == pytest.approx(in_sd, abs=0.15 * in_sd + 2 * noise)


@pytest.mark.parametrize(("k", "n", "in_sd"), [(80, 5, 1.08), (80, 10, 0.77), (20, 3, 1.08)])
def test_the_optimism_of_equals_falls_with_their_seeds_and_rises_with_their_number(
    k: int, n: int, in_sd: float
) -> None:
    _, estimated = searches(lambda _: np.zeros(k), n, replicates=100)

    assert np.mean(estimated) == pytest.approx(in_sd, rel=0.2)


def test_a_noisy_row_far_below_makes_the_best_no_more_optimistic() -> None:
    """The best has a seed deviation of 0.42 points; 9 points below one has 10.6."""
    means, errors = np.array([97.0, 88.0]), np.array([0.42, 10.6]) / math.sqrt(5)

    assert selection_optimism(means, errors, 0).value < 0.02


def test_optimism_has_its_monte_carlo_error_and_is_the_same_in_every_call() -> None:
    rng = np.random.default_rng(0)
    means, best, errors = moments_of(rng.normal(size=(20, 5)))

    first, again = (selection_optimism(means, errors, best) for _ in range(2))

    assert first == again
    assert 0 < first.error < 0.05 * first.value


def test_the_only_configuration_is_not_optimistic() -> None:
    assert selection_optimism(np.array([1.0]), np.array([0.1]), 0).value == 0


def test_scores_without_any_spread_are_not_optimistic() -> None:
    assert selection_optimism(np.array([1.0, 1.0]), np.zeros(2), 0).value == 0


def test_ten_thousand_configurations_take_a_moment_and_little_memory() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=10_000)

    found = selection_optimism(means, np.full(10_000, 0.3), int(means.argmax()))

    assert 0.1 < found.value < 0.6


def test_errors_of_single_seeds_are_those_of_the_others() -> None:
    errors = moderated_errors(np.array([0.04, np.nan]), np.array([4.0, 1.0]))

    assert errors.tolist() == pytest.approx([0.1, 0.2])
    assert np.isnan(moderated_errors(np.array([np.nan]), np.array([1.0]))).all()


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
    rng, k, times = np.random.default_rng(0), 20, 2000
    confirmed, selected = [], []
    for _ in range(times):
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

    assert abs(np.mean(confirmed)) <= 0.05 * 0.01
    assert np.mean(selected) == pytest.approx(0.344 * 0.01, rel=0.15)


def test_shared_luck_is_a_correlation_within_configurations() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(40, 5))
    level = 100 * rng.normal(size=(40, 1))

    assert shared_luck(list(luck + level), list(luck - level)) == pytest.approx(1.0)
    assert shared_luck(list(luck + level), list(rng.normal(size=(40, 5)) + level)) < 0.2


def test_shared_luck_is_taken_for_complete_where_seeds_are_few() -> None:
    assert shared_luck([[1.0, 2.0]], [[2.0, 1.0]]) == 1
