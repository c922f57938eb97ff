"""Arrange the runs of a grid as a design: factors with levels, and scores of configurations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.data.baselines import chance_levels
from analysis.data.frames import varying_settings
from analysis.data.metric_choice import selecting_metric
from analysis.data.selection import selected_configuration
from analysis.stats.intervals import Array
from analysis.text.levels import is_missing, level_key
from analysis.text.metrics import is_share, render_value
from anlp.core.errors import UserError
from anlp.core.metrics import higher_is_better

# that settings of a grid have; in a random design every number determines all others
FEW_LEVELS = 12
HUGE = 1e100  # a score beyond has no square, and says nothing
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Factor:
    """A setting that varies, or several that only have a meaning together."""

    name: str
    # ascending; tuples of values for several settings; None: has no effect there
    levels: tuple[Any, ...]
    is_number: bool


@dataclass(frozen=True, slots=True)
class Design:
    """Configurations and factors; arrays are parallel to the configurations."""

    metric: str
    factors: tuple[Factor, ...]
    codes: Codes  # (n_configurations, n_factors) index of the level
    means: Array  # over seeds, clipped at the baseline
    variances: Array  # over seeds, n in the denominator
    counts: Array  # seeds
    best_at_edge: tuple[str, ...]  # sentences on settings whose best value is the last one tried
    notes: tuple[str, ...]  # what was left out, filled in or joined

    @property
    def missing_share(self) -> float:
        """Return the share of the full factorial's cells that are missing."""
        return 1 - len(self.means) / math.prod(len(factor.levels) for factor in self.factors)

    def values(self) -> Array:
        """Return (n_configurations, n_factors) numbers as they are; NaN for everything else."""
        columns = []
        for factor, codes in zip(self.factors, self.codes.T, strict=True):
            numbers = np.full(len(factor.levels), math.nan)
            if factor.is_number:
                numbers = np.array([_number(level) for level in factor.levels])
            columns.append(numbers[codes])
        return np.stack(columns, axis=1)


def build_design(
    runs: pd.DataFrame, metric: str, *, clip: bool = True, ranks: bool = False
) -> Design:
    """Build the design of the search runs of a grid.

    Confirm runs are left out: they would weigh the best configurations more.

    Args:
        runs: see `analysis.data.frames`.
        metric: a column of it.
        clip: whether a run below chance level counts as chance level, and a diverged one, too: how
            badly a run failed would explain nearly all variance otherwise.
        ranks: whether scores are replaced by their ranks.

    Raises:
        UserError: no run can be used, or nothing varies.
    """
    search = runs[runs["purpose"] != "confirm"]
    levels = chance_levels(runs, metric)
    scores, notes = _scores(search if len(search) else runs, metric, levels, clip)
    if scores.empty:
        raise UserError(f"no finished run has {metric}: nothing to explain")
    used = runs.loc[scores.index]
    names = varying_settings(used)
    if not names:
        raise UserError(
            f"no setting varies over the {_runs(len(used))} with {metric}: there is nothing to "
            "compare"
        )
    if ranks:
        scores = scores.rank()
    columns, more = _independent(
        {name: _plain(used[name]) for name in names}, used["config_id"].nunique()
    )
    factors = tuple(_factor(name, values) for name, values in columns.items())
    coded = [
        _codes(factor, values) for factor, values in zip(factors, columns.values(), strict=True)
    ]
    cells, inverse = np.unique(np.stack(coded, axis=1), axis=0, return_inverse=True)
    groups = scores.groupby(inverse.reshape(-1))
    return Design(
        metric,
        factors,
        cells.astype(np.int64),
        np.asarray(groups.mean(), dtype=np.float64),
        np.asarray(groups.var(ddof=0), dtype=np.float64),
        np.asarray(groups.size(), dtype=np.float64),
        tuple(_edges(runs, used, names, metric)),
        (*notes, *more),
    )


