"""Two settings against each other: a value and a verdict per cell, and the edge of stability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.data.baselines import chance_level
from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.data.selection import selected_configuration
from analysis.plots.chart import Chart
from analysis.plots.groups import (
    draw_legend,
    head,
    level_name,
    lost_note,
    pick_metric,
    pick_setting,
    scored,
    short_names,
)
from analysis.plots.scale import Array
from analysis.plots.style import OKABE_ITO, set_head, shortened
from analysis.text.levels import is_missing, level_key
from analysis.text.metrics import is_share, label, render_value
from analysis.verdicts.breakdown import STABLE_SHARE, stability_edges
from analysis.verdicts.judge import judge_runs
from anlp.core.errors import UserError
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

Value = Literal["best", "median"]
GLYPHS = {
    "converged": "✓",
    "improving": "↗",
    "overfit": "∪",
    "unstable": "≈",
    "collapsed": "↘",
    "stuck": "▬",
    "diverged": "✗",
    "too short": "…",
    "crashed": "!",
    "missing": "?",
}
CELL_WIDTH, CELL_HEIGHT = 0.78, 0.5  # inches
MAX_LEVELS = 24
FAINTEST = 0.05
EDGE = OKABE_ITO[1]


@dataclass(frozen=True, slots=True)
class HeatmapInfo:
    """What is drawn; arrays are (n_y, n_x), NaN where there is no value; accuracies in percent."""

    x: str
    y: str
    x_levels: tuple[Any, ...]
    y_levels: tuple[Any, ...]
    values: Array
    selected_by: Array  # the metric that selects, over the runs behind each value
    counts: Array  # runs with a value
    verdicts: tuple[tuple[str, ...], ...]  # the most frequent one of each cell, empty where unknown
    edges: tuple[tuple[int, int], ...]  # row and the last stable column
    metric: str
    select: str  # the metric that selects configurations
    chance: float | None
    title: str
    subtitle: str
    notes: tuple[str, ...]


def heatmap_info(
    loaded: Runs,
    x: str,
    y: str,
    metric: str,
    *,
    value: Value = "best",
    judged: pd.DataFrame | None = None,
) -> HeatmapInfo:
    """Return the grid of two settings.

    Args:
        loaded: with history, for the verdicts.
        x: a setting.
        y: another.
        metric: a column of the runs.
        value: of a cell: the mean of its best configuration, or the median of all its runs.
        judged: the runs with their verdicts, where they are known already.

    Raises:
        UserError: no run has finished with a finite metric, or a setting has too many values.
    """
    runs = loaded.runs
    finished = scored(runs, metric)
    x_levels, y_levels = _levels(runs, x, "--x"), _levels(runs, y, "--y")
    notes: list[str] = []
    if judged is None:
        judged, notes = _judged(loaded)
    place = {
        "x": {level: i for i, level in enumerate(x_levels)},
        "y": {level: i for i, level in enumerate(y_levels)},
    }
    select = selecting_metric(runs, metric)
    runs_of = dict(iter(runs.groupby([_keys(runs, y), _keys(runs, x)], sort=False)))
    values = np.full((len(y_levels), len(x_levels)), math.nan)
    by, columns = values.copy(), list(dict.fromkeys([metric, select]))
    counts = np.zeros(values.shape)
    factor = 100.0 if is_share(metric) else 1.0
    for (b, a), group in finished.groupby([_keys(finished, y), _keys(finished, x)], sort=False):
        row, column = place["y"][b], place["x"][a]
        if value == "best":
            chosen = _best_of(runs_of[b, a], group, select)[columns].mean()
        else:
            chosen = group[columns].median()
        values[row, column], by[row, column] = factor * chosen[metric], chosen[select]
        counts[row, column] = len(group)
    bound = chance_level(runs, metric)
    notes.append(lost_note(len(runs), len(finished), metric))
    chosen_by = "" if select == metric else f" by {select}"
    best = f"mean of its best configuration{chosen_by}"
    what = best if value == "best" else "median of its runs"
    return HeatmapInfo(
        x,
        y,
        tuple(x_levels),
        tuple(y_levels),
        values,
        by,
        counts,
        _verdicts(judged, x, y, place, values.shape),
        _edges(judged, x, y, x_levels, y_levels),
        metric,
        select,
        None if bound is None else factor * bound,
        head(
            loaded.grid,
            f"{label(metric)} by {shortened(y)} and {shortened(x)}, {count(len(finished), 'run')}",
        ),
        f"cell: {what}, and the most frequent verdict of its runs",
        tuple(filter(None, notes)),
    )


def draw_heatmap(info: HeatmapInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend of glyphs beside it; dark is best."""
    shade = _shade(info)
    colours = mpl.colormaps["viridis_r"](FAINTEST + (1 - FAINTEST) * np.nan_to_num(shade))
    colours[np.isnan(info.values)] = (1, 1, 1, 1)
    ax.imshow(colours, aspect="auto", interpolation="nearest")
    for row, column in np.ndindex(info.values.shape):
        _draw_cell(ax, info, row, column, is_dark=bool(shade[row, column] > 0.5))
    for row, column in info.edges:
        ax.plot(
            [column + 0.5] * 2,
            [row - 0.5, row + 0.5],
            color=EDGE,
            linewidth=3.5,
            solid_capstyle="butt",
        )
    ax.set_xticks(
        range(len(info.x_levels)), [shortened(name, 12) for name in short_names(info.x_levels)]
    )
    ax.set_yticks(
        range(len(info.y_levels)), [shortened(name) for name in short_names(info.y_levels)]
    )
    for place in range(1, len(info.x_levels)):
        ax.axvline(place - 0.5, color="white", linewidth=1.5)
    for place in range(1, len(info.y_levels)):
        ax.axhline(place - 0.5, color="white", linewidth=1.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=shortened(info.x, 40), ylabel=shortened(info.y, 40))
    set_head(ax, info.title, info.subtitle)
    _draw_legend(info, ax)
    return ax


