"""Read the name of a metric: its kind, its unit, and how its values are written."""

from __future__ import annotations

import math

from anlp.core.metrics import words_of

SHARES = frozenset({"acc", "accuracy", "f1", "precision", "recall"})
CORRELATIONS = frozenset({"spearman", "pearson", "kendall"})
SHARE_DECIMALS = 3  # of the value in percent, as published tables have it
SIGNIFICANT_DIGITS = 4  # of every other metric


def is_share(metric: str) -> bool:
    """Return whether the metric is a share of samples in [0, 1], which people read in percent."""
    return bool(words_of(metric) & SHARES)


def is_correlation(metric: str) -> bool:
    """Return whether the metric is a correlation, which is 0 for unrelated answers."""
    return bool(words_of(metric) & CORRELATIONS)


def label(metric: str) -> str:
    """Return the metric with its unit, for the head of a column or an axis.

    >>> label("test/acc"), label("val/loss")
    ('test/acc [%]', 'val/loss')
    """
    return f"{metric} [%]" if is_share(metric) else metric


def render_value(metric: str, value: float) -> str:
    """Write a value in the unit of its metric.

    >>> render_value("test/acc", 0.98027), render_value("val/loss", 0.068712)
    ('98.027', '0.06871')
    """
    return render_values(metric, value)[0]


def render_values(metric: str, value: float, *others: float) -> list[str]:
    """Write `value` and others, such as the half-width of its interval, with its decimals.

    >>> render_values("val/loss", 0.068712, 0.0031)
    ['0.06871', '0.00310']
    """
    if is_share(metric):
        return [f"{100 * number:.{SHARE_DECIMALS}f}" for number in (value, *others)]
    magnitude = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    if not -5 <= magnitude < 6:
        return [f"{number:.{SIGNIFICANT_DIGITS - 1}e}" for number in (value, *others)]
    decimals = max(SIGNIFICANT_DIGITS - 1 - magnitude, 0)
    return [f"{number:.{decimals}f}" for number in (value, *others)]
