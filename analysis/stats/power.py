"""Tell what a number of seeds can decide: smallest p values, seeds for a given power.

All tests are one-sided, as those of `multiple_comparisons`: is the selected configuration better?
"""

from __future__ import annotations

import math
from itertools import count

from scipy.special import nctdtr, stdtrit

ALPHA = 0.05
MAX_SEEDS = 100_000


def smallest_p(n: int, *, paired: bool = False) -> float:
    """Return the smallest one-sided p value of a permutation test of `n` against `n` seeds.

    With `paired`, of `n` pairs.
    """
    return 1 / (2**n if paired else math.comb(2 * n, n))


def largest_family(n: int, *, paired: bool = False, alpha: float = ALPHA) -> int:
    """Return how many comparisons a permutation test with `n` seeds can decide by Holm's method.

    With more, its first step can never reject.
    """
    return int(alpha / smallest_p(n, paired=paired) * (1 + 1e-12))


def seeds_to_reject(comparisons: int, *, paired: bool = False, alpha: float = ALPHA) -> int:
    """Return the fewest seeds with which a permutation test of so many comparisons can reject."""
    return next(n for n in count(1) if largest_family(n, paired=paired, alpha=alpha) >= comparisons)


def resolution_line(n: int, configurations: int, *, paired: bool = False) -> str:
    """Return the sentence to print where a permutation test can never reject; empty if it can."""
    comparisons = configurations - 1
    if comparisons < 1 or largest_family(n, paired=paired) >= comparisons:
        return ""
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    needed = seeds_to_reject(comparisons, paired=paired)
    return (
        f"With {seeds} and {configurations} configurations a permutation test can never reject; "
        f"{needed} are needed."
    )


def seeds_for_power(
    difference: float, comparisons: int = 1, *, power: float = 0.8, alpha: float = ALPHA
) -> int:
    """Return the seeds per configuration with which a one-sided t test sees a true difference.

    Args:
        difference: of the two means, in standard deviations of single seeds.
        comparisons: of the family, by Bonferroni.
        power: probability to see it.
        alpha: error rate of the family.

    Raises:
        ValueError: the difference is 0, which no number of seeds can show.
    """
    if difference == 0:
        raise ValueError("expected a difference other than 0")
    low, high = 2, 4
    while _power(abs(difference), high, alpha / comparisons) < power and high < MAX_SEEDS:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if _power(abs(difference), middle, alpha / comparisons) >= power:
            high = middle
        else:
            low = middle + 1
    return low


def break_even(n: int, comparisons: int = 1, *, alpha: float = ALPHA) -> float:
    """Return the correlation over seeds above which a paired t test is sharper than Welch's."""
    upper = 1 - alpha / comparisons
    return float(1 - (stdtrit(2 * n - 2, upper) / stdtrit(n - 1, upper)) ** 2)


def _power(difference: float, n: int, alpha: float) -> float:
    """Return the power of a one-sided two-sample t test."""
    critical = float(stdtrit(2 * n - 2, 1 - alpha))
    return float(1 - nctdtr(2 * n - 2, difference * math.sqrt(n / 2), critical))
