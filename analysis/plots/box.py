"""Spread of a metric at each value of a setting: points, boxes or violins, failed runs counted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.baselines import chance_level
from analysis.data.load import Runs
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import (
    CONFIGURATION,
    beyond,
    has_room,
    head,
    level_colours,
    lost_note,
    pick_metric,
    pick_setting,
    scored,
    split_by,
)
from analysis.plots.scale import Array
from analysis.plots.style import set_head, shortened
from analysis.text.metrics import is_share, label, render_value
from anlp.core.units import count

Style = Literal["box", "violin", "points"]
FEW = 8  # values of one level: fewer are drawn as points, a box would pretend to know quartiles
SPREAD = 0.18  # of the distance between two levels
RASTER_ABOVE = 2_000
MAX_LEVELS = 40
ROW = 0.42  # inches
SMALL, LARGE = 9, 20  # square points of a run beside a box, and of one that has no box
LONG, LOW_ROW = 12, 0.24  # more levels than that have lower rows


@dataclass(frozen=True, slots=True)
class Level:
    """The runs at one value of the setting."""

    name: str
    colour: Any
    values: Array  # (n_finished,) in the units of the chart
    offsets: Array  # (n_finished,) in [-1, 1], fixed for a run
    lost: int  # runs without a value


@dataclass(frozen=True, slots=True)
class BoxInfo:
    """What is drawn; accuracies in percent."""

    levels: tuple[Level, ...]
    style: Style
    by: str
    x_label: str
    chance: float | None
    title: str
    subtitle: str

    @property
    def is_long(self) -> bool:
        """Return whether a level has to do with one line of text."""
        return len(self.levels) > LONG


def box_info(
    runs: pd.DataFrame, metric: str, by: str, *, style: Style | None = None, grid: str = ""
) -> BoxInfo:
    """Return the spread of `metric` at each level of `by`.

    Args:
        runs: see `analysis.data.frames`.
        metric: a column of it.
        by: a setting, `seed`, or `configuration`.
        style: points where a level has few runs, else boxes, unless given.
        grid: for the title.

    Raises:
        UserError: no run has finished with a finite metric.
    """
    finished = scored(runs, metric)
    groups = [(name, level, group) for name, level, group in split_by(runs, by)][:MAX_LEVELS]
    colours = level_colours([level for _, level, _ in groups])
    levels = tuple(
        _level(name, colour, group, metric)
        for (name, _, group), colour in zip(groups, colours, strict=True)
    )
    least = min((level.values.size for level in levels if level.values.size), default=0)
    chosen: Style = style or ("points" if least < FEW else "box")
    bound = chance_level(runs, metric)
    return BoxInfo(
        levels,
        chosen,
        by,
        label(metric),
        None if bound is None or not is_share(metric) else 100 * bound,
        head(
            grid, f"{metric} by {shortened(by, 40)}, {count(len(finished), 'run')} of {len(runs):,}"
        ),
        _subtitle(chosen),
    )


def draw_box(info: BoxInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, a row per level, the first at the top."""
    for place, level in enumerate(info.levels):
        if not level.values.size:
            continue
        if info.style == "violin" and np.ptp(level.values) > 0:
            _draw_violin(ax, place, level)
        elif info.style != "points":
            _draw_box(ax, place, level)
        y = place + SPREAD * level.offsets
        ax.scatter(
            level.values,
            y,
            s=LARGE if info.style == "points" else SMALL,
            color=level.colour,
            alpha=0.5,
            linewidths=0,
            zorder=3, rasterized=level.values.size > RASTER_ABOVE,
        )  # fmt: skip
        ax.plot(
            [np.median(level.values)] * 2,
            [place - 0.28, place + 0.28],
            color="black",
            linewidth=1.6,
            zorder=4,
        )
    has_line = has_room(info.chance, np.concatenate([level.values for level in info.levels]))
    if info.chance is not None and has_line:
        ax.axvline(info.chance, color="0.4", linewidth=0.9, linestyle=":")
        ax.text(info.chance, -0.92, " chance level", color="0.3", fontsize=7.5, ha="left", va="top")
    ax.set_yticks(
        range(len(info.levels)),
        [_row_name(level, " · " if info.is_long else "\n") for level in info.levels],
    )
    ax.set(
        ylim=(len(info.levels) - 0.4, -0.95 if has_line else -0.65),
        xlabel=info.x_label,
        ylabel=shortened(info.by, 40),
    )
    set_head(ax, info.title, info.subtitle if has_line else beyond(info.subtitle, info.chance))
    return ax


