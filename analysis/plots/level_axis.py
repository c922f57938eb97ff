"""The axis of a numeric setting: where its levels lie, and which of them have a tick."""

from __future__ import annotations

import math
from copy import copy

import numpy as np

from analysis.plots.groups import short_names
from analysis.plots.scale import Array

LOG_X = 20  # settings over at least this range are drawn on a logarithmic axis
ZERO_GAP = 1.0  # 0 lies so many steps below the smallest value of a logarithmic axis
MAX_TICKS = 10
CHARACTERS = 54  # of tick labels for which the axis has room
NEARLY = 1e-9  # of a decade
SPREAD = 0.24  # of the distance between two levels: over so much the groups are spread


class LevelAxis:
    """Places the levels of a setting on an axis, which is logarithmic for a wide range."""

    def __init__(self, values: Array) -> None:
        self.levels = np.unique(values[np.isfinite(values)])
        positive = self.levels[self.levels > 0]
        self.is_log = bool(
            positive.size and self.levels[0] >= 0 and positive[-1] / positive[0] >= LOG_X
        )
        self.floor = self.shift = 0.0
        if self.is_log:
            steps = np.diff(np.log10(positive))
            self.floor = float(np.log10(positive[0]) - ZERO_GAP * float(np.median(steps)))

    def beside(self, index: int, groups: int) -> LevelAxis:
        """Return the same positions for one of several groups, shifted within the smallest step."""
        places = np.array([self.at(level) for level in self.levels.tolist()])
        step = float(np.diff(places).min()) if places.size > 1 else 0.0
        other = copy(self)
        other.shift = SPREAD * step * (index - (groups - 1) / 2) / max(groups - 1, 1)
        return other

    def at(self, value: float) -> float:
        """Return the position of a level."""
        if not self.is_log:
            return value + self.shift
        return (math.log10(value) if value > 0 else self.floor) + self.shift

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return every level where there are few; else decades, or evenly chosen levels.

        Labels for which the axis has no room are left out.
        """
        chosen = self.levels
        if len(chosen) > MAX_TICKS:
            step = -(-len(chosen) // MAX_TICKS)
            chosen = (
                np.array([*chosen[chosen == 0], *_decades(chosen)])
                if self.is_log
                else chosen[::step]
            )
        return _with_room(
            list(zip(map(self.at, chosen.tolist()), short_names(chosen.tolist()), strict=True))
        )


def _decades(levels: Array) -> Array:
    """Return the powers of ten between the smallest positive level and the largest."""
    low, high = np.log10(levels[levels > 0].min()), np.log10(levels.max())
    return np.asarray(
        10.0 ** np.arange(math.ceil(low - NEARLY), math.floor(high + NEARLY) + 1), dtype=np.float64
    )


def _with_room(ticks: list[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Return, from the left, each tick whose label does not touch the one before."""
    width = max(at for at, _ in ticks) - min(at for at, _ in ticks)
    kept: list[tuple[float, str]] = []
    for at, text in ticks:
        room = math.inf if not kept else CHARACTERS * (at - kept[-1][0]) / (width or 1.0)
        if not kept or room >= 1 + (len(text) + len(kept[-1][1])) / 2:
            kept.append((at, text))
    return tuple(kept)
