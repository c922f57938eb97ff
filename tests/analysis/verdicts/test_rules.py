from __future__ import annotations

import json
import math
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.stats.chance import Chance
from analysis.stats.intervals import Array
from analysis.verdicts.evidence import SENTENCES, render_evidence
from analysis.verdicts.facts import Curve, Label, Verdict
from analysis.verdicts.grid import mark_weak
from analysis.verdicts.rules import verdict_of
from tests.support.curves import KINDS, grow

TEN = Chance(0.1, 10_000, math.log(10))
RECORDED = Path(__file__).parent / "recorded" / "digits_mlp.jsonl"  # by benchmarks.digits_curves


def curve(
    score: Array | list[float], train: Any = None, val: Any = None, first_epoch: int = 0
) -> Curve:
    scores = np.asarray(score, dtype=float)
    losses = [
        np.full(scores.size, np.nan) if loss is None else np.asarray(loss, dtype=float)
        for loss in (train, val)
    ]
    return Curve(np.arange(first_epoch, first_epoch + scores.size, dtype=float), scores, *losses)


def learning(n: int = 21, top: float = 0.95) -> tuple[Array, Array, Array]:
    done = 1 - np.exp(-np.arange(n) / 2)
    loss = 2.3 * (1 - done) + 0.05
    return 0.1 + (top - 0.1) * done, loss, loss + 0.05


@pytest.mark.parametrize(
    ("level", "samples", "epochs", "bound"),
    [
        (0.1, 1000, 10, 0.1353),
        (0.1, 1000, 100, 0.1405),
        (0.1, 10_000, 10, 0.1112),
        (0.1, 10_000, 100, 0.1128),
        (0.5, 1000, 10, 0.5588),
        (0.5, 1000, 100, 0.5674),
        (0.5, 10_000, 10, 0.5186),
        (0.5, 10_000, 100, 0.5213),
    ],
)
def test_chance_bounds(level: float, samples: int, epochs: int, bound: float) -> None:
    assert Chance(level, samples, math.nan).bound(epochs) == pytest.approx(bound, abs=5e-5)


def test_a_chance_run_is_called_learned_in_less_than_one_percent() -> None:
    rng, runs = np.random.default_rng(0), 4000
    best = (rng.binomial(1000, 0.1, (runs, 100)) / 1000).max(axis=1)

    assert (best > Chance(0.1, 1000, math.nan).bound(100)).mean() <= 0.01
    assert (best > 0.1 + 1.645 * math.sqrt(0.09 / 1000)).mean() > 0.98


def test_r2_of_permuted_targets_is_called_learned_in_less_than_one_percent() -> None:
    rng, n, epochs = np.random.default_rng(0), 200, 20
    targets = rng.normal(size=n)
    best = []
    for _ in range(1000):
        predictions = rng.normal(size=(epochs, n)) * rng.uniform(0, 0.3, (epochs, 1))
        best.append(
            1
            - ((targets - predictions) ** 2).sum(axis=1).min()
            / ((targets - targets.mean()) ** 2).sum()
        )

    assert np.mean(np.array(best) > Chance(0.0, n, 1.0, kind="r2").bound(epochs)) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("n", "epochs"), [(8, 20), (30, 20), (200, 50)])
def test_a_correlation_of_unrelated_orders_is_called_learned_in_less_than_one_percent(
    n: int, epochs: int
) -> None:
    rng = np.random.default_rng(0)
    ranks = np.argsort(rng.random((2000, epochs, n)), axis=2) - (n - 1) / 2
    best = (ranks @ (np.arange(n) - (n - 1) / 2)).max(axis=1) * 12 / (n**3 - n)

    assert np.mean(best > Chance(0.0, n, math.nan, kind="correlation").bound(epochs)) <= 0.01


@pytest.mark.slow
def test_the_error_of_a_correlation_is_what_samples_of_that_size_scatter_by() -> None:
    rng, n, rho = np.random.default_rng(0), 60, 0.6
    x, noise = rng.normal(size=(2, 3000, n))
    y = rho * x + math.sqrt(1 - rho**2) * noise
    found = [float(spearmanr(a, b).statistic) for a, b in zip(x, y, strict=True)]

    assert Chance(0.0, n, math.nan, kind="correlation").error(
        float(np.mean(found))
    ) == pytest.approx(float(np.std(found)), rel=0.1)


