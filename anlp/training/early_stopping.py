"""The best epoch so far, and when to stop waiting for a better one."""

from __future__ import annotations

from collections.abc import Sequence


def best_epoch(values: Sequence[float], higher_is_better: bool) -> int:
    """Return the epoch (1 first) with the best value, the earliest of equals; 0 for none.

    >>> best_epoch([0.5, 0.9, 0.9], higher_is_better=True)
    2
    """
    if not values:
        return 0
    best = max(values) if higher_is_better else min(values)
    return values.index(best) + 1


def should_stop(values: Sequence[float], patience: int, higher_is_better: bool) -> bool:
    """Tell whether the last `patience` epochs brought nothing better; patience 0 never stops."""
    return patience > 0 and len(values) - best_epoch(values, higher_is_better) >= patience
