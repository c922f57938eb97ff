"""Which way of a metric is better, told by its name: the one rule for training, confirming, tables and charts."""

from __future__ import annotations

import re

LOWER_IS_BETTER = frozenset(
    {"loss", "error", "err", "mse", "mae", "rmse", "perplexity", "seconds", "norm"}
)


def higher_is_better(metric: str) -> bool:
    """Return losses and errors are better when lower, every other metric when higher.

    Args:
        metric: `val/mae`; what stands before the last slash says where it was measured, not what it
            is.
    """
    return not words_of(metric) & LOWER_IS_BETTER


def words_of(metric: str) -> frozenset[str]:
    """Return `{"spearman", "valence"}` of `val/spearman_valence`."""
    return frozenset(re.split(r"[^a-z0-9]+", metric.rpartition("/")[2].lower()))