def _scores(
    runs: pd.DataFrame, metric: str, levels: pd.Series[float], clip: bool
) -> tuple[pd.Series[float], list[str]]:
    """Return one score per run that counts, and what was done to the others.

    Args:
        runs: those that may count.
        metric: a column of them.
        levels: the chance level of each run, NaN where it is unknown.
        clip: whether a run below chance level counts as chance level.
    """
    raw = runs[metric].astype(float).where(runs["outcome"] == "ok")
    scores = raw[raw.abs() < HUGE]
    diverged = runs.index[runs["outcome"] == "diverged"]
    left_out = len(runs) - len(scores) - len(diverged)
    sign = 1.0 if higher_is_better(metric) else -1.0
    notes = []
    if clip:
        bounds = levels[scores.index]
        is_below = sign * scores < sign * bounds
        scores = scores.mask(is_below, bounds)
        if is_below.any():
            notes.append(
                f"{_runs(int(is_below.sum()))} below the baseline, taken as the baseline: "
                f"{_range(metric, bounds[is_below])}"
            )
    if len(diverged) and len(scores):
        worst = pd.Series(sign * float((sign * scores).min()), index=diverged)
        if clip:
            worst = levels[diverged].fillna(worst)
        scores = pd.concat([scores, worst])
        notes.append(f"{_runs(len(diverged))} diverged, taken as {_range(metric, worst)}")
    if left_out:
        notes.append(f"{_runs(left_out)} without {metric}, left out")
    return scores, notes


def _independent(
    columns: dict[str, list[Any]], configurations: int
) -> tuple[dict[str, list[Any]], list[str]]:
    """Leave out columns that follow from another one, and join those with an effect in parts.

    `momentum`, which only sgd has, becomes one factor with `optimizer`: then the grid is a full
    factorial again.
    """
    notes: list[str] = []
    factors = dict(columns)
    for name in [name for name, values in columns.items() if None in values]:
        has_effect = [value is not None for value in factors[name]]
        partner = _leader({**factors, name: has_effect}, name, configurations)
        if partner and not _leader(factors, name, configurations):
            factors = _joined(factors, partner, name)
            notes.append(
                f"{name} has an effect with some values of {partner} only: both are one factor"
            )
    for name in list(factors):
        if leader := _leader(factors, name, configurations):
            del factors[name]
            notes.append(f"{name} follows from {leader} and is left out")
    return factors, notes


def _joined(columns: dict[str, list[Any]], first: str, second: str) -> dict[str, list[Any]]:
    """Return the columns with two of them as one, in the place of the first."""
    joined = {}
    for name, values in columns.items():
        if name == first:
            joined[f"{first}+{second}"] = list(zip(values, columns[second], strict=True))
        elif name != second:
            joined[name] = values
    return joined


def _leader(columns: dict[str, list[Any]], name: str, configurations: int) -> str | None:
    """Return another column whose levels determine those of this one."""
    for other, values in columns.items():
        levels = len(set(values))
        if other == name or levels > max(FEW_LEVELS, configurations / 2):
            continue
        if len(set(zip(values, columns[name], strict=True))) == levels:
            return other
    return None


def _factor(name: str, values: Sequence[Any]) -> Factor:
    levels = tuple(sorted(set(values), key=_order))
    numbers = [level for level in levels if level is not None]
    is_number = all(
        isinstance(level, int | float) and not isinstance(level, bool) for level in numbers
    )
    return Factor(name, levels, is_number)


def _codes(factor: Factor, values: Iterable[Any]) -> Codes:
    place = {level: index for index, level in enumerate(factor.levels)}
    return np.array([place[value] for value in values], dtype=np.int64)


def _edges(runs: pd.DataFrame, used: pd.DataFrame, names: Sequence[str], metric: str) -> list[str]:
    """Name the numbers of which the selected configuration has the smallest or largest tried."""
    best_id = selected_configuration(runs, selecting_metric(runs, metric))
    if best_id is None:
        return []
    best = runs[runs["config_id"] == best_id].iloc[0]
    sentences = []
    for name in names:
        levels = sorted(v for v in set(_plain(used[name])) if isinstance(v, int | float))
        value = best[name]
        if len(levels) < 2 or isinstance(levels[0], bool) or value not in (levels[0], levels[-1]):
            continue
        if value == 0 and levels[0] == 0:  # nothing lies below
            continue
        end, way = ("largest", "larger") if value == levels[-1] else ("smallest", "smaller")
        sentences.append(
            f"{name}: the best configuration has the {end} value tried, {value:.6g}; try {way} ones"
        )
    return sentences


def _plain(values: pd.Series[Any]) -> list[Any]:
    """Return Python's own values, None for missing ones."""
    return [None if is_missing(value) else value for value in values.tolist()]


def _order(level: Any) -> tuple[Any, ...]:
    return tuple(map(level_key, level)) if isinstance(level, tuple) else level_key(level)


def _number(level: Any) -> float:
    return math.nan if level is None else float(level)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


def _range(metric: str, values: pd.Series[float]) -> str:
    low, high = _written(metric, values.min()), _written(metric, values.max())
    return low if low == high else f"{low} to {high}"


def _written(metric: str, value: float) -> str:
    return f"{render_value(metric, value)} %" if is_share(metric) else render_value(metric, value)
