"""Chance levels by formula against simulated answers that know nothing of the inputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import rankdata

from analysis.stats.chance import Chance, ScoreKind, class_score_at_chance, error_at_chance
from analysis.stats.intervals import Array

Classes = npt.NDArray[np.int64]
SHARES = ((0.5, 0.5), (0.9, 0.1), (0.17, *[0.83 / 9] * 9), (0.6, 0.3, 0.1))
KINDS: tuple[ScoreKind, ...] = ("share", "macro_f1", "balanced", "f1")


def scored(kind: ScoreKind, truth: Classes, answers: Classes, classes: int) -> float:
    hits, support, given = (
        np.array([((truth == c) & (answers == c)).sum() for c in range(classes)]),
        np.bincount(truth, minlength=classes),
        np.bincount(answers, minlength=classes),
    )
    if kind == "share":
        return float((truth == answers).mean())
    if kind == "balanced":
        return float((hits / support).mean())
    f1 = 2 * hits / np.maximum(support + given, 1)
    return float(f1[-1] if kind == "f1" else f1.mean())


def strategies(shares: tuple[float, ...]) -> list[Array]:
    """Proportions of random answers: one class always, all alike, as frequent as they are."""
    classes = len(shares)
    return [*np.eye(classes), np.full(classes, 1 / classes), np.array(shares)]


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_level_is_what_the_best_answer_without_knowledge_reaches(
    kind: ScoreKind, shares: tuple[float, ...]
) -> None:
    rng, n = np.random.default_rng(0), 40_000
    truth = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * n).astype(int))
    best = max(
        scored(kind, truth, rng.choice(len(shares), truth.size, p=answer), len(shares))
        for answer in strategies(shares)
    )

    assert class_score_at_chance(kind, shares) == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_answers_at_random_exceeds_the_bound_in_less_than_one_percent(
    kind: ScoreKind, shares: tuple[float, ...]
) -> None:
    rng, n, epochs, classes = np.random.default_rng(0), 300, 20, len(shares)
    truth = np.repeat(np.arange(classes), np.round(np.array(shares) * n).astype(int))
    level = class_score_at_chance(kind, shares)
    bound = Chance(level, truth.size, math.log(classes), kind, shares).bound(epochs)
    found = [
        max(
            scored(kind, truth, rng.choice(classes, truth.size, p=answer), classes)
            for _ in range(epochs)
        )
        for answer in strategies(shares)[-2:]
        for _ in range(150)
    ]

    assert np.mean(np.array(found) > bound) <= 0.01
    assert bound < level + 0.5


def test_always_the_majority_has_a_macro_f1_far_below_its_accuracy() -> None:
    shares = (0.17, *[0.83 / 9] * 9)

    assert class_score_at_chance("share", shares) == 0.17
    always = 2 * 0.17 / 1.17 / 10  # recall 1, precision 0.17, and 0 for nine other classes

    assert always == pytest.approx(0.029, abs=0.001)
    assert class_score_at_chance("macro_f1", shares) == pytest.approx(0.1, abs=0.002)


def test_the_area_under_the_curve_of_random_scores_stays_within_its_bound() -> None:
    rng, n, positive = np.random.default_rng(0), 200, 20
    ranks = rankdata(rng.random((3000, n)), axis=1)[:, :positive].sum(axis=1)
    areas = (ranks - positive * (positive + 1) / 2) / (positive * (n - positive))
    chance = Chance(0.5, n, math.log(2), "auroc", (0.9, 0.1))

    assert class_score_at_chance("auroc", (0.9, 0.1)) == pytest.approx(areas.mean(), abs=0.01)
    assert np.mean(areas > chance.bound(1)) <= 0.004
    assert areas.std() == pytest.approx((chance.bound(1) - 0.5) / 3.09, rel=0.1)


@pytest.mark.parametrize("kind", ["mse", "rmse", "mae"])
def test_the_error_at_chance_is_the_least_of_any_constant(kind: str) -> None:
    targets = np.random.default_rng(0).lognormal(size=2000)
    constants = np.linspace(0, 5, 2001)
    errors = targets[None, :] - constants[:, None]
    means = {"mae": np.abs(errors).mean(1), "mse": (errors**2).mean(1)}
    means["rmse"] = np.sqrt(means["mse"])

    assert error_at_chance(kind, targets) == pytest.approx(float(means[kind].min()), rel=1e-4)  # type: ignore[arg-type] # a word of the list above


@pytest.mark.parametrize("samples", [10, 20, 50])
@pytest.mark.parametrize("level", [0.1, 0.5])
def test_few_samples_exceed_the_bound_no_more_often(samples: int, level: float) -> None:
    rng = np.random.default_rng(0)
    best = (rng.binomial(samples, level, (20_000, 20)) / samples).max(axis=1)

    assert np.mean(best > Chance(level, samples, math.nan).bound(20) + 1e-12) <= 0.002
