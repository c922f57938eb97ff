"""Relate verdicts to settings: shares per level, conditions of failure, edges of stability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.data.frames import varying_settings
from analysis.stats.odds import OddsRatio, odds_ratio
from analysis.text.levels import NOTHING, is_missing, level_key, render_level
from analysis.verdicts.judge import COLUMNS, CONVERGENT, DIVERGENT, Judged
from analysis.verdicts.pairs import failing_pairs

ALPHA = 0.05
STABLE_SHARE = 0.8  # of its seeds have to train at a learning rate that counts as stable
MAX_LEVELS = 12  # beyond, numbers are shown and split at quantiles
Flags = npt.NDArray[np.bool_]
Unit = Literal["configurations", "runs"]


@dataclass(frozen=True, slots=True)
class LevelShares:
    """The verdicts of the runs at one level of a setting."""

    setting: str
    level: str
    counts: dict[str, int]  # verdict -> runs; verdicts that do not occur in the grid are left out

    @property
    def n(self) -> int:
        """Count the runs at this level."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Explanation:
    """A condition under which configurations fail more often than without it."""

    setting: str
    condition: str  # "lr >= 0.1"
    failed_with: int  # configurations, as all counts here, or runs: see `unit`
    n_with: int
    failed_without: int
    n_without: int
    odds: OddsRatio  # its interval allows for the number of conditions that were looked at
    unit: Unit = "configurations"


