"""Seed luck: the seeds of the best configurations, and how far ahead the best of many equal ones would be by luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.choice import Configuration, configurations, has_score
from analysis.compare import tied_set
from analysis.frame import varying_settings
from analysis.metrics import higher_is_better, is_share, label, render_value
from analysis.optimism import optimism_of_best, pooled_sd
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import count, head, level_name, lost_note, pick_metric, scored
from analysis.plots.paper import OKABE_ITO, keep_shares, set_head, shortened
from analysis.plots.scale import Array
from analysis.pull import Runs
from analysis.stats import mean_interval

TOP = 15
NAME = 44  # characters of a configuration's settings
ROW = 0.3  # inches


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration."""

    name: str
    config_id: str
    seeds: tuple[int, ...]
    values: Array  # (n_seeds,) in the units of the chart
    low: float  # of the mean's 95 % t interval, NaN for one seed
    high: float
    is_tied: bool  # with the best: a test could not tell them apart

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.values.mean())


@dataclass(frozen=True, slots=True)
class LuckInfo:
    """What is drawn; accuracies in percent."""

    rows: tuple[Row, ...]  # best first
    n_configurations: int
    n_tied: int  # the best and all that are tied with it, shown or not
    luck: float  # lead of the best of so many equal ones; NaN: unknown, none has two seeds
    is_higher_better: bool
    is_share: bool
    x_label: str
    y_label: str  # the settings that name the rows
    title: str
    subtitle: str


def luck_info(runs: pd.DataFrame, metric: str, *, top: int = TOP, grid: str = "") -> LuckInfo:
    """The best configurations with their seeds.

    Args:
        runs: see `analysis.frame`; confirm runs count where a configuration has them.
        metric: a column of it.
        top: so many configurations are shown.
        grid: for the title.

    Raises:
        UserError: no run has finished with a finite metric.
    """
    scored(runs, metric)
    sign = 1.0 if higher_is_better(metric) else -1.0
    factor = 100.0 if is_share(metric) else 1.0
    found = [(c, _values(c, metric)) for c in configurations(runs, metric)]
    found = sorted(((c, v) for c, v in found if v.size), key=lambda item: -sign * float(item[1].mean()))
    groups = [factor * values for _, values in found]
    tied = tied_set([sign * group for group in groups]).is_tied if len(groups) > 1 else np.zeros(1, dtype=bool)
    top_groups = [groups[0], *(group for group, flag in zip(groups, tied, strict=True) if flag)]
    luck = _luck(top_groups)
    settings = varying_settings(runs)
    rows = tuple(
        _row(configuration, group, bool(flag), settings, metric)
        for (configuration, _), group, flag in list(zip(found, groups, tied, strict=True))[:top]
    )
    title = head(grid, f"seed luck in {metric}: the best {len(rows)} of {count(len(groups), 'configuration')}")
    return LuckInfo(
        rows,
        len(groups),
        len(top_groups),
        luck,
        sign > 0,
        is_share(metric),
        label(metric),
        " · ".join(settings),
        title,
        _subtitle(luck, len(top_groups), metric),
    )


def draw_luck(info: LuckInfo, ax: Axes) -> Axes:
    """The chart on `ax`, the best configuration at the top."""
    best = info.rows[0].mean
    if info.luck == info.luck:
        ends = (best - info.luck, best) if info.is_higher_better else (best, best + info.luck)
        ax.axvspan(*ends, color="0.88", linewidth=0, zorder=0)
    for place, row in enumerate(info.rows):
        colour = OKABE_ITO[0] if row.is_tied or place == 0 else OKABE_ITO[1]
        ax.hlines(place, row.low, row.high, color=colour, linewidth=1.4, alpha=0.7)
        ax.plot(row.values, [place] * len(row.values), "|", color=colour, markersize=8, alpha=0.8)
        ax.plot(row.mean, place, "o" if row.is_tied or place == 0 else "s", color=colour, markersize=5)
    names = [f"{row.name}{' †' if row.is_tied else ''}" for row in info.rows]
    ax.set_yticks(range(len(info.rows)), names, fontsize=8)
    ax.set(ylim=(len(info.rows) - 0.4, -0.6), xlabel=info.x_label, ylabel=shortened(info.y_label, 50))
    if info.is_share:
        keep_shares(ax, "x")
    set_head(ax, info.title, info.subtitle)
    return ax


def luck_table(info: LuckInfo) -> pd.DataFrame:
    """A row per seed of every configuration shown, in the units of the chart."""
    rows = [
        (place, row.config_id, row.name, seed, value, row.mean, row.low, row.high, row.is_tied)
        for place, row in enumerate(info.rows, 1)
        for seed, value in zip(row.seeds, row.values.tolist(), strict=True)
    ]
    names = ["rank", "config_id", "configuration", "seed", info.x_label, "mean", "low", "high", "is_tied"]
    return pd.DataFrame(rows, columns=names)


def luck_chart(loaded: Runs, *, metric: str = "", top: int = TOP) -> Chart:
    """The seeds of the best configurations, beside what luck alone is worth.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric, ("test/acc", "val/acc"))
    info = luck_info(runs, metric, top=max(top, 1), grid=loaded.grid)
    best = info.rows[0]
    alt = f"{info.title}. Best: {best.name}, mean {render_value('', best.mean)}. {info.subtitle}"
    size = (WIDTH + 0.8, 1.8 + ROW * len(info.rows))
    note = lost_note(len(runs), len(scored(runs, metric)), metric)
    return Chart(info.title, lambda ax: draw_luck(info, ax), luck_table(info), alt, size, tuple(filter(None, [note])))


def _values(configuration: Configuration, metric: str) -> Array:
    return np.array([float(run[metric]) for run in configuration.reported_runs(metric) if has_score(run, metric)])


def _row(configuration: Configuration, values: Array, tied: bool, settings: list[str], metric: str) -> Row:
    low, high = float("nan"), float("nan")
    if values.size > 1:
        interval = mean_interval(values)
        low, high = interval.low, interval.high
    if is_share(metric):
        low, high = max(low, 0.0), min(high, 100.0)
    first = configuration.runs[0]
    name = " · ".join(level_name(first[setting]) for setting in settings) or configuration.config_id
    seeds = tuple(int(run["seed"]) for run in configuration.reported_runs(metric) if has_score(run, metric))
    return Row(shortened(name, NAME), configuration.config_id, seeds, values, low, high, tied)


def _luck(groups: list[Array]) -> float:
    """Lead of the best of so many equal configurations with as many seeds as most have; NaN where seeds are single."""
    sd = pooled_sd(groups)
    seeds = int(np.median([group.size for group in groups]))
    return optimism_of_best(sd, seeds, len(groups)) if sd == sd else sd


def _subtitle(luck: float, tied: int, metric: str) -> str:
    parts = "tick: a seed; dot and line: mean with its 95 % t interval; †: tied with the best (Welch, Holm)."
    if luck != luck:
        return f"{parts} One seed each: how much luck is worth cannot be known."
    if tied == 1:
        return f"{parts} None is tied: the lead of the best is no luck."
    unit = " points" if is_share(metric) else ""
    return f"{parts} Grey: the lead by luck alone of the best of {tied} equal ones, {luck:.3g}{unit}."
