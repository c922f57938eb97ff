"""Chance level of a score on a validation set, with the bound that luck alone rarely passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import chdtri, ndtri, stdtrit

ALPHA = 0.001  # a run that knows nothing exceeds the chance bound in any of its epochs with this probability


ScoreKind = Literal["share", "r2", "correlation"]  # accuracy or F1; R²; Spearman's and its like


@dataclass(frozen=True, slots=True)
class Chance:
    """What a model that knows nothing reaches on the validation set."""

    level: float  # accuracy of the better of random and majority class; 0 for R² and correlations
    samples: int  # of the validation set
    loss: float  # ln C, or the variance of the targets; NaN where unknown
    kind: ScoreKind = "share"

    def bound(self, evaluations: int) -> float:
        """What the best of that many evaluations exceeds by chance in one of 1,000 runs only; 1 where any may do so."""
        tail = ALPHA / max(evaluations, 1)
        if self.kind == "share":
            return self.level - float(ndtri(tail)) * self.error(self.level)
        if self.kind == "correlation":
            return _correlation_bound(self.samples, tail)
        return self.level + float(chdtri(1, 2 * tail)) / max(
            self.samples - 1, 1
        )  # r² of unrelated predictions

    def error(self, score: float) -> float:
        """Standard error of a score that comes from the finite validation set."""
        if self.kind == "share":
            return math.sqrt(max(score * (1 - score), 0.0) / self.samples)
        if self.kind == "correlation":  # Bonett and Wright 2000
            return (1 - score**2) * math.sqrt((1 + score**2 / 2) / max(self.samples - 3, 1))
        return math.sqrt(4 * max(score, 0.0) * (1 - score) ** 2 / self.samples)


def _correlation_bound(samples: int, tail: float) -> float:
    """Of a rank correlation of unrelated orders: Student's t, and 1 where one order of so few is not that rare."""
    if samples < 4 or (samples < 20 and 1 / math.factorial(samples) > tail):
        return 1.0
    t = float(stdtrit(samples - 2, 1 - tail))
    return t / math.sqrt(samples - 2 + t**2)