@pytest.mark.parametrize("samples", [3, 5])
def test_so_few_samples_that_a_perfect_score_may_be_chance_are_no_ground_for_a_verdict(
    samples: int,
) -> None:
    score = curve([1.0] * 21, np.linspace(1, 0.01, 21))

    verdict = verdict_of(score, Chance(0.0, samples, math.nan, kind="correlation"))

    assert (verdict.label, verdict.cause) == (Label.TOO_SHORT, "too few")
    assert f"on {samples} samples" in render_evidence(verdict, "val/spearman")


def test_a_loss_that_falls_without_any_order_learned_is_not_called_memorised() -> None:
    falling = np.concatenate([np.geomspace(100, 1, 8), np.ones(13)])

    verdict = verdict_of(
        curve([0.01] * 21, falling), Chance(0.0, 200, math.nan, kind="correlation")
    )

    assert (verdict.label, verdict.cause) == (Label.STUCK, "unrelated")
    assert "though train loss fell by 99.0 %" in render_evidence(verdict, "val/spearman")


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "accuracy"), [(10, 0.85), (20, 0.90), (50, 0.95), (100, 0.95)])
def test_synthetic_curves_get_their_verdicts(epochs: int, accuracy: float) -> None:
    rng, repetitions = np.random.default_rng(epochs), 150
    hits: Counter[Label] = Counter()
    for kind in KINDS:
        for _ in range(repetitions):
            grown, chance = grow(kind, epochs, 10_000, rng)
            hits[kind] += verdict_of(grown, chance).label is kind

    assert sum(hits.values()) / (len(KINDS) * repetitions) >= accuracy
    if epochs >= 50:
        assert [hits[kind] for kind in (Label.DIVERGED, Label.STUCK, Label.COLLAPSED)] == [
            repetitions
        ] * 3


def digits() -> dict[tuple[str, float], list[Verdict]]:
    chance = Chance(61 / 597, 597, math.log(10))  # the majority class of the validation sets
    found: dict[tuple[str, float], list[Verdict]] = {}
    for line in RECORDED.read_text().splitlines():
        form = json.loads(line)
        arrays = [
            np.array(form[name], dtype=float) for name in ("val/acc", "train/loss", "val/loss")
        ]
        verdict = verdict_of(Curve(np.arange(1, 41.0), *arrays), chance)
        found.setdefault((form["solver"], form["lr"]), []).append(verdict)
    return found


STUCK = {"sgd": (1e-6, 1e-5, 10, 100), "adam": (1e-7, 1e-6, 1e-5, 1, 10)}
LEARNED = {"sgd": (1e-4, 1e-3, 1e-2, 1e-1), "adam": (1e-4, 1e-3, 1e-2, 1e-1)}


def test_real_curves_on_digits_get_the_verdicts_of_an_expert() -> None:
    found = digits()

    for solver, rates in STUCK.items():
        assert {verdict.label for rate in rates for verdict in found[solver, rate]} == {Label.STUCK}
    for solver, rates in LEARNED.items():
        labels = [
            (verdict.label, verdict.cause) for rate in rates for verdict in found[solver, rate]
        ]
        benign = {
            (Label.IMPROVING, "rising"),
            (Label.CONVERGED, "settled"),
            (Label.OVERFIT, "overconfident"),
        }
        assert set(labels) <= benign
    for solver, rate in (("sgd", 1e-4), ("sgd", 1e-3), ("adam", 1e-4), ("adam", 1e-3)):
        assert {verdict.label for verdict in found[solver, rate]} == {Label.IMPROVING}


def test_weak_plateaus_on_digits_are_marked() -> None:
    runs = {
        f"{solver} {rate} {i}": v
        for (solver, rate), many in digits().items()
        for i, v in enumerate(many)
    }

    found = mark_weak(runs)

    assert Counter(found[f"sgd 1.0 {i}"].cause for i in range(3))["weak"] == 2
    assert {
        name.rsplit(" ", 1)[0] for name, verdict in found.items() if verdict.cause == "weak"
    } == {"sgd 1.0"}


