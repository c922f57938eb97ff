"""Curves of kinds that people meet get a verdict that is right, and sentences that are true."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from analysis.stats.chance import Chance
from analysis.verdicts.evidence import render_evidence
from analysis.verdicts.facts import Curve, Label, Verdict
from analysis.verdicts.rules import verdict_of
from tests.support.curve_kinds import KINDS, make_curve

REPETITIONS = 20
DIRECTIONS = re.compile("learning rate too (large|small)|one answer")


def judged(kind: str, seed: int) -> list[tuple[Curve, Verdict, tuple[str, ...]]]:
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    found = []
    for _ in range(REPETITIONS):
        curve, chance, right = make_curve(kind, rng)
        found.append((curve, verdict_of(curve, chance), right))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_gets_its_verdict_in_17_of_20(kind: str) -> None:
    wrong = [verdict for _, verdict, right in judged(kind, 0) if verdict.label.value not in right]

    assert len(wrong) <= 3, [render_evidence(verdict, "val/acc") for verdict in wrong]


def test_97_of_100_curves_get_their_verdict() -> None:
    right = [
        verdict.label.value in labels for kind in KINDS for _, verdict, labels in judged(kind, 1)
    ]

    assert np.mean(right) >= 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_no_sentence_names_a_cause_without_evidence_or_a_number_that_was_not_logged(
    kind: str,
) -> None:
    for curve, verdict, _ in judged(kind, 2):
        said = render_evidence(verdict, "val/acc")
        assert not DIRECTIONS.search(said)
        top = float(np.nanmax(curve.score))
        for name in ("end", "best", "before", "first", "then", "began"):
            if name in verdict.numbers:
                assert np.nanmin(curve.score) <= verdict.numbers[name] <= top, said
        for name in ("gain", "lost", "moved"):
            if name in verdict.numbers:
                assert verdict.numbers[name] <= np.ptp(curve.score) + 1e-9, said


@pytest.mark.parametrize("kind", ["grokking", "fallen", "regression_overfit"])
def test_late_and_early_changes_are_quoted(kind: str) -> None:
    said = [render_evidence(verdict, "val/acc") for _, verdict, _ in judged(kind, 3)]

    words = {"grokking": "jumped|rose", "fallen": "fell by epoch", "regression_overfit": "lost"}
    assert all(re.search(words[kind], sentence) for sentence in said), said


def test_certainty_falls_towards_a_border_and_both_verdicts_are_said() -> None:
    chance = Chance(0.1, 1000, math.log(10))
    rise = 0.1 + 0.8 * (1 - np.exp(-np.arange(60) / 4))
    losses = 2.4 - 2 * rise
    certain, doubtful = (
        verdict_of(_noisy(rise, losses, extra), replace(chance)) for extra in (0.001, 0.05)
    )

    assert certain.certainty > 0.99
    assert doubtful.certainty < 0.95
    assert doubtful.instead in (Label.UNSTABLE, Label.CONVERGED)
    assert "% certain, else" in render_evidence(doubtful, "val/acc")


def _noisy(score: np.ndarray, losses: np.ndarray, extra: float) -> Curve:
    shaken = score + np.random.default_rng(0).normal(0, extra, score.size)
    return Curve(np.arange(score.size, dtype=float), shaken, losses, losses)


def test_certainty_means_what_it_says() -> None:
    """Verdicts on noisy curves of which 80 to 95 % are certain are right in about that share."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(1500):
        sd = rng.uniform(0.01, 0.08)
        score = 0.1 + 0.8 * (1 - np.exp(-np.arange(60) / 4)) + rng.normal(0, sd, 60)
        losses = np.full(60, np.nan)
        verdict = verdict_of(
            Curve(np.arange(60.0), score, losses, losses), Chance(0.1, 100_000, math.log(10))
        )
        if 0.8 < verdict.certainty < 0.95:
            unstable = sd > 0.05 * 0.8
            hits.append((verdict.label is Label.UNSTABLE) == unstable)

    assert len(hits) > 60
    assert 0.75 <= np.mean(hits) <= 1


def test_an_epoch_logged_twice_by_a_resumed_run_counts_once() -> None:
    epochs = np.concatenate([np.arange(12), np.arange(8, 30)]).astype(float)
    score = 0.1 + 0.8 * (1 - np.exp(-epochs / 4))
    losses = 2.3 - 2 * score

    verdict = verdict_of(Curve(epochs, score, losses, losses), Chance(0.1, 1000, math.log(10)))

    assert verdict.label is Label.CONVERGED


def test_a_score_that_rises_below_chance_is_not_stuck_and_learned_no_negative_amount() -> None:
    """As a loss with weights for rare classes makes it: 0.55 where one answer has 0.9."""
    score = 0.55 * (1 - np.exp(-np.arange(40) / 4)) + np.random.default_rng(1).normal(0, 0.005, 40)
    losses = 0.7 - score

    verdict = verdict_of(
        Curve(np.arange(40.0), score, losses, losses), Chance(0.9, 2000, math.log(2))
    )

    assert (verdict.label, verdict.cause) == (Label.CONVERGED, "below chance")
    assert verdict.learned > 0
    assert "still below chance level (90.0 %)" in render_evidence(verdict, "val/acc")