@dataclass(frozen=True, slots=True)
class Edge:
    """The largest value at which enough seeds train."""

    by: str  # "optimizer=adam", empty where nothing separates
    value: float | None  # None: none
    is_largest: bool  # of all that were tried: the edge lies beyond


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Everything about the verdicts of a grid that is shown, drawn and reported."""

    grid: str
    judged: Judged
    settings: tuple[str, ...]  # those that vary
    shares: tuple[LevelShares, ...]
    explanations: tuple[Explanation, ...]
    edges: tuple[Edge, ...]


def build_breakdown(judged: Judged, grid: str = "") -> Breakdown:
    """Relate the verdicts of judged runs to their settings.

    Args:
        judged: all of them, or those that a filter left.
        grid: the grid's name.
    """
    settings = tuple(varying_settings(judged.runs.drop(columns=list(COLUMNS))))
    return Breakdown(
        grid,
        judged,
        settings,
        tuple(level_shares(judged.runs, settings)),
        tuple(explanations(judged.runs, settings)),
        tuple(stability_edges(judged.runs)),
    )


def level_shares(judged: pd.DataFrame, settings: Sequence[str]) -> list[LevelShares]:
    """Count verdicts per setting and level; numbers of many levels are grouped by quartiles.

    Args:
        judged: the frame of `analysis.verdicts.judge.Judged`.
        settings: those that vary.
    """
    labels = [str(label) for label in pd.unique(judged["verdict"])]
    shares = []
    for setting in settings:
        names = np.array(_level_names(judged[setting]))
        ascending = sorted(zip(map(level_key, judged[setting]), names.tolist(), strict=True))
        for level in dict.fromkeys(name for _, name in ascending):
            verdicts = judged["verdict"].to_numpy()[names == level].tolist()
            counts = {label: verdicts.count(label) for label in labels}
            shares.append(LevelShares(setting, level, counts))
    return shares


def explanations(judged: pd.DataFrame, settings: Sequence[str]) -> list[Explanation]:
    """Find the strongest condition on each setting that goes with failure, strongest first.

    Seeds of a configuration tend to fail together, so configurations are counted and not runs: one
    has failed if at least half of its seeds are divergent. Crashed, missing and too short runs take
    no part.

    Then come pairs of levels that go with failure among what no single condition covers. Where two
    settings are all that vary, a pair is one configuration, and its runs are counted: whether this
    one fails more often than the others is a question about its seeds. Single conditions and pairs
    have half of the error rate each.

    Args:
        judged: the frame of `analysis.verdicts.judge.Judged`.
        settings: those that vary.
    """
    configurations, failed = _configurations(judged)
    conditions = []
    for setting in settings:
        for text, flags in _conditions(setting, configurations[setting]):
            if 0 < flags.sum() < len(flags):
                conditions.append((setting, text, flags))
    alpha = ALPHA / 2 if len(settings) > 1 else ALPHA  # the other half pays for pairs
    level = 1 - alpha / max(len(conditions), 1)
    best: dict[str, Explanation] = {}
    covered: dict[str, Flags] = {}
    for setting, text, flags in conditions:
        explanation = _explain(setting, text, flags, failed, level)
        strongest = best[setting].odds.strength if setting in best else -np.inf
        if explanation.odds.low > 1 and explanation.odds.strength > strongest:
            best[setting] = explanation
            covered[setting] = flags
    alone = sorted(best.values(), key=lambda explanation: -explanation.odds.strength)
    rest = ~np.any([np.zeros(len(failed), dtype=bool), *covered.values()], axis=0)
    return [*alone, *_pairs(judged, configurations[rest], failed[rest], settings)]


def _pairs(
    judged: pd.DataFrame, configurations: pd.DataFrame, failed: Flags, settings: Sequence[str]
) -> Iterator[Explanation]:
    """Yield the pairs of levels that go with failure among these configurations."""
    unit: Unit = "configurations"
    units = configurations
    if len(settings) == 2:
        unit = "runs"
        units = _decided(judged)
        units = units[units["config_id"].isin(configurations["config_id"])]
        failed = units["verdict"].isin([label.value for label in DIVERGENT]).to_numpy()
    for pair in failing_pairs(units, failed, settings, ALPHA / 2, MAX_LEVELS):
        counts = (pair.failed_with, pair.n_with, pair.failed_without, pair.n_without)
        setting = " and ".join(pair.settings)
        yield Explanation(setting, pair.condition, *counts, pair.odds, unit)


def stability_edges(judged: pd.DataFrame, setting: str = "lr", by: str = "optimizer") -> list[Edge]:
    """Find the largest `setting` at which at least 80 % of the runs trained, per level of `by`.

    Args:
        judged: the frame of `analysis.verdicts.judge.Judged`.
        setting: a number, such as the learning rate.
        by: a setting that separates; left out where it is not there or does not vary.
    """
    usable = _decided(judged)
    if setting not in usable or not pd.api.types.is_numeric_dtype(usable[setting]):
        return []
    separates = by in usable and usable[by].nunique() > 1
    groups = usable.groupby(by, sort=True) if separates else [("", usable)]
    return [
        _edge(f"{by}={render_level(name)}" if separates else "", group, setting)
        for name, group in groups
    ]


def _edge(name: str, group: pd.DataFrame, setting: str) -> Edge:
    trained = group["verdict"].isin([label.value for label in CONVERGENT])
    shares = trained.groupby(group[setting]).mean()
    stable = shares.index[shares >= STABLE_SHARE]
    value = float(stable.max()) if len(stable) else None
    return Edge(name, value, value is not None and value == float(shares.index.max()))


def _decided(judged: pd.DataFrame) -> pd.DataFrame:
    return judged[judged["verdict"].isin([label.value for label in CONVERGENT | DIVERGENT])]


def _configurations(judged: pd.DataFrame) -> tuple[pd.DataFrame, Flags]:
    """Return one row per configuration that was decided, and whether it failed."""
    decided = _decided(judged)
    divergent = decided["verdict"].isin([label.value for label in DIVERGENT])
    shares = divergent.groupby(decided["config_id"], sort=False).mean()
    return decided.drop_duplicates("config_id"), (shares >= 0.5).to_numpy()


def _conditions(setting: str, values: pd.Series[Any]) -> Iterator[tuple[str, Flags]]:
    """Yield every level, and for numbers every bound from below and from above."""
    levels = sorted(values.dropna().unique().tolist(), key=level_key)
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not is_number or len(levels) <= MAX_LEVELS:
        for level in levels:
            yield f"{setting} = {render_level(level)}", (values == level).to_numpy()
    if is_number and len(levels) > 2:
        bounds = levels
        if len(levels) > MAX_LEVELS:
            bounds = sorted(set(values.quantile([0.25, 0.5, 0.75])))
        for bound in bounds:
            yield f"{setting} >= {render_level(bound)}", (values >= bound).to_numpy()
            yield f"{setting} <= {render_level(bound)}", (values <= bound).to_numpy()


def _explain(setting: str, text: str, flags: Flags, failed: Flags, level: float) -> Explanation:
    counts = (
        int(failed[flags].sum()),
        int(flags.sum()),
        int(failed[~flags].sum()),
        int((~flags).sum()),
    )
    return Explanation(setting, text, *counts, odds_ratio(*counts, level=level))


def _level_names(values: pd.Series[Any]) -> list[str]:
    """Return the level of every run in words."""
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if is_number and values.nunique() > MAX_LEVELS:
        quarters = pd.qcut(values, 4, duplicates="drop")
        return [
            NOTHING if is_missing(quarter) else f"{quarter.left:.3g} to {quarter.right:.3g}"
            for quarter in quarters
        ]
    return [render_level(value) for value in values]
