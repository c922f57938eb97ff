from __future__ import annotations

import time

import numpy as np
import pytest

from analysis.stats.anova import Decomposition, anova_of_cells, factorial_anova
from analysis.stats.intervals import Array
from analysis.stats.least_squares import approximate_anova, count_columns

SHAPE = (5, 6, 4, 4, 5)  # models, learning rates, optimizers, dropouts, seeds
MODEL, LR, OPTIMIZER, DROPOUT = range(4)


def noisy(cells: Array, sd: float = 0.01) -> Array:
    cells = np.broadcast_to(cells, SHAPE[:-1])
    return cells[..., None] + sd * np.random.default_rng(0).normal(size=SHAPE)


def axis(number: int, values: list[float]) -> Array:
    return np.array(values).reshape([-1 if i == number else 1 for i in range(4)])


def cliff() -> Array:
    """The best learning rate depends on the optimizer, and two optimizers diverge at the largest
    one.
    """
    lr, best = axis(LR, [0, 1, 2, 3, 4, 5]), axis(OPTIMIZER, [1, 3, 3, 2])
    surface = (
        0.93
        - 0.3 * np.minimum(1, ((lr - best) / 2.5) ** 2)
        + axis(MODEL, [0, 0.004, 0.008, 0.012, 0.016])
    )
    return np.where((lr == 5) & (axis(OPTIMIZER, [0, 1, 2, 3]) < 2), 0.1, surface)


def test_the_parts_add_up_to_the_total() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4, 2, 5))

    found = factorial_anova(scores)

    assert sum(found.parts.values()) + found.noise == pytest.approx(scores.var(), rel=1e-10)
    assert found.total == pytest.approx(scores.var(), rel=1e-10)
    assert found.shapley.sum() == pytest.approx(1, rel=1e-10)


def test_the_order_of_levels_changes_nothing() -> None:
    scores = noisy(cliff())
    rng = np.random.default_rng(1)
    shuffled = scores[rng.permutation(5)][:, rng.permutation(6)][:, :, rng.permutation(4)]

    assert factorial_anova(shuffled).shapley == pytest.approx(
        factorial_anova(scores).shapley, rel=1e-10
    )


def test_an_additive_surface_is_recovered() -> None:
    weights = {MODEL: 0.02, LR: 0.12, OPTIMIZER: 0.07, DROPOUT: 0.01}
    ramps = [
        weight * axis(number, np.linspace(-1, 1, SHAPE[number]).tolist())
        for number, weight in weights.items()
    ]
    variances = np.array([ramp.var() for ramp in ramps])

    found = factorial_anova(noisy(sum(ramps, np.zeros(()))))

    assert found.first == pytest.approx(variances / variances.sum(), abs=0.02)
    assert found.joint == pytest.approx(found.first, abs=0.02)


def test_the_learning_rate_is_first_on_an_interacting_surface() -> None:
    found = factorial_anova(noisy(cliff()))

    assert found.joint.argmax() == found.shapley.argmax() == LR
    assert found.interactions()[0][0] == (LR, OPTIMIZER)
    assert found.joint[OPTIMIZER] > found.first[OPTIMIZER] + 0.2


def test_pure_noise_explains_nothing_on_average() -> None:
    rng = np.random.default_rng(0)
    found = [factorial_anova(rng.normal(size=SHAPE)) for _ in range(100)]
    raw = np.mean([one.parts[(LR,)] for one in found])
    per_run = np.mean([one.seed_variance for one in found]) / 2400

    assert raw == pytest.approx(5 * per_run, rel=0.2)
    assert (
        np.mean([one.corrected[LR,] for one in found]) < 0.6 * raw
    )  # not 0: nothing is corrected to below 0
    assert np.mean([one.seed_share for one in found]) == pytest.approx(0.8, abs=0.02)


def test_noise_is_taken_off_and_nothing_becomes_negative() -> None:
    found = factorial_anova(np.random.default_rng(0).normal(size=SHAPE))

    assert all(0 <= found.corrected[subset] <= found.parts[subset] for subset in found.parts)


def test_ninety_thousand_runs_take_milliseconds() -> None:
    scores = np.random.default_rng(0).random((6, 10, 5, 6, 5, 10))
    factorial_anova(scores)

    started = time.process_time()
    factorial_anova(scores)

    assert (
        time.process_time() - started < 0.5
    )  # processor time; a loop over the runs takes a minute


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 5), (2, 2, 1)])
def test_constant_scores_have_no_variance_to_share(shape: tuple[int, ...]) -> None:
    found = factorial_anova(np.full(shape, 0.5))

    assert found.seed_share == 0
    assert not found.shapley.any()


def test_one_seed_per_cell_leaves_noise_unknown() -> None:
    found = factorial_anova(np.random.default_rng(0).normal(size=(3, 4, 1)))

    assert np.isnan(found.seed_variance)
    assert found.shapley.sum() == pytest.approx(1)


def test_unequal_seeds_weigh_cells_alike() -> None:
    means = np.array([[0.0, 1.0], [0.0, 1.0]])

    found = anova_of_cells(means, np.zeros((2, 2)), np.array([[1, 9], [2, 3]]))

    assert found.first == pytest.approx([0, 1])


def least_squares(scores: Array, keep: np.ndarray) -> Decomposition:
    codes = np.indices(scores.shape[:-1]).reshape(scores.ndim - 1, -1).T.astype(float)[keep]
    runs = scores.reshape(-1, scores.shape[-1])[keep]
    return approximate_anova(
        codes, runs.mean(axis=1), runs.var(axis=1), np.full(len(runs), scores.shape[-1])
    )


def test_least_squares_is_exact_on_a_full_factorial_of_order_two() -> None:
    scores = noisy(cliff())

    found = least_squares(scores, np.ones(480, bool))

    exact = factorial_anova(scores)
    assert found.parts == pytest.approx(
        {subset: exact.parts[subset] for subset in found.parts}, rel=1e-6, abs=1e-12
    )


@pytest.mark.slow
def test_least_squares_is_near_with_four_percent_missing() -> None:
    scores = noisy(cliff())

    found = least_squares(scores, np.random.default_rng(0).random(480) > 0.04)

    assert found.joint == pytest.approx(factorial_anova(scores).joint, abs=0.03)


def test_least_squares_leaves_the_interactions_of_a_term_out_of_its_comparison() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([(a, b) for a in range(3) for b in range(3) if (a, b) != (0, 0)], dtype=float)
    means = rng.normal(size=8) + 3 * codes[:, 0] * codes[:, 1]

    found = approximate_anova(codes, means, np.zeros(8), np.ones(8))

    def explained(columns: Array) -> float:
        fitted = columns @ np.linalg.lstsq(columns, means, rcond=None)[0]
        return float(fitted @ fitted)

    first, second = (np.eye(3)[codes[:, axis].astype(int)] for axis in (0, 1))
    type_two = (explained(np.hstack([first, second])) - explained(second)) / 8
    assert found.parts[0,] == pytest.approx(type_two)


def test_least_squares_knows_its_size() -> None:
    assert count_columns([5, 6, 4, 4]) == 1 + 15 + 83
