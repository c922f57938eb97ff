"""Chance level: the score of a model that has learned nothing, and what it reaches by luck.

A model that has learned nothing gives answers that do not depend on the inputs. It may know how
frequent the classes are, so it answers the best constant, or at random in the best proportion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import bdtrc, chdtri, ndtri, stdtrit

from analysis.stats.intervals import Array

# the probability that a run at chance level exceeds the chance bound in any of its epochs
ALPHA = 0.001
FEW = 10.0  # variance of a count below which its upper tail is not that of a normal distribution
GUESSES = np.linspace(0.02, 1, 50)  # how often a random answer names the class that F1 is about

# accuracy and its like; R²; Spearman's and its like; F1 of one class; macro F1; mean recall; AUROC
ScoreKind = Literal["share", "r2", "correlation", "f1", "macro_f1", "balanced", "auroc"]
ErrorKind = Literal["mse", "rmse", "mae"]


def class_score_at_chance(kind: ScoreKind, shares: Sequence[float]) -> float:
    """Return the expected score of the best answer that knows only how frequent the classes are.

    >>> class_score_at_chance("share", (0.9, 0.1)), class_score_at_chance("balanced", (0.9, 0.1))
    (0.9, 0.5)
    >>> round(class_score_at_chance("f1", (0.9, 0.1)), 4)
    0.1818

    Args:
        kind: of the score.
        shares: of the classes among the samples, at least two; F1 is that of the last one.
    """
    p = np.asarray(shares, dtype=float)
    if kind == "share":
        return float(p.max())
    if kind == "balanced":
        return 1 / p.size
    if kind == "auroc":
        return 0.5
    if kind == "f1":  # always this class; a random answer is right about fewer
        return float(2 * p[-1] / (1 + p[-1]))
    if kind == "macro_f1":
        evenly = 1 / p.size
        guessing = float((2 * p * evenly / (p + evenly)).mean())
        in_proportion = 1 / p.size
        majority = float(2 * p.max() / (1 + p.max()) / p.size)
        return max(guessing, in_proportion, majority)
    return 0.0


def class_shares(majority: float, classes: int) -> tuple[float, ...]:
    """Return the shares of classes of which one is this frequent and the others are alike."""
    if not 1 / classes <= majority < 1:
        return (1 / classes,) * classes
    return (majority, *[(1 - majority) / (classes - 1)] * (classes - 1))


def error_at_chance(kind: ErrorKind, targets: Array) -> float:
    """Return the error of the best constant answer: the mean, or the median for absolute errors.

    >>> error_at_chance("mae", np.array([0.0, 0.0, 3.0]))
    1.0
    """
    if kind == "mae":
        return float(np.abs(targets - np.median(targets)).mean())
    variance = float(np.var(targets))
    return variance if kind == "mse" else math.sqrt(variance)


@dataclass(frozen=True, slots=True)
class Chance:
    """The scores of a model on the validation set that has learned nothing."""

    level: float  # of the better of random and majority class; 0 for R²; NaN where unknown
    samples: int  # of the validation set
    loss: float  # ln C, or the variance of the targets; NaN where unknown
    kind: ScoreKind = "share"
    shares: tuple[float, ...] = ()  # of the classes; empty: as equal as the level allows

    @property
    def class_shares(self) -> Array:
        """Return the shares of the classes, as equal as the level and the loss allow."""
        if self.shares:
            return np.asarray(self.shares, dtype=float)
        classes = 2
        if math.isfinite(self.loss) and self.loss > 0:
            classes = max(2, round(math.exp(min(self.loss, 10.0))))
        level = self.level if self.kind == "share" else 1 / classes
        return np.asarray(class_shares(level, classes), dtype=float)

    @property
    def informed_loss(self) -> float:
        """Return the loss of an answer that knows how frequent the classes are, and no more."""
        if self.kind in ("r2", "correlation") or not math.isfinite(self.loss):
            return self.loss
        p = self.class_shares
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    def bound(self, evaluations: int) -> float:
        """Return the score that the best of so many evaluations exceeds in one of 1,000 runs only.

        1 where every score may be chance.
        """
        tail = ALPHA / max(evaluations, 1)
        if self.kind == "correlation":
            return _correlation_bound(self.samples, tail)
        if self.kind == "r2":  # r² of unrelated predictions
            return self.level + float(chdtri(1, 2 * tail)) / max(self.samples - 1, 1)
        if self.kind == "f1":
            return _f1_bound(float(self.class_shares[-1]), self.samples, tail)
        normal = self.level - float(ndtri(tail)) * self._error_at_chance()
        if self.kind == "share" and self.samples * self.level * (1 - self.level) < FEW:
            return max(normal, _count_bound(self.samples, self.level, tail) / self.samples)
        return normal

    def error(self, score: float) -> float:
        """Return the standard error of a score that comes from the finite validation set."""
        if self.kind == "correlation":  # Bonett and Wright 2000
            return (1 - score**2) * math.sqrt((1 + score**2 / 2) / max(self.samples - 3, 1))
        if self.kind == "r2":
            return math.sqrt(4 * max(score, 0.0) * (1 - score) ** 2 / self.samples)
        spread = math.sqrt(max(score * (1 - score), 0.0) / self.samples)
        if self.kind == "share":
            return spread
        shares = self.class_shares
        rarest = float(shares[-1] if self.kind == "f1" else shares[shares > 0].min())
        if self.kind == "f1":
            return spread / math.sqrt(rarest)
        if self.kind == "auroc":
            return spread / math.sqrt(12 * rarest * (1 - rarest))
        return spread * math.sqrt(float((1 / shares[shares > 0]).mean()) / shares.size)

    def _error_at_chance(self) -> float:
        """Return the largest standard error that an answer without knowledge has."""
        p = self.class_shares
        p = p[p > 0]
        if self.kind == "balanced":
            guess = 1 / p.size
            return math.sqrt(guess * (1 - guess) * float((1 / p).sum()) / self.samples) / p.size
        if self.kind == "macro_f1":
            return math.sqrt(float((1 - p).sum()) / self.samples) / p.size
        if self.kind == "auroc":
            positive = max(self.samples * float(p[-1]), 1.0)
            negative = max(self.samples - positive, 1.0)
            return math.sqrt((positive + negative + 1) / (12 * positive * negative))
        return self.error(self.level)


def _count_bound(samples: int, share: float, tail: float) -> int:
    """Return the smallest count that a binomial one exceeds with this probability at most."""
    counts = np.arange(samples + 1)
    return int((bdtrc(counts, samples, share) <= tail).argmax())


def _f1_bound(share: float, samples: int, tail: float) -> float:
    """Bound the F1 of a class of this share, answered at random in any proportion."""
    positive = max(round(samples * share), 1)
    best = 2 * positive / (positive + samples)
    for guess in GUESSES[:-1]:
        if positive * guess * (1 - guess) < FEW:
            hits = float(_count_bound(positive, float(guess), tail))
        else:
            spread = math.sqrt(positive * guess * (1 - guess))
            hits = positive * float(guess) - float(ndtri(tail)) * spread
        best = max(best, 2 * hits / (positive + samples * float(guess)))
    return best


def _correlation_bound(samples: int, tail: float) -> float:
    """Bound a rank correlation of unrelated orders by Student's t.

    1 where the samples are so few that a perfect order is not rare enough.
    """
    if samples < 4 or (samples < 20 and 1 / math.factorial(samples) > tail):
        return 1.0
    t = float(stdtrit(samples - 2, 1 - tail))
    return t / math.sqrt(samples - 2 + t**2)
