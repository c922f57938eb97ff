from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from analysis.stats.intervals import interval_from_moments, mean_interval, wilson

SIMULATIONS = 10_000


def coverage(n: int, method: Literal["t", "z"]) -> float:
    scores = np.random.default_rng(n).normal(size=(SIMULATIONS, n))
    intervals = [mean_interval(row, method=method) for row in scores]
    return sum(interval.low <= 0 <= interval.high for interval in intervals) / SIMULATIONS


@pytest.mark.slow
@pytest.mark.parametrize("n", range(5, 11))
def test_t_intervals_cover_the_mean_as_often_as_they_say(n: int) -> None:
    assert 0.94 <= coverage(n, "t") <= 0.96


@pytest.mark.slow
def test_z_intervals_do_not() -> None:
    assert coverage(5, "z") < 0.90


@pytest.mark.slow
def test_bootstrap_t_covers_skewed_scores_better_than_t(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.stats.intervals.RESAMPLES", 1000)
    rng, mean = np.random.default_rng(20), 18 / 18.9
    seeds = rng.beta(18, 0.9, size=(2000, 20))  # accuracies close to a ceiling

    covered = {
        method: sum(
            interval.low <= mean <= interval.high
            for interval in (mean_interval(row, method=method) for row in seeds)
        )
        / len(seeds)
        for method in ("t", "bootstrap-t")
    }

    assert covered["t"] < covered["bootstrap-t"]
    assert covered["bootstrap-t"] >= 0.935


def test_survivors_and_their_share_cover_where_an_interval_of_the_plain_mean_does_not() -> None:
    rng, n, truth, chance, failing = np.random.default_rng(7), 10, 0.98, 0.1, 0.1
    hits = np.zeros(3)
    rows = 2000
    for _ in range(rows):
        failed = rng.random(n) < failing
        scores = np.where(failed, chance, rng.normal(truth, 0.005, n))
        survivors = mean_interval(scores[~failed])
        trained = wilson(int((~failed).sum()), n)
        plain = interval_from_moments(float(scores.mean()), float(scores.std(ddof=1)), n)
        hits += [
            plain.low <= truth * (1 - failing) + chance * failing <= plain.high,
            survivors.low <= truth <= survivors.high,
            trained.low <= 1 - failing <= trained.high,
        ]

    of_plain_mean, of_survivors, of_trained = hits / rows
    assert of_plain_mean < 0.70
    assert 0.93 <= of_survivors <= 0.97
    assert of_trained >= 0.91


@pytest.mark.parametrize(("share", "samples"), [(0.98, 100), (0.999, 1000)])
def test_wilson_covers_near_the_ceiling_where_the_normal_approximation_does_not(
    share: float, samples: int
) -> None:
    hits = np.random.default_rng(1).binomial(samples, share, size=3000)
    intervals = {k: wilson(int(k), samples) for k in set(hits.tolist())}

    assert np.mean([intervals[k].low <= share <= intervals[k].high for k in hits.tolist()]) >= 0.91
