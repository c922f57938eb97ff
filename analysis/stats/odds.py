"""Compute odds ratios of two-by-two tables."""

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
    # root of the likelihood ratio: comparable between conditions, perfect separation the strongest
    strength: float


def odds_ratio(
    failed_with: int, with_it: int, failed_without: int, without_it: int, level: float = 0.95
) -> OddsRatio:
    """Return the odds ratio of failing with Woolf's interval.

    One half is added to every cell first (Haldane, Anscombe).

    Args:
        failed_with: failures among those with the condition.
        with_it: all of those.
        failed_without: failures among those without it.
        without_it: all of these.
        level: nominal coverage; empty cells make the interval wide, not infinite.
    """
    cells = [
        count + 0.5
        for count in (
            failed_with,
            with_it - failed_with,
            failed_without,
            without_it - failed_without,
        )
    ]
    a, b, c, d = cells
    log_ratio, error = math.log(a * d / (b * c)), math.sqrt(sum(1 / cell for cell in cells))
    half_width = float(ndtri((1 + level) / 2)) * error
    ends = (math.exp(log_ratio - half_width), math.exp(log_ratio + half_width))
    strength = _likelihood_ratio(failed_with, with_it, failed_without, without_it)
    return OddsRatio(math.exp(log_ratio), *ends, math.sqrt(max(strength, 0.0)))


def _likelihood_ratio(
    failed_with: int, with_it: int, failed_without: int, without_it: int
) -> float:
    """Return G² of the table against equal shares of failure."""
    total, failed = with_it + without_it, failed_with + failed_without
    cells = (
        (failed_with, with_it, failed),
        (with_it - failed_with, with_it, total - failed),
        (failed_without, without_it, failed),
        (without_it - failed_without, without_it, total - failed),
    )
    return 2 * sum(
        count * math.log(count * total / (row * column)) for count, row, column in cells if count
    )
