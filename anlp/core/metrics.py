"""Whether a metric is better high or low: the one rule for training, tables and charts."""

from __future__ import annotations

import re

LOWER_IS_BETTER = frozenset(
    {"loss", "error", "err", "mse", "mae", "rmse", "perplexity", "seconds", "norm"}
)


def higher_is_better(metric: str) -> bool:
    """Tell whether a metric is better when higher; losses and errors are better when lower.

    >>> higher_is_better("val/acc"), higher_is_better("val/mae")
    (True, False)

    Args:
        metric: `val/mae`; what stands before the last slash says where it was measured.
    """
    return not words_of(metric) & LOWER_IS_BETTER


def words_of(metric: str) -> frozenset[str]:
    """Return the words of a metric's name: `{"spearman", "valence"}` of `val/spearman_valence`."""
    return frozenset(re.split(r"[^a-z0-9]+", metric.rpartition("/")[2].lower()))
