"""Find pairs of settings that go with failure where neither of the two does alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.stats.odds import OddsRatio, odds_ratio
from analysis.text.levels import is_missing, level_key, render_level

MOST_PAIRS = 3  # that are told
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FailingPair:
    """A level of each of two settings that together go with failure."""

    settings: tuple[str, str]
    condition: str  # "lr = 0.001 and optimizer = sgd"
    failed_with: int
    n_with: int
    failed_without: int
    n_without: int
    odds: OddsRatio


@dataclass(frozen=True, slots=True)
class _Cells:
    """The combinations of levels of two settings."""

    settings: tuple[str, str]
    codes: npt.NDArray[np.int64]  # (n_units,) the combination of each, -1 for a missing level
    names: Mapping[int, str]


def failing_pairs(
    units: pd.DataFrame, failed: Flags, settings: Sequence[str], alpha: float, most_levels: int
) -> list[FailingPair]:
    """Return the pairs of levels that go with failure, strongest first, three at most.

    After each, the units that it covers are left out, so that the next one is about others. The
    intervals allow for the number of pairs that were looked at.

    Args:
        units: a row per configuration, or per run.
        failed: parallel to it.
        settings: those that vary; with more than `most_levels` levels they are left out.
        alpha: error rate of all pairs together.
        most_levels: see `settings`.
    """
    usable = [name for name in settings if units[name].nunique() <= most_levels]
    tables = [_cells(units, pair) for pair in combinations(usable, 2)]
    looked_at = sum(len(table.names) for table in tables)
    if not looked_at:
        return []
    level = 1 - alpha / looked_at
    rest = np.ones(len(units), dtype=bool)
    found: list[FailingPair] = []
    while len(found) < MOST_PAIRS and (failed & rest).any():
        pairs = [one for table in tables for one in _significant(table, failed, rest, level)]
        if not pairs:
            break
        best, covered = max(pairs, key=lambda pair: pair[0].odds.strength)
        found.append(best)
        rest &= ~covered
    return found


def _significant(
    table: _Cells, failed: Flags, rest: Flags, level: float
) -> Iterator[tuple[FailingPair, Flags]]:
    """Yield the combinations whose odds of failure are higher than elsewhere, and their units."""
    for code in np.unique(table.codes[failed & rest & (table.codes >= 0)]).tolist():
        covered = rest & (table.codes == code)
        others = rest & ~covered
        counts = (
            int(failed[covered].sum()),
            int(covered.sum()),
            int(failed[others].sum()),
            int(others.sum()),
        )
        odds = odds_ratio(*counts, level=level)
        if odds.low > 1:
            yield FailingPair(table.settings, table.names[code], *counts, odds), covered


def _cells(units: pd.DataFrame, pair: tuple[str, str]) -> _Cells:
    codes, levels = zip(*(_codes(units[name]) for name in pair), strict=True)
    size = len(levels[1])
    joined = np.where((codes[0] < 0) | (codes[1] < 0), -1, codes[0] * size + codes[1])
    names = {}
    for code in np.unique(joined[joined >= 0]).tolist():
        first, second = levels[0][code // size], levels[1][code % size]
        names[code] = f"{pair[0]} = {render_level(first)} and {pair[1]} = {render_level(second)}"
    return _Cells(pair, joined, names)


def _codes(values: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Return the place of each value among the sorted levels, -1 for a missing one."""
    levels = sorted(values.dropna().unique().tolist(), key=level_key)
    place = {level: index for index, level in enumerate(levels)}
    codes = [-1 if is_missing(value) else place[value] for value in values.tolist()]
    return np.array(codes, dtype=np.int64), levels