def box_table(runs: pd.DataFrame, metric: str, by: str) -> pd.DataFrame:
    """Return a row per run: the level, the value, and how it ended."""
    columns = [
        "run_id",
        *([] if by == CONFIGURATION else [by]),
        "config_id",
        "seed",
        "outcome",
        metric,
    ]
    return runs[list(dict.fromkeys(columns))]


def box_chart(loaded: Runs, *, metric: str = "", by: str = "", style: Style | None = None) -> Chart:
    """Return a metric by the levels of a setting.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric, ("test/acc", "val/acc"))
    by = CONFIGURATION if by == CONFIGURATION else pick_setting(runs, by, "--by")
    info = box_info(runs, metric, by, style=style, grid=loaded.grid)
    medians = "; ".join(_said(level, metric) for level in info.levels)
    notes = [lost_note(len(runs), sum(level.values.size for level in info.levels), metric)]
    if len(split_by(runs, by)) > MAX_LEVELS:
        notes.append(f"{by} has more than {MAX_LEVELS} values: the first {MAX_LEVELS} are shown")
    return Chart(
        info.title,
        lambda ax: draw_box(info, ax),
        box_table(runs, metric, by),
        f"{info.title}. Medians: {medians}.",
        (WIDTH, 1.6 + (LOW_ROW if info.is_long else ROW) * len(info.levels)),
        tuple(filter(None, notes)),
    )


def _level(name: str, colour: Any, group: pd.DataFrame, metric: str) -> Level:
    finished = group[(group["outcome"] == "ok") & np.isfinite(group[metric].astype(float))]
    factor = 100.0 if is_share(metric) else 1.0
    offsets = [
        hashlib.blake2b(str(run).encode(), digest_size=1).digest()[0] / 127.5 - 1
        for run in finished["run_id"]
    ]
    values = factor * finished[metric].to_numpy(np.float64)
    return Level(name, colour, values, np.array(offsets), len(group) - len(finished))


def _row_name(level: Level, between: str) -> str:
    lost = f", {level.lost} lost" if level.lost else ""
    return f"{shortened(level.name, 30)}{between}n = {level.values.size}{lost}"


def _subtitle(style: Style) -> str:
    shapes = {
        "box": "box: middle half, whiskers: 1.5 times as far or the last run; ",
        "violin": "violin: density of the runs; ",
        "points": "",
    }
    return f"{shapes[style]}bar: median; points: every run"


def _said(level: Level, metric: str) -> str:
    if not level.values.size:
        return f"{level.name} none"
    factor = 100.0 if is_share(metric) else 1.0
    return f"{level.name} {render_value(metric, float(np.median(level.values)) / factor)}"


def _draw_box(ax: Axes, place: int, level: Level) -> None:
    ax.boxplot(
        level.values,
        positions=[place],
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        manage_ticks=False,
        medianprops={"linewidth": 0}, boxprops={"color": "0.35"}, whiskerprops={"color": "0.35"},
        capprops={"color": "0.35"},
    )  # fmt: skip


def _draw_violin(ax: Axes, place: int, level: Level) -> None:
    shape = ax.violinplot(
        level.values, [place], orientation="horizontal", widths=0.75, showextrema=False
    )
    for body in shape["bodies"]:  # type: ignore[attr-defined]  # a dictionary of collections and lists of them
        body.set_facecolor(level.colour)
        body.set_alpha(0.25)
