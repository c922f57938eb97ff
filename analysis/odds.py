"""Odds ratios of two-by-two tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """How many times larger the odds are with a condition than without it."""

    ratio: float
    low: float
    high: float
    strength: float  # |log ratio| in standard errors


def odds_ratio(failed_with: int, with_it: int, failed_without: int, without_it: int, level: float = 0.95) -> OddsRatio:
    """The odds ratio of failing, with Woolf's interval after adding one half to every cell (Haldane, Anscombe).

    Args:
        failed_with: failures among those with the condition.
        with_it: all of those.
        failed_without: failures among those without it.
        without_it: all of these.
        level: nominal coverage; empty cells make the interval wide, not infinite.
    """
    cells = [count + 0.5 for count in (failed_with, with_it - failed_with, failed_without, without_it - failed_without)]
    a, b, c, d = cells
    log_ratio, error = math.log(a * d / (b * c)), math.sqrt(sum(1 / cell for cell in cells))
    half_width = float(ndtri((1 + level) / 2)) * error
    ends = (math.exp(log_ratio - half_width), math.exp(log_ratio + half_width))
    return OddsRatio(math.exp(log_ratio), *ends, abs(log_ratio) / error)
