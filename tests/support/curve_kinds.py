"""Learning curves of many kinds that people meet, each with the verdicts that are right for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.stats.chance import Chance, ScoreKind
from analysis.stats.intervals import Array
from analysis.verdicts.facts import Curve

LOSS = math.log(10)


@dataclass
class Made:
    """The mean course of a curve, before noise."""

    share: Array
    train: Array
    val: Array
    right: tuple[str, ...]
    level: float = 0.1
    kind: ScoreKind = "share"
    noise: float = 0.0  # beyond that of the samples, standard deviation
    loss: float = LOSS
    first_epoch: int = 0
    samples: int | None = None


def rise(n: int, pace: float, top: float, start: float = 0.1) -> Array:
    return start + (top - start) * (1 - np.exp(-np.arange(n) / pace))


def losses(share: Array, top: float = 1.0) -> tuple[Array, Array]:
    done = (share - 0.1) / (top - 0.1)
    return LOSS * (1 - 0.95 * done), LOSS * (1 - 0.9 * done)


def good(share: Array, *right: str, **options: object) -> Made:
    train, val = losses(share)
    return Made(share, train, val, right, **options)  # type: ignore[arg-type] # fields of any type


def plateau(rng: np.random.Generator) -> Made:
    return good(
        rise(int(rng.choice([30, 60, 120])), rng.uniform(2, 4), rng.uniform(0.6, 0.95)), "converged"
    )


def rising(rng: np.random.Generator) -> Made:
    n = int(rng.choice([30, 60, 120]))
    return good(rise(n, n * rng.uniform(0.5, 1), 0.95), "improving")


def warm_restarts(rng: np.random.Generator) -> Made:
    period, n = int(rng.choice([10, 15])), 60
    phase = np.arange(n) % period / period
    share = rise(n, 5, 0.9) - 0.25 * (0.5 + 0.5 * np.cos(np.pi * phase)) * (np.arange(n) >= period)
    return good(np.clip(share, 0.1, 1), "converged", "improving")


def restarts_doubling(rng: np.random.Generator) -> Made:
    share = rise(70, 5, 0.9)
    for start, length in ((10, 20), (30, 40)):
        phase = np.arange(length) / length
        share[start : start + length] -= 0.3 * np.exp(-6 * phase)
    return good(share, "converged", "improving")


def late_spike(rng: np.random.Generator) -> Made:
    share = rise(60, 4, 0.92)
    share[int(rng.integers(42, 55))] = 0.2
    return good(share, "converged")


def spike_of_three(rng: np.random.Generator) -> Made:
    share, at = rise(60, 4, 0.92), int(rng.integers(15, 35))
    share[at : at + 3] = (0.15, 0.4, 0.7)
    return good(share, "converged")


def collapsed_and_recovered(rng: np.random.Generator) -> Made:
    share = rise(80, 4, 0.9)
    share[25:35] = 0.1
    return good(share, "converged")


def resumed(rng: np.random.Generator) -> Made:
    return good(rise(40, 8, 0.9)[20:], "converged", "improving", first_epoch=20)


def early_stopped(rng: np.random.Generator) -> Made:
    n = int(rng.integers(14, 22))
    share = rise(n, 2.5, 0.85)
    train, val = losses(share)
    val[n - 5 :] += np.linspace(0, 0.03, 5)
    return Made(share, train, val, ("converged", "overfit", "improving"))


def slow_but_real(rng: np.random.Generator) -> Made:
    n = 40
    share = np.linspace(0.104, 0.257, n)
    falling = np.linspace(2.3, 2.3 * rng.uniform(0.9, 0.97), n)
    return Made(share, falling, falling, ("improving",))


def grokking(rng: np.random.Generator) -> Made:
    n, jump = 200, int(rng.integers(4, 12))
    share = np.full(n, 0.1)
    share[-jump:] = np.linspace(0.2, 0.95, jump) if rng.random() < 0.5 else 0.95
    val = np.linspace(2.3, 12, n)
    val[-jump:] = 0.4
    return Made(share, LOSS * np.exp(-np.arange(n) / 10) + 0.001, val, ("improving",))


def grokked_long_ago(rng: np.random.Generator) -> Made:
    n, jump = 200, int(rng.integers(80, 120))
    share = np.where(np.arange(n) < jump, 0.1, 0.95)
    val = np.where(np.arange(n) < jump, np.linspace(2.3, 8, n), 0.3)
    return Made(share, LOSS * np.exp(-np.arange(n) / 10) + 0.001, val, ("converged",))


def overfit_losing(rng: np.random.Generator) -> Made:
    n = 60
    share = rise(n, 4, 0.8) - np.linspace(0, 0.12, n)
    time = np.maximum(np.arange(n) - 12, 0)
    train = LOSS * np.exp(-np.arange(n) / 8)
    return Made(share, train, 0.8 + 1.5 * np.exp(-np.arange(n) / 3) + 0.04 * time, ("overfit",))


def overconfident(rng: np.random.Generator) -> Made:
    n = 60
    time = np.maximum(np.arange(n) - 10, 0)
    train = LOSS * np.exp(-np.arange(n) / 8)
    val = 0.5 + 1.8 * np.exp(-np.arange(n) / 3) + 0.02 * time
    return Made(rise(n, 4, 0.9), train, val, ("overfit",))


def fallen(rng: np.random.Generator) -> Made:
    share, at = rise(60, 3, 0.9), int(rng.integers(12, 35))
    share[at:] = rng.uniform(0.25, 0.45)
    return good(share, "collapsed", "unstable")


def fading(rng: np.random.Generator) -> Made:
    n = 60
    share = rise(n, 3, 0.9)
    share[20:] -= np.linspace(0, 0.45, n - 20)
    return good(share, "collapsed", "unstable", "overfit")


def noisy(rng: np.random.Generator) -> Made:
    return good(rise(60, 4, 0.8), "unstable", noise=0.08)


def at_chance(rng: np.random.Generator) -> Made:
    n = int(rng.choice([20, 40, 200, 1000]))
    flat = np.full(n, LOSS + 0.02)
    return Made(np.full(n, 0.1), flat, flat, ("stuck",))


def memorised(rng: np.random.Generator) -> Made:
    n = 100
    train = LOSS * np.exp(-np.arange(n) / 10)
    return Made(np.full(n, 0.1), train, np.linspace(2.3, 9, n), ("stuck",))


def majority(rng: np.random.Generator) -> Made:
    level = float(rng.choice([0.7, 0.9]))
    entropy = -level * math.log(level) - (1 - level) * math.log(1 - level)
    loss = np.full(30, entropy)
    loss[0] = math.log(2)
    made = Made(np.full(30, level), loss, loss, ("stuck",), level, loss=math.log(2))
    made.samples = 5000
    return made


def pretrained(rng: np.random.Generator) -> Made:
    n = 20
    low = np.full(n, 0.3) - np.linspace(0, 0.005, n)
    return Made(np.full(n, rng.uniform(0.85, 0.99)), low, low + 0.05, ("converged",))


def few_samples(rng: np.random.Generator) -> Made:
    made = good(rise(30, 4, 0.9), "converged", "too short", "improving")
    made.samples = 20
    return made


def few_samples_at_chance(rng: np.random.Generator) -> Made:
    flat = np.full(30, LOSS)
    made = Made(np.full(30, 0.1), flat, flat, ("stuck", "too short"))
    made.samples = 20
    return made


def diverged_late(rng: np.random.Generator) -> Made:
    made = good(rise(40, 4, 0.9), "diverged")
    made.train[int(rng.integers(25, 39)) :] = np.nan
    return made


def one_bad_epoch(rng: np.random.Generator) -> Made:
    made = good(rise(40, 4, 0.9), "converged")
    made.train[int(rng.integers(5, 30))] = np.inf
    return made


def long_run(rng: np.random.Generator) -> Made:
    return good(rise(1000, 60, 0.9), "converged", noise=0.01)


def long_rising(rng: np.random.Generator) -> Made:
    return good(np.linspace(0.1, 0.9, 1000), "improving", noise=0.01)


def two_steps(rng: np.random.Generator) -> Made:
    share = rise(90, 3, 0.6)
    share[30:] += 0.2
    share[60:] += 0.05
    return good(share, "converged", "improving")


def regression_overfit(rng: np.random.Generator) -> Made:
    n = 60
    r2 = 0.7 * (1 - np.exp(-np.arange(n) / 4))
    r2[12:] -= np.linspace(0, rng.uniform(0.3, 0.9), n - 12)
    train = 4 * np.exp(-np.arange(n) / 8)
    return Made(r2, train, 4 * (1 - r2), ("overfit",), 0.0, "r2", 0.01, 4.0)


def regression_good(rng: np.random.Generator) -> Made:
    r2 = rng.uniform(0.4, 0.9) * (1 - np.exp(-np.arange(50) / 4))
    return Made(r2, 4 * (1 - r2), 4 * (1 - r2), ("converged",), 0.0, "r2", 0.005, 4.0)


def regression_nothing(rng: np.random.Generator) -> Made:
    r2 = np.full(40, -0.02)
    return Made(r2, 4 * (1 - r2), 4 * (1 - r2), ("stuck",), 0.0, "r2", 0.005, 4.0)


def correlation_good(rng: np.random.Generator) -> Made:
    rank = 0.6 * (1 - np.exp(-np.arange(50) / 4))
    return Made(
        rank, 1 - rank / 2, 1 - rank / 2, ("converged",), 0.0, "correlation", 0.02, math.nan
    )


def ranking_good(rng: np.random.Generator) -> Made:
    area = 0.5 + 0.35 * (1 - np.exp(-np.arange(40) / 4))
    return Made(area, 1.2 - area, 1.25 - area, ("converged",), 0.5, "auroc", 0.005, math.log(2))


def ranking_at_chance(rng: np.random.Generator) -> Made:
    flat = np.full(40, math.log(2))
    return Made(np.full(40, 0.5), flat, flat, ("stuck",), 0.5, "auroc", 0.01, math.log(2))


def rare_class(rng: np.random.Generator) -> Made:
    f1 = 0.55 * (1 - np.exp(-np.arange(30) / 4))
    loss = 0.69 - f1
    return Made(f1, loss, loss, ("converged",), 0.1818, "share", 0.01, math.log(2))


KINDS: Mapping[str, Callable[[np.random.Generator], Made]] = {
    maker.__name__: maker
    for maker in (
        *(plateau, rising, warm_restarts, restarts_doubling, late_spike, spike_of_three),
        *(collapsed_and_recovered, resumed, early_stopped, slow_but_real, grokking),
        *(grokked_long_ago, overfit_losing, overconfident, fallen, fading, noisy, at_chance),
        *(memorised, majority, pretrained, few_samples, few_samples_at_chance, diverged_late),
        *(one_bad_epoch, long_run, long_rising, two_steps, regression_overfit, regression_good),
        *(regression_nothing, correlation_good, ranking_good, ranking_at_chance, rare_class),
    )
}


def make_curve(kind: str, rng: np.random.Generator) -> tuple[Curve, Chance, tuple[str, ...]]:
    """One curve of a kind, its chance, and the verdicts that are right; the first is best."""
    made = KINDS[kind](rng)
    samples = made.samples or int(rng.choice([200, 1000, 10_000]))
    n = made.share.size
    share = made.share + made.noise * rng.normal(size=n)
    if made.kind == "share" and kind != "rare_class":
        share = rng.binomial(samples, np.clip(share, 0, 1)) / samples
    shaken = [loss * (1 + 0.005 * rng.normal(size=n)) for loss in (made.train, made.val)]
    if kind == "majority":
        share = np.full(n, made.level)
    epochs = np.arange(made.first_epoch, made.first_epoch + n, dtype=float)
    chance = Chance(made.level, samples, made.loss, made.kind)
    return Curve(epochs, share, *shaken), chance, made.right