def heatmap_table(info: HeatmapInfo) -> pd.DataFrame:
    """Return a row per cell, in the units of the chart."""
    edges = dict(info.edges)
    rows = [
        (
            level_name(info.y_levels[row]),
            level_name(info.x_levels[column]),
            info.values[row, column],
            int(info.counts[row, column]),
            info.verdicts[row][column],
            None if row not in edges else column <= edges[row],
        )
        for row, column in np.ndindex(info.values.shape)
    ]
    return pd.DataFrame(
        rows, columns=[info.y, info.x, label(info.metric), "n", "verdict", "is_stable"]
    )


def heatmap_chart(
    loaded: Runs,
    *,
    metric: str = "",
    x: str = "",
    y: str = "",
    value: Value = "best",
    judged: pd.DataFrame | None = None,
) -> Chart:
    """Return a metric over two settings with verdicts and the edge of stability.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric)
    x = pick_setting(runs if x else runs.drop(columns=[y], errors="ignore"), x, "--x", ("lr",))
    y = pick_setting(
        runs if y else runs.drop(columns=[x], errors="ignore"), y, "--y", ("optimizer", "model")
    )
    if x == y:
        raise UserError(f"--x and --y are both {x}: name two settings")
    info = heatmap_info(loaded, x, y, metric, value=value, judged=judged)
    sign = 1.0 if higher_is_better(info.select) else -1.0
    known = np.where(np.isnan(info.selected_by), -np.inf, sign * info.selected_by)
    row, column = np.unravel_index(int(known.argmax()), known.shape)
    best = f"{y}={level_name(info.y_levels[row])}, {x}={level_name(info.x_levels[column])}"
    alt = f"{info.title}. Best: {info.values[row, column]:.4g} at {best}. {_edges_said(info)}"
    size = (3.0 + CELL_WIDTH * len(info.x_levels), 1.9 + CELL_HEIGHT * len(info.y_levels))
    return Chart(
        info.title,
        lambda ax: draw_heatmap(info, ax),
        heatmap_table(info),
        alt,
        (max(size[0], 5.5), size[1]),
        info.notes,
    )


def _levels(runs: pd.DataFrame, name: str, option: str) -> list[Any]:
    found = sorted(set(_keys(runs, name)), key=level_key)
    if len(found) > MAX_LEVELS:
        raise UserError(
            f"{option} {name}: {len(found)} values make no readable map "
            f"(at most {MAX_LEVELS}); use --only"
        )
    return found


def _keys(runs: pd.DataFrame, name: str) -> list[Any]:
    """Return the values of a setting, no two missing ones different."""
    return [level_name(value) if is_missing(value) else value for value in runs[name].tolist()]


def _judged(loaded: Runs) -> tuple[pd.DataFrame | None, list[str]]:
    try:
        return judge_runs(loaded.runs, loaded.history).runs, []
    except UserError as error:
        return None, [f"no verdicts: {error}"]


def _best_of(cell: pd.DataFrame, finished: pd.DataFrame, select: str) -> pd.DataFrame:
    """Return the finished runs of the configuration that is selected within a cell."""
    best_id = selected_configuration(cell, select)
    return finished if best_id is None else finished[finished["config_id"] == best_id]


def _verdicts(
    judged: pd.DataFrame | None,
    x: str,
    y: str,
    place: dict[str, dict[Any, int]],
    shape: tuple[int, ...],
) -> tuple[tuple[str, ...], ...]:
    found = [[""] * shape[1] for _ in range(shape[0])]
    if judged is not None:
        for (b, a), group in judged.groupby([_keys(judged, y), _keys(judged, x)], sort=False):
            counts = group["verdict"].value_counts()
            most = [str(name) for name, number in counts.items() if number == counts.max()]
            found[place["y"][b]][place["x"][a]] = min(most, key=list(GLYPHS).index)
    return tuple(map(tuple, found))


def _edges(
    judged: pd.DataFrame | None, x: str, y: str, x_levels: list[Any], y_levels: list[Any]
) -> tuple[tuple[int, int], ...]:
    if judged is None:
        return ()
    rows = {f"{y}={level_name(level)}": index for index, level in enumerate(y_levels)}
    only = {"": 0} if len(y_levels) == 1 else {}
    found = stability_edges(judged, setting=x, by=y)
    places = [
        ((rows | only)[edge.by], x_levels.index(edge.value))
        for edge in found
        if edge.value is not None and edge.by in rows | only
    ]
    return tuple(sorted(places))


def _shade(info: HeatmapInfo) -> Array:
    """Return 0 to 1, 1 for the best; below chance counts as chance where some are better."""
    sign = 1.0 if higher_is_better(info.metric) else -1.0
    values = sign * info.values
    best, worst = float(np.nanmax(values)), float(np.nanmin(values))
    if info.chance is not None and best > sign * info.chance:
        worst = max(worst, sign * info.chance)
    if best <= worst:
        return np.where(np.isnan(values), np.nan, 1.0)
    return np.clip((values - worst) / (best - worst), 0.0, 1.0)


def _draw_cell(ax: Axes, info: HeatmapInfo, row: int, column: int, *, is_dark: bool) -> None:
    value, verdict = info.values[row, column], info.verdicts[row][column]
    text = "" if math.isnan(value) else _written(info.metric, value)
    colour = "white" if is_dark else "black"
    if text:
        ax.text(
            column,
            row - (0.16 if verdict else 0),
            text,
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
        )
    if verdict:
        ax.text(
            column, row + 0.22, GLYPHS[verdict], ha="center", va="center", color=colour, fontsize=9
        )
    elif not text:
        ax.text(column, row, "–", ha="center", va="center", color="0.4")


def _written(metric: str, value: float) -> str:
    return f"{value:.1f}" if is_share(metric) else render_value(metric, value)


def _draw_legend(info: HeatmapInfo, ax: Axes) -> None:
    used = {verdict for row in info.verdicts for verdict in row}
    texts = [f"{glyph}  {name}" for name, glyph in GLYPHS.items() if name in used]
    handles: list[Line2D] = [Line2D([], [], linestyle="", label=text) for text in texts]
    if info.edges:
        handles.append(Line2D([], [], color=EDGE, linewidth=3.5, label="edge of stability"))
    draw_legend(ax, handles, "verdict" if texts else "")


def _edges_said(info: HeatmapInfo) -> str:
    if not info.edges:
        return f"No {info.x} is known at which {STABLE_SHARE:.0%} of the runs learned."
    parts = [
        f"{level_name(info.y_levels[row])} up to {level_name(info.x_levels[column])}"
        for row, column in info.edges
    ]
    return f"{STABLE_SHARE:.0%} of the runs learned: {', '.join(parts)}."
