"""Rank correlations of predicted quantities with their intervals, one panel per quantity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.frames import varying_settings
from analysis.data.load import Runs
from analysis.data.predictions import Predictions, has_predictions, load_predictions
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import head, level_name
from analysis.plots.style import OKABE_ITO, set_head, shortened
from analysis.stats.correlation import (
    MIN_PAIRS,
    average_correlation,
    rank_correlation,
    spearman_interval,
)
from analysis.text.levels import is_missing
from anlp.core.errors import UserError
from anlp.core.units import count

MEAN = "mean"  # over quantities, in Fisher's z space
TARGET, TOGETHER = (
    "target",
    "all",
)  # the setting that says whether a net learns one quantity or all of them
ROW = 0.24  # inches
MAX_HEIGHT = 14.0


@dataclass(frozen=True, slots=True)
class Correlation:
    """One quantity as one configuration predicts it."""

    quantity: str
    name: str  # of the configuration
    learned: str  # alone, or together with others
    r: float  # Spearman's, mean over seeds in Fisher's z space; NaN where one side is constant
    low: float  # 95 % interval for new test samples; NaN for a mean over quantities
    high: float
    sd: float  # over seeds, NaN for one
    n_seeds: int
    n_samples: int


@dataclass(frozen=True, slots=True)
class CorrelationsInfo:
    """Data of the chart: quantities in run order, configurations by their correlation."""

    rows: tuple[Correlation, ...]
    title: str
    subtitle: str


def correlations_info(
    found: Sequence[tuple[str, Sequence[Predictions]]], grid: str = ""
) -> CorrelationsInfo:
    """Return the correlations of every configuration and quantity, with a mean over several.

    Args:
        found: name of a configuration without what it predicts, and its seeds.
        grid: for the title.

    Raises:
        UserError: the runs predict classes.
    """
    rows = [row for name, seeds in found for row in _of_configuration(name, seeds)]
    rows += _means(rows)
    together = [
        row.quantity for row in rows if row.learned == "together"
    ]  # in the order of the task
    order = list(
        dict.fromkeys([*together, *(row.quantity for row in rows if row.quantity != MEAN), MEAN])
    )
    rows.sort(
        key=lambda row: (
            order.index(row.quantity),
            math.inf if math.isnan(row.r) else -row.r,
            row.name,
        )
    )
    samples = max((row.n_samples for row in rows), default=0)
    return CorrelationsInfo(
        tuple(rows),
        head(grid, f"rank correlation with the truth, {count(len(found), 'configuration')}"),
        f"mean over seeds, 95 % interval for {samples:,} test samples",
    )


def draw_correlations(info: CorrelationsInfo, ax: Axes) -> Axes:
    """Draw the rows on `ax`, those of one quantity together."""
    colours = {
        name: OKABE_ITO[index % len(OKABE_ITO)] for index, name in enumerate(_quantities(info))
    }
    labels = []
    for place, row in enumerate(info.rows):
        colour = colours[row.quantity]
        if not math.isnan(row.low):
            ax.plot([row.low, row.high], [place, place], color=colour, linewidth=1.3)
        ax.plot(row.r, place, "D" if row.quantity == MEAN else "o", color=colour, markersize=4.5)
        labels.append(f"{row.quantity}: {shortened(row.name, 34)}{_how(row)}")
    for place in range(1, len(info.rows)):
        if info.rows[place].quantity != info.rows[place - 1].quantity:
            ax.axhline(place - 0.5, color="0.85", linewidth=0.8)
    ax.axvline(0, color="0.4", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(axis="x", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set(ylim=(len(labels) - 0.4, -0.6), xlabel="Spearman's ρ on the test set")
    set_head(ax, info.title, info.subtitle)
    return ax


def correlations_table(info: CorrelationsInfo) -> pd.DataFrame:
    """Return a row per quantity and configuration."""
    rows = [
        (
            row.quantity,
            row.name,
            row.learned,
            row.r,
            row.low,
            row.high,
            row.sd,
            row.n_seeds,
            row.n_samples,
        )
        for row in info.rows
    ]
    names = [
        "quantity",
        "configuration",
        "learned",
        "spearman",
        "low",
        "high",
        "sd over seeds",
        "seeds",
        "samples",
    ]
    return pd.DataFrame(rows, columns=names)


def correlations_chart(loaded: Runs) -> Chart:
    """Return every configuration that predicted quantities, one at a time or all together.

    Raises:
        UserError: no run wrote predictions, or they are of classes.
    """
    candidates = has_predictions(loaded.folder, loaded.runs)
    if candidates.empty:
        load_predictions(loaded.folder, loaded.runs)  # says what to do
    names = _names(candidates)
    found = [
        (names[str(key)], load_predictions(loaded.folder, group))
        for key, group in candidates.groupby("config_id", sort=False)
    ]
    info = correlations_info(found, loaded.grid)
    highest = [
        max((row for row in info.rows if row.quantity == name), key=_by_r)
        for name in _quantities(info)
    ]
    said = "; ".join(f"{row.quantity} {row.r:.3f} by {row.name}{_how(row)}" for row in highest)
    size = (WIDTH + 1, min(1.8 + ROW * len(info.rows), MAX_HEIGHT))
    table = correlations_table(info)
    return Chart(
        info.title,
        lambda ax: draw_correlations(info, ax),
        table,
        f"{info.title}. Highest on the test set: {said}.",
        size,
    )


def _of_configuration(name: str, seeds: Sequence[Predictions]) -> list[Correlation]:
    first = seeds[0]
    if first.is_classes:
        raise UserError(
            "correlations are of quantities, and these runs predict classes: see the kind report"
        )
    learned = "together" if first.targets.shape[1] > 1 else "alone"
    rows = []
    for column, quantity in enumerate(first.names):
        each = [_r(one, column) for one in seeds]
        r, samples = average_correlation(each), len(first.targets)
        low, high = (math.nan, math.nan) if math.isnan(r) else spearman_interval(r, samples)
        rows.append(
            Correlation(quantity, name, learned, r, low, high, _sd(each), len(seeds), samples)
        )
    return rows


def _r(one: Predictions, column: int) -> float:
    true, predicted = one.targets[:, column], one.outputs[:, column]
    known = np.isfinite(true) & np.isfinite(predicted)
    return (
        rank_correlation(true[known], predicted[known]).r if known.sum() >= MIN_PAIRS else math.nan
    )


def _means(rows: Sequence[Correlation]) -> list[Correlation]:
    """Mean over the quantities of each configuration: one net for all, or one net each."""
    every = {row.quantity for row in rows}
    found = []
    for name, learned in dict.fromkeys((row.name, row.learned) for row in rows):
        own = [row for row in rows if (row.name, row.learned) == (name, learned)]
        if len(every) > 1 and {row.quantity for row in own} == every:
            r = average_correlation([row.r for row in own])
            seeds, samples = min(row.n_seeds for row in own), min(row.n_samples for row in own)
            found.append(
                Correlation(MEAN, name, learned, r, math.nan, math.nan, math.nan, seeds, samples)
            )
    return found


def _names(runs: pd.DataFrame) -> dict[str, str]:
    """Return the varying settings by configuration, without the quantities it learns."""
    settings = [name for name in varying_settings(runs) if name != TARGET]
    first = runs.drop_duplicates("config_id").set_index("config_id")
    return {
        str(key): " ".join(
            f"{name}={_level(row[name])}" for name in settings if not is_missing(row[name])
        )
        or "the configuration"
        for key, row in first.iterrows()
    }


def _level(value: object) -> str:
    """Return the value in words, also for an empty text (`init_from` of a net that begins anew)."""
    return "none" if value == "" else level_name(value)


def _sd(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def _by_r(row: Correlation) -> float:
    return -math.inf if math.isnan(row.r) else row.r


def _quantities(info: CorrelationsInfo) -> list[str]:
    return list(dict.fromkeys(row.quantity for row in info.rows))


def _how(row: Correlation) -> str:
    return ", together" if row.learned == "together" else ""
