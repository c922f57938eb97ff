"""Seed variance: the seeds of the best configurations, and the lead that luck alone would give."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import head, level_name, lost_note, pick_metric, scored
from analysis.plots.scale import Array
from analysis.plots.style import OKABE_ITO, keep_shares, set_head, shortened
from analysis.results.plan import Plan
from analysis.results.rows import Row as TableRow
from analysis.results.table import Table, build_table
from analysis.stats.intervals import seed_interval
from analysis.text.metrics import is_share, label, render_value
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

TOP = 15
NAME = 44  # characters of a configuration's settings
ROW = 0.3  # inches
SHORT_NAMES = {
    "welch": "Welch",
    "moderated": "moderated t",
    "pooled": "pooled t",
    "paired": "t paired by seed",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration."""

    name: str
    config_id: str
    seeds: tuple[int, ...]
    values: Array  # (n_seeds,) in the units of the chart
    low: float  # of the mean's 95 % t interval, NaN below three seeds
    high: float
    is_best: bool  # one of the rows that the table marks
    is_tied: bool  # not distinguished from the best by a test

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.values.mean())


@dataclass(frozen=True, slots=True)
class LuckInfo:
    """What is drawn; accuracies in percent."""

    rows: tuple[Row, ...]  # as in the table: the selected one first, then by what selects
    n_configurations: int
    n_tied: int  # the best and all that are not distinguished from it, shown or not
    luck: float  # by how much the best is too good; NaN: unknown, or none as seeds are fresh
    is_higher_better: bool
    is_share: bool
    x_label: str
    y_label: str  # the settings that name the rows
    title: str
    subtitle: str


def luck_info(
    runs: pd.DataFrame, metric: str, *, select: str = "", top: int = TOP, grid: str = ""
) -> LuckInfo:
    """Return the best configurations with their seeds, ties and luck as in the results table.

    Args:
        runs: see `analysis.data.frames`; confirm runs count where a configuration has them.
        metric: a column of it.
        select: the metric that chooses; default: the shown metric on the validation set.
        top: so many configurations are shown.
        grid: for the title.

    Raises:
        UserError: no run has finished with a finite metric.
    """
    scored(runs, metric)
    table = build_table(runs, Plan(select or selecting_metric(runs, metric), metric, top=top), grid)
    shown = [row for row in table.rows if not row.name and row.mean is not None]
    ties = table.ties[0]
    luck = _luck(table)
    rows = tuple(_row(row, metric) for row in shown)
    title = head(
        grid,
        f"seed luck in {metric}: "
        f"the best {len(rows)} of {count(table.n_configurations, 'configuration')}",
    )
    return LuckInfo(
        rows,
        table.n_configurations,
        len(ties.top),
        luck,
        higher_is_better(metric),
        is_share(metric),
        label(metric),
        " · ".join(table.settings),
        title,
        _subtitle(luck, table, metric),
    )


def draw_luck(info: LuckInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, the best configuration at the top."""
    best = info.rows[0].mean
    if not math.isnan(info.luck):
        ends = (best - info.luck, best) if info.is_higher_better else (best, best + info.luck)
        ax.axvspan(*ends, color="0.88", linewidth=0, zorder=0)
    for place, row in enumerate(info.rows):
        colour = OKABE_ITO[0] if row.is_tied or row.is_best else OKABE_ITO[1]
        ax.hlines(place, row.low, row.high, color=colour, linewidth=1.4, alpha=0.7)
        ax.plot(row.values, [place] * len(row.values), "|", color=colour, markersize=8, alpha=0.8)
        ax.plot(
            row.mean, place, "o" if row.is_tied or row.is_best else "s", color=colour, markersize=5
        )
    names = [f"{row.name}{' †' if row.is_tied else ''}" for row in info.rows]
    ax.set_yticks(range(len(info.rows)), names, fontsize=8)
    ax.set(
        ylim=(len(info.rows) - 0.4, -0.6), xlabel=info.x_label, ylabel=shortened(info.y_label, 50)
    )
    if info.is_share:
        keep_shares(ax, "x")
    set_head(ax, info.title, info.subtitle)
    return ax


def luck_table(info: LuckInfo) -> pd.DataFrame:
    """Return a row per seed of every configuration shown, in the units of the chart."""
    rows = [
        (place, row.config_id, row.name, seed, value, row.mean, row.low, row.high, row.is_tied)
        for place, row in enumerate(info.rows, 1)
        for seed, value in zip(row.seeds, row.values.tolist(), strict=True)
    ]
    names = [
        "rank",
        "config_id",
        "configuration",
        "seed",
        info.x_label,
        "mean",
        "low",
        "high",
        "is_tied",
    ]
    return pd.DataFrame(rows, columns=names)


def luck_chart(loaded: Runs, *, metric: str = "", select: str = "", top: int = TOP) -> Chart:
    """Return the seeds of the best configurations, beside what luck alone is worth.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric, ("test/acc", "val/acc"))
    info = luck_info(runs, metric, select=select, top=max(top, 1), grid=loaded.grid)
    best = info.rows[0]
    alt = f"{info.title}. Best: {best.name}, mean {render_value('', best.mean)}. {info.subtitle}"
    size = (WIDTH + 0.8, 1.8 + ROW * len(info.rows))
    note = lost_note(len(runs), len(scored(runs, metric)), metric)
    return Chart(
        info.title,
        lambda ax: draw_luck(info, ax),
        luck_table(info),
        alt,
        size,
        tuple(filter(None, [note])),
    )


def _row(row: TableRow, metric: str) -> Row:
    factor = 100.0 if is_share(metric) else 1.0
    values = factor * np.array(row.scores)
    low, high = seed_interval(values)
    if is_share(metric):
        low, high = max(low, 0.0), min(high, 100.0)
    parts = [level_name(level) for level in row.levels] or [row.config_id]
    failed = [f"{row.n_trained}/{row.n_total} trained"] if row.n_failed else []
    name = shortened(" · ".join([*parts, *failed]), NAME)
    return Row(name, row.config_id, row.seeds, values, low, high, row.is_best, row.is_tied)


def _luck(table: Table) -> float:
    """Return by how much the best is too good, as in the table's caption; NaN if unknown."""
    found = table.optimism
    if found is None or found.expected is None:
        return float("nan")
    return found.expected * (100.0 if is_share(table.plan.report) else 1.0)


def _subtitle(luck: float, table: Table, metric: str) -> str:
    ties = table.ties[0]
    tests = f" ({SHORT_NAMES[ties.method]}, Holm)" if ties.method else ""
    parts = (
        f"tick: a seed; dot and line: mean with its 95 % t interval; †: not distinguished{tests}."
    )
    if any(row.is_best and row.purpose == "confirm" for row in table.rows):
        return f"{parts} The best is confirmed: fresh seeds, no luck of the choice."
    if table.n_configurations < 2:
        return parts
    if math.isnan(luck):
        return f"{parts} One seed each: how much luck is worth cannot be known."
    unit = " points" if is_share(metric) else ""
    return f"{parts} Grey: expected luck of the choice of the best, {luck:.3g}{unit}."
