"""A metric against a numeric setting: validation loss against learning rate, for example."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.data.baselines import chance_level
from analysis.data.frames import varying_settings
from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.data.selection import selected_of_each
from analysis.plots.chart import Chart
from analysis.plots.groups import (
    GREY,
    Look,
    beyond,
    draw_legend,
    has_room,
    head,
    level_name,
    looks,
    pick_metric,
    pick_setting,
    scored,
    split_by,
)
from analysis.plots.level_axis import LevelAxis
from analysis.plots.scale import Array
from analysis.plots.style import keep_shares, set_head, set_log, shortened
from analysis.stats.intervals import seed_interval
from analysis.text.levels import is_missing
from analysis.text.metrics import is_share, label, render_value
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

Value = Literal["best", "median"]
LOG_Y = 30  # losses likewise
RASTER_ABOVE = 2_000
SUBTITLES = {
    "best": "line: the best configuration at each {x}{by}, "
    "its mean over seeds with the 95 % t interval; points: every run",
    "median": "line: median of all runs at each {x}, "
    "with the middle half of them; points: every run",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a line shows: a metric of the configurations that another one selects."""

    metric: str
    select: str
    value: Value


@dataclass(frozen=True, slots=True)
class Line:
    """One group; arrays are (n_levels,) and parallel."""

    name: str
    look: Look
    at: Array  # positions on the x axis
    levels: tuple[float, ...]
    centre: Array
    low: Array  # NaN for fewer than three seeds
    high: Array
    n: tuple[int, ...]  # runs behind the centre
    configurations: tuple[str, ...]  # config_id where the centre is of one, else empty
    selected_by: Array  # the metric that selects, over the runs behind the centre
    points: Array  # (n_runs, 2) every run
    lost: tuple[
        tuple[float, float, int], ...
    ]  # level, its position, runs there that diverged or failed


@dataclass(frozen=True, slots=True)
class SweepInfo:
    """What is drawn; accuracies in percent."""

    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    by: str
    x_label: str
    y_label: str
    is_log_y: bool
    is_share: bool
    is_higher_better: bool
    select: str  # the metric that selects configurations
    chance: float | None
    title: str
    subtitle: str


def sweep_info(
    runs: pd.DataFrame, x: str, metric: str, by: str = "", *, value: Value = "best", grid: str = ""
) -> SweepInfo:
    """Return what becomes of `metric` along the setting `x`.

    Args:
        runs: see `analysis.data.frames`.
        x: a setting that is a number.
        metric: a column of `runs`.
        by: a setting that makes groups; empty for none.
        value: what a line shows: the best configuration at each level, or the median of all runs.
        grid: for the title.

    Raises:
        UserError: no run has finished with a finite metric.
    """
    usable = runs[~runs[x].map(is_missing).astype(bool)]
    finished = scored(usable, metric)
    select = selecting_metric(runs, metric)
    shown = Shown(metric, select, value)
    axis = LevelAxis(usable[x].to_numpy(np.float64))
    groups = split_by(usable, by)
    styles = looks([level for _, level, _ in groups])
    lines = tuple(
        _line(name, styles[i], group, axis.beside(i, len(groups)), x, shown)
        for i, (name, _, group) in enumerate(groups)
    )
    values = finished[metric].to_numpy(float)
    bound = chance_level(runs, metric)
    factor = _factor(metric)
    return SweepInfo(
        lines=lines,
        ticks=axis.ticks(),
        by=by,
        x_label=f"{shortened(x, 40)}{' (log)' if axis.is_log else ''}",
        y_label=label(metric),
        is_log_y=bool(
            not is_share(metric) and values.min() > 0 and values.max() / values.min() > LOG_Y
        ),
        is_share=is_share(metric),
        is_higher_better=higher_is_better(metric),
        select=select,
        chance=None if bound is None else factor * bound,
        title=head(
            grid,
            f"{metric} against {shortened(x, 40)}, {count(len(finished), 'run')} of {len(runs):,}",
        ),
        subtitle=SUBTITLES[value].format(x=shortened(x), by=_selected_by(metric, select)),
    )


