"""Bound the scores that chance alone reaches on a validation set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import chdtri, ndtri, stdtrit

# the probability that a run at chance level exceeds the chance bound in any of its epochs
ALPHA = 0.001


ScoreKind = Literal["share", "r2", "correlation"]  # accuracy or F1; R²; Spearman's and its like


@dataclass(frozen=True, slots=True)
class Chance:
    """The scores of a model on the validation set that has learned nothing."""

    level: float  # accuracy of the better of random and majority class; 0 for R² and correlations
    samples: int  # of the validation set
    loss: float  # ln C, or the variance of the targets; NaN where unknown
    kind: ScoreKind = "share"

    def bound(self, evaluations: int) -> float:
        """Return the score that the best of so many evaluations exceeds in one of 1,000 runs only.

        1 where every score may be chance.
        """
        tail = ALPHA / max(evaluations, 1)
        if self.kind == "share":
            return self.level - float(ndtri(tail)) * self.error(self.level)
        if self.kind == "correlation":
            return _correlation_bound(self.samples, tail)
        # r² of unrelated predictions
        return self.level + float(chdtri(1, 2 * tail)) / max(self.samples - 1, 1)

    def error(self, score: float) -> float:
        """Return the standard error of a score that comes from the finite validation set."""
        if self.kind == "share":
            return math.sqrt(max(score * (1 - score), 0.0) / self.samples)
        if self.kind == "correlation":  # Bonett and Wright 2000
            return (1 - score**2) * math.sqrt((1 + score**2 / 2) / max(self.samples - 3, 1))
        return math.sqrt(4 * max(score, 0.0) * (1 - score) ** 2 / self.samples)


def _correlation_bound(samples: int, tail: float) -> float:
    """Bound a rank correlation of unrelated orders by Student's t.

    1 where the samples are so few that a perfect order is not rare enough.
    """
    if samples < 4 or (samples < 20 and 1 / math.factorial(samples) > tail):
        return 1.0
    t = float(stdtrit(samples - 2, 1 - tail))
    return t / math.sqrt(samples - 2 + t**2)