def test_rates_too_small_and_too_large_are_told_apart() -> None:
    found = digits()

    assert {verdict.cause for verdict in found["sgd", 1e-6]} == {"frozen"}
    assert {verdict.cause for verdict in found["sgd", 10.0] + found["adam", 1.0]} == {"blown"}


def test_one_answer_to_everything_is_said_only_of_predictions_that_were_counted() -> None:
    shares = [0.0577, *[0.1143, 0.1143, 0.0965, 0.0965, 0.1143] * 2]  # MNIST, adam at 0.1
    flat = [2.309, 2.53, *[2.31] * 9]
    unseen = curve(shares, flat)
    seen = replace(unseen, entropy=np.array([1.9, *[0.0] * 10]))
    varied = replace(unseen, entropy=np.array([1.9, *[1.5] * 10]))
    chance = Chance(0.1, 6000, math.log(10))

    found = [verdict_of(one, chance) for one in (unseen, seen, varied)]

    assert [verdict.cause for verdict in found] == ["no gain", "constant", "no gain"]
    assert all(verdict.label is Label.STUCK for verdict in found)
    said = [render_evidence(verdict, "val/acc") for verdict in found]
    assert "one class was predicted for everything" in said[1]
    assert not any("learning rate" in sentence for sentence in said)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_fewer_than_eight_epochs_are_too_short_to_judge(n: int) -> None:
    score, train, val = learning(n)

    assert (
        verdict_of(curve(score, train, val), TEN).label is Label.TOO_SHORT
    )  # epoch 0 is none of them


def test_eight_epochs_are_judged() -> None:
    assert verdict_of(curve(*learning(9)), TEN).label is not Label.TOO_SHORT


def test_a_run_that_had_no_time_to_learn_is_not_called_divergent() -> None:
    falling = np.linspace(2.35, 1.9, 21)
    verdict = verdict_of(curve([0.1] * 21, falling, falling), TEN)

    assert (verdict.label, verdict.cause) == (Label.IMPROVING, "begun")
    assert not verdict.label.is_divergent


def test_a_run_that_rose_and_ended_at_chance_is_not_called_converged() -> None:
    score, train, val = learning()
    score[12:], train[12:], val[12:] = 0.1, 2.3, 2.3

    verdict = verdict_of(curve(score, train, val), TEN)

    assert (verdict.label, verdict.onset) == (Label.COLLAPSED, 12)


def test_a_single_epoch_above_chance_is_not_yet_learning() -> None:
    score = np.full(21, 0.1)
    score[10] = 0.13

    verdict = verdict_of(curve(score, np.full(21, 2.3)), TEN)

    assert verdict.label is Label.STUCK
    assert "hardly left the 99.9 % chance band" in render_evidence(verdict, "val/acc")


def test_a_lucky_initialisation_that_never_moved_is_stuck() -> None:
    verdict = verdict_of(curve([0.18] * 21, np.linspace(2.3, 2.29, 21)), TEN)

    assert (verdict.label, verdict.cause) == (Label.STUCK, "never moved")


def test_learning_the_training_set_only_is_named() -> None:
    verdict = verdict_of(curve([0.1] * 21, np.linspace(2.3, 0.2, 21)), TEN)

    assert (verdict.label, verdict.cause) == (Label.STUCK, "memorised")


def test_nan_in_the_training_loss_is_divergence_from_that_epoch_on() -> None:
    score, train, val = learning()
    train[7:] = np.nan

    verdict = verdict_of(curve(score, train, val), TEN)

    assert (verdict.label, verdict.onset) == (Label.DIVERGED, 7)


def test_a_run_that_stopped_for_its_loss_diverged_after_its_last_epoch() -> None:
    score, train, val = learning(4)

    verdict = verdict_of(curve(score, train, val), TEN, has_diverged=True)

    assert (verdict.label, verdict.onset) == (Label.DIVERGED, 4)


def test_a_validation_loss_that_ends_in_nan_is_divergence_and_gaps_are_not() -> None:
    score, train, val = learning()
    gaps, ends = val.copy(), val.copy()
    gaps[1::2], ends[15:] = np.nan, np.nan
    sparse = score.copy()
    sparse[1::2] = np.nan

    assert verdict_of(curve(score, train, ends), TEN).onset == 15
    assert verdict_of(curve(sparse, train, gaps), TEN).label is Label.CONVERGED


