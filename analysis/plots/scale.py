"""Scale of an axis: where values lie between 0 and 1, and which ticks the axis has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from analysis.text.levels import NOTHING, is_missing, render_level

Array = npt.NDArray[np.float64]

BELOW = -0.09  # where values without a place on the axis lie: missing ones, 0 on a logarithmic axis
LOG_SPAN = 100  # positive numbers over at least this range are rates
CLEAR = 0.06  # of the axis, between two labels
MAX_LEVELS = 8  # up to so many distinct numbers each has its own tick


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis of parallel coordinates."""

    name: str
    kind: str  # "linear", "log" or "category"
    positions: Array  # (n_runs,) in [0, 1], or BELOW
    ticks: tuple[tuple[float, str], ...]  # position, label

    @property
    def has_levels(self) -> bool:
        """Return whether many runs share each of a few positions."""
        return self.kind == "category" or len(np.unique(self.positions)) <= MAX_LEVELS


def make_scale(name: str, values: Sequence[Any], *, factor: float = 1.0) -> Scale:
    """Return the scale that suits `values`: categories for text, logarithmic for rates, or linear.

    Args:
        name: of the axis.
        values: (n_runs,) numbers or text, missing ones as None or NaN.
        factor: of the tick labels: 100 for shares in percent, whose axis is never logarithmic.
    """
    present = [value for value in values if not is_missing(value)]
    if any(isinstance(value, str | bool) for value in present):
        return _category_scale(name, values)
    numbers = np.array([np.nan if is_missing(value) else float(value) for value in values])
    return _number_scale(name, numbers, factor)


def _category_scale(name: str, values: Sequence[Any]) -> Scale:
    texts = [NOTHING if is_missing(value) else render_level(value) for value in values]
    levels = sorted(set(texts) - {NOTHING})
    place = {level: _even(index, len(levels)) for index, level in enumerate(levels)} | {
        NOTHING: BELOW
    }
    ticks = [(place[level], level) for level in (*levels, *({NOTHING} & set(texts)))]
    return Scale(
        name, "category", np.array([place[text] for text in texts], dtype=float), tuple(ticks)
    )


def _number_scale(name: str, numbers: Array, factor: float) -> Scale:
    finite = np.isfinite(numbers)
    positive = finite & (numbers > 0)
    levels = np.unique(numbers[finite])
    is_rate = factor == 1.0 and bool(positive.any()) and levels.min() >= 0
    is_log = is_rate and levels.max() / numbers[positive].min() >= LOG_SPAN
    on_axis = positive if is_log else finite
    forward = np.log10 if is_log else np.asarray
    place = np.full(numbers.shape, BELOW)
    if on_axis.any():
        low, high = (
            float(forward(bound)) for bound in (numbers[on_axis].min(), numbers[on_axis].max())
        )
        place[on_axis] = _between(forward(numbers[on_axis]), low, high)
        ticks = [
            (float(_between(forward(at), low, high)), _label(at, factor))
            for at in _ticks(levels, is_log)
        ]
    else:
        ticks = []
    below = [_label(0.0, factor)] if (finite & ~on_axis).any() else []
    below += [NOTHING] if (~finite).any() else []
    ticks += [(BELOW, " / ".join(below))] if below else []
    return Scale(name, "log" if is_log else "linear", place, tuple(ticks))


def _ticks(levels: Array, is_log: bool) -> Array:
    """Return every level where they are few; else decades, or round numbers."""
    usable = levels[levels > 0] if is_log else levels
    low, high = usable.min(), usable.max()
    if len(usable) <= MAX_LEVELS:
        return usable
    if not is_log:
        ticks = np.asarray(MaxNLocator(6).tick_values(low, high), dtype=float)
        ends = np.array([low, high])  # said exactly: people look for the best value
        ticks = np.concatenate(
            [ends, ticks[np.abs(ticks[:, None] - ends).min(axis=1) > (high - low) * CLEAR]]
        )
    else:
        decades = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
        ticks = 10.0 ** decades[:: max(1, len(decades) // MAX_LEVELS)]
    inside: Array = ticks[(ticks >= low) & (ticks <= high)]
    return inside


def _between(value: Any, low: float, high: float) -> Any:
    return (value - low) / (high - low) if high > low else np.zeros_like(value, dtype=float) + 0.5


def _even(index: int, count: int) -> float:
    return index / (count - 1) if count > 1 else 0.5


def _label(value: float, factor: float) -> str:
    return f"{float(value) * factor:.4g}"