def draw_sweep(info: SweepInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it."""
    for line in info.lines:
        colour = line.look.colour
        x, y = line.points.T
        ax.scatter(
            x, y, s=8, color=colour, alpha=0.35, linewidths=0, rasterized=len(x) > RASTER_ABOVE
        )
        ax.plot(
            line.at,
            line.centre,
            color=colour,
            linestyle=line.look.dash,
            marker=line.look.marker,
            markersize=5,
        )
        edge = 0.015 if info.is_higher_better else 0.985
        for _, at, _ in line.lost:
            ax.plot(at, edge, "x", color=colour, transform=ax.get_xaxis_transform(), clip_on=False)
    has_line = info.chance is not None and _has_room(info)
    if info.chance is not None and has_line:
        ax.axhline(info.chance, color="0.4", linewidth=0.9, linestyle=":")
    if info.is_log_y:
        set_log(ax)
    _draw_intervals(info, ax)
    ax.set_xticks([at for at, _ in info.ticks], [text for _, text in info.ticks])
    ax.set(xlabel=info.x_label, ylabel=info.y_label)
    set_head(ax, info.title, info.subtitle if has_line else beyond(info.subtitle, info.chance))
    draw_legend(ax, _handles(info), info.by)
    return ax


def _draw_intervals(info: SweepInfo, ax: Axes) -> None:
    """Draw the intervals; on a logarithmic axis one that reaches 0 goes on to its lower edge."""
    for line in info.lines:
        for ends in (line.low, line.high):
            inside = np.where(ends > 0, ends, np.nan) if info.is_log_y else ends
            ax.plot(line.at, inside, " ")  # nothing to see: the axis makes way for the ends
    if info.is_share:
        keep_shares(ax, "y")
    bottom, top = ax.get_ylim()
    for line in info.lines:
        low = np.where(line.low <= 0, bottom, line.low) if info.is_log_y else line.low
        ax.vlines(line.at, low, line.high, color=line.look.colour, linewidth=1.6, alpha=0.8)
    ax.set_ylim(bottom, top)


def sweep_table(info: SweepInfo) -> pd.DataFrame:
    """Return a row per point of a line, in the units of the chart."""
    rows = [
        (
            line.name,
            level,
            line.centre[i],
            line.low[i],
            line.high[i],
            line.n[i],
            line.configurations[i],
        )
        for line in info.lines
        for i, level in enumerate(line.levels)
    ]
    names = [
        info.by or "group",
        info.x_label.removesuffix(" (log)"),
        info.y_label,
        "low",
        "high",
        "n",
        "config_id",
    ]
    return pd.DataFrame(rows, columns=_distinct(names))


def sweep_chart(
    loaded: Runs, *, metric: str = "", x: str = "", by: str = "", value: Value = "best"
) -> Chart:
    """Validation loss (or any metric) against the learning rate (or any number), a line per group.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric, ("val/loss",))
    x = pick_setting(runs, x, "--x", ("lr",), is_number=True)
    by = pick_setting(runs, by, "--by") if by else usual_group(runs, x)
    return chart_of(sweep_info(runs, x, metric, by, value=value, grid=loaded.grid), x, metric)


def chart_of(info: SweepInfo, x: str, metric: str) -> Chart:
    """Return the chart of this data; its words tell the best point of each line."""
    best = "; ".join(
        f"{f'{info.by}={line.name}: ' if info.by else ''}{_best(line, info, x)}"
        for line in info.lines
    )
    alt = f"{info.title}. {_heading(info, metric)} per line: {best}."
    return Chart(
        info.title,
        lambda ax: draw_sweep(info, ax),
        sweep_table(info),
        alt,
        notes=tuple(_notes(info, x)),
    )


def usual_group(runs: pd.DataFrame, x: str, usual: tuple[str, ...] = ("optimizer", "model")) -> str:
    """Return the setting that separates the lines unless named; empty if no usual one varies."""
    varying = varying_settings(runs)
    return next((name for name in usual if name in varying and name != x), "")