def test_a_missing_loss_before_the_first_update_is_no_divergence() -> None:
    score, train, val = learning()
    train[0] = np.nan

    assert verdict_of(curve(score, train, val), TEN).label is Label.CONVERGED


def test_overfitting_is_overconfidence_while_the_accuracy_holds() -> None:
    score, train, val = learning()
    val[8:] += np.linspace(0, 1, 13)
    losing = score.copy()
    losing[8:] -= np.linspace(0, 0.1, 13)

    holds, harmful = (verdict_of(curve(s, train, val), TEN) for s in (score, losing))

    assert (holds.label, holds.cause) == (Label.OVERFIT, "overconfident")
    assert render_evidence(holds, "val/acc").startswith("overconfident: validation loss rose by")
    assert (harmful.label, harmful.cause) == (Label.OVERFIT, "harmful")
    assert holds.onset in (7, 8)


def test_swings_within_binomial_noise_are_not_unstable() -> None:
    score, train, val = learning(41, top=0.3)
    score = score + np.random.default_rng(0).normal(0, 0.03, 41)

    assert (
        verdict_of(curve(score, train, val), replace(TEN, samples=150)).label is not Label.UNSTABLE
    )
    assert (
        verdict_of(curve(score, train, val), replace(TEN, samples=1_000_000)).label
        is Label.UNSTABLE
    )


@pytest.mark.parametrize("top", [0.9, 0.02])
def test_regression_is_judged_by_r2(top: float) -> None:
    score, train, val = learning(21, top)
    chance = Chance(0.0, 200, 1.0, kind="r2")
    shifted = curve(
        top * (score - 0.1) / (top - 0.1), train if top > 0.5 else np.full(21, 1.0), val
    )

    assert verdict_of(shifted, chance).label is (Label.CONVERGED if top > 0.5 else Label.STUCK)


def test_regression_far_beyond_the_variance_of_its_targets_diverged() -> None:
    verdict = verdict_of(
        curve([-5.0] * 21, np.linspace(1, 40, 21)), Chance(0.0, 200, 1.0, kind="r2")
    )

    assert (verdict.label, verdict.cause) == (Label.DIVERGED, "exploded")


def test_the_evidence_of_a_frozen_run_has_its_numbers() -> None:
    verdict = verdict_of(
        curve([0.113] * 11, np.linspace(2.3, 2.2954, 11)), replace(TEN, samples=1000)
    )

    assert render_evidence(verdict, "val/acc") == (
        "val/acc, 11.3 % at best, never left the 99.9 % chance band (up to 13.6 %); "
        "train loss fell by 0.2 % at most"
    )


def test_every_sentence_has_the_numbers_it_needs() -> None:
    rng = np.random.default_rng(0)
    seen: set[tuple[Label, str]] = set()
    for kind in KINDS:
        for epochs in (9, 30):
            for _ in range(20):
                grown, chance = grow(kind, epochs, 1000, rng)
                verdict = verdict_of(grown, chance)
                seen.add((verdict.label, verdict.cause))
                assert "{" not in render_evidence(verdict, "val/acc")
    assert seen <= set(SENTENCES)
    assert len(seen) >= 9


@pytest.mark.parametrize("score", [[0.5], [0.1] * 30, [math.nan] * 30, [0.0] * 30, [1.0] * 30])
@pytest.mark.parametrize("train", [None, 0.0, 1e300, math.inf])
def test_degenerate_curves_get_some_verdict(score: list[float], train: float | None) -> None:
    losses = None if train is None else [train] * len(score)

    verdict = verdict_of(curve(score, losses, losses), TEN)

    assert render_evidence(verdict, "val/acc")


def test_ten_thousand_runs_of_a_hundred_epochs_take_well_under_twenty_seconds() -> None:
    rng = np.random.default_rng(0)
    zoo = [grow(kind, 100, 10_000, rng) for kind in KINDS for _ in range(10)]

    started = time.process_time()
    for grown, chance in zoo:
        verdict_of(grown, chance)

    assert (time.process_time() - started) / len(zoo) * 10_000 < 15