def _line(
    name: str, look: Look, group: pd.DataFrame, axis: LevelAxis, x: str, shown: Shown
) -> Line:
    metric = shown.metric
    finite = (group["outcome"] == "ok") & np.isfinite(group[metric].astype(float))
    finished, lost = group[finite], group[group["outcome"].isin(["diverged", "failed"])]
    found = _points(group, x, shown)
    factor = _factor(metric)
    numbers = factor * np.array(
        [(one.centre, one.low, one.high) for one in found], dtype=float
    ).reshape(-1, 3)
    points = np.column_stack(
        [finished[x].astype(float).map(axis.at), factor * finished[metric].astype(float)]
    )
    missed = lost[x].astype(float).value_counts().sort_index()
    return Line(
        name=name,
        look=look,
        at=np.array([axis.at(one.level) for one in found]),
        levels=tuple(one.level for one in found),
        centre=numbers[:, 0],
        low=numbers[:, 1],
        high=numbers[:, 2],
        n=tuple(one.n for one in found),
        configurations=tuple(one.config_id for one in found),
        selected_by=np.array([one.selected_by for one in found]),
        points=points.astype(float).reshape(-1, 2),
        lost=tuple(
            (level, axis.at(level), int(n))
            for level, n in zip(missed.index.tolist(), missed, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """One point of a line: centre, ends, the runs behind it, its configuration if it is one."""

    level: float
    centre: float
    low: float
    high: float
    n: int
    config_id: str
    selected_by: float


def _points(runs: pd.DataFrame, x: str, shown: Shown) -> list[_Point]:
    """Return the points of a line, one per level; grouped once for many levels.

    Args:
        runs: of the group, lost ones too.
        x: the setting.
        shown: the metrics, and what a point is.
    """
    is_shown = (runs["outcome"] == "ok") & np.isfinite(runs[shown.metric].astype(float))
    finished = runs[is_shown]
    if finished.empty:
        return []
    level, score = finished[x].astype(float), finished[shown.metric].astype(float)
    if shown.value == "median":
        parts = score.groupby(level, sort=True).quantile(np.array([0.25, 0.5, 0.75])).unstack()
        sizes = score.groupby(level, sort=True).size()
        by = finished[shown.select].astype(float).groupby(level, sort=True).median()
        rows = zip(parts.index, parts.to_numpy(float), sizes, by, strict=True)
        return [
            _Point(float(at), float(mid), float(low), float(high), int(n), "", float(select))
            for at, (low, mid, high), n, select in rows
        ]
    selected = selected_of_each(runs, shown.select, runs[x].astype(float).tolist())
    seeds = score.groupby([level, finished["config_id"]], sort=True).indices
    values: Array = np.asarray(score, dtype=np.float64)
    points = []
    for at, (config_id, by_mean) in sorted(selected.items()):
        places = seeds.get((at, config_id))
        if places is not None:
            low, high = seed_interval(values[places])
            mean, n = float(values[places].mean()), len(places)
            points.append(_Point(float(at), mean, low, high, n, config_id, by_mean))
    return points


def _handles(info: SweepInfo) -> list[Line2D]:
    shown = info.lines if info.by else ()
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            label=shortened(name),
        )
        for look, name in ((line.look, line.name) for line in shown)
    ]
    if any(line.lost for line in info.lines):
        handles.append(
            Line2D([], [], color=GREY, linestyle="", marker="x", label="diverged or failed")
        )
    if info.chance is not None and _has_room(info):
        handles.append(
            Line2D([], [], color="0.4", linewidth=0.9, linestyle=":", label="chance level")
        )
    return handles


def _has_room(info: SweepInfo) -> bool:
    values = np.concatenate([line.points[:, 1] for line in info.lines])
    if info.is_log_y and info.chance is not None:
        return has_room(math.log(info.chance), np.log(values)) if info.chance > 0 else False
    return has_room(info.chance, values)


def _best(line: Line, info: SweepInfo, x: str) -> str:
    if not line.centre.size:
        return "no run finished"
    by = line.selected_by if higher_is_better(info.select) else -line.selected_by
    index = int(np.where(np.isnan(by), -np.inf, by).argmax())
    return f"{render_value('', float(line.centre[index]))} at {x}={level_name(line.levels[index])}"


def _heading(info: SweepInfo, metric: str) -> str:
    """Return what the words beside the chart tell of each line."""
    if info.select == metric:
        return f"Best {metric}"
    return f"{metric} where {info.select} is best,"


def _selected_by(metric: str, select: str) -> str:
    """Return by which metric configurations are selected, where it is not the one shown."""
    return "" if select == metric else f" by {select}"


def _notes(info: SweepInfo, x: str) -> Iterator[str]:
    for line in info.lines:
        name = f" of {info.by}={shortened(line.name)}" if info.by else ""
        for level, _, number in line.lost:
            name_at = f"{name} at {x}={level_name(level)}"
            yield f"{count(number, 'run')}{name_at} diverged or failed: a cross at the edge"
        if len(line.levels) == 1:
            yield f"{x} has a single value{name}: a point, no line"


def _factor(metric: str) -> float:
    return 100.0 if is_share(metric) else 1.0


def _distinct(names: list[str]) -> list[str]:
    """Return names without doubles: group and setting may be one column."""
    return [
        name if names.index(name) == index else f"{name} ({index})"
        for index, name in enumerate(names)
    ]
