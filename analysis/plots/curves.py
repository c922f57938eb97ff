"""Learning curves: a thin line per run, coloured by one setting; nothing is averaged away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.metrics import is_share, label
from analysis.plots.paper import OKABE_ITO, shortened
from analysis.plots.scale import Array, is_missing
from analysis.sheet import render_level
from analysis.tabulate import level_key

RASTER_ABOVE = 2_000
MAX_LEGEND = 12
GREY = "0.6"


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one level."""

    name: str
    colour: Any  # anything that matplotlib takes
    curves: tuple[Array, ...]  # (n_epochs, 2) each: epoch and value, finite


@dataclass(frozen=True, slots=True)
class CurvesInfo:
    """What is drawn; accuracies in percent."""

    groups: tuple[Group, ...]
    by: str  # empty: one group
    y_label: str
    title: str
    chance: float | None  # level of the better baseline, where there is one


def curves_info(
    runs: pd.DataFrame, history: pd.DataFrame, metric: str, by: str = "", *, chance: float | None = None, grid: str = ""
) -> CurvesInfo:
    """The curves of all runs that logged `metric`, finished or not.

    Args:
        runs: see `analysis.frame`.
        history: likewise; its column `metric` is on the y axis.
        metric: as in `history`.
        by: the setting that colours; empty for none.
        chance: value of the baseline, in the unit of `history`.
        grid: for the title.
    """
    factor = 100.0 if is_share(metric) else 1.0
    curves = _curves(history, metric, factor)
    found = {str(run): (level if by else None) for run, level in zip(runs["run_id"], runs[by or "run_id"], strict=True)}
    levels = sorted({_name(found[run]): found[run] for run in curves if run in found}.items(), key=_order)
    colours = _colours([level for _, level in levels])
    groups = tuple(
        Group(name, colour, tuple(curves[run] for run in curves if run in found and _name(found[run]) == name))
        for (name, _), colour in zip(levels, colours, strict=True)
    )
    shown = sum(len(group.curves) for group in groups)
    title = f"{shortened(grid, 40)}: " if grid else ""
    title += f"{metric} of {shown:,} of {len(runs):,} runs, a line each"
    return CurvesInfo(groups, by, label(metric), title, None if chance is None else factor * chance)


def draw_curves(info: CurvesInfo, ax: Axes) -> Axes:
    """The chart on `ax`, its legend beside it."""
    count = sum(len(group.curves) for group in info.groups)
    opacity = min(1.0, 1.5 / max(count, 1) ** 0.3)
    for group in info.groups:
        lines = LineCollection(list(group.curves), colors=[group.colour], alpha=opacity, linewidths=0.9)
        lines.set_rasterized(count > RASTER_ABOVE)
        ax.add_collection(lines)
        points = np.array([curve[0] for curve in group.curves if len(curve) == 1]).reshape(-1, 2)
        ax.plot(points[:, 0], points[:, 1], "o", color=group.colour, markersize=3)  # a single epoch makes no line
    if info.chance is not None:
        ax.axhline(info.chance, color="0.4", linewidth=0.8, linestyle=":")
    ax.autoscale_view()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch (0: before the first update)", ylabel=info.y_label)
    ax.set_title(info.title)
    _draw_legend(info, ax)
    return ax


def _curves(history: pd.DataFrame, metric: str, factor: float) -> dict[str, Array]:
    finite = history[np.isfinite(history[metric].astype(float)) & history["epoch"].notna()]
    return {
        str(run): np.column_stack([lines["epoch"].to_numpy(float), factor * lines[metric].to_numpy(float)])
        for run, lines in finite.groupby("run_id", sort=True)
    }


def _name(level: Any) -> str:
    return render_level(None if is_missing(level) else level)


def _order(item: tuple[str, Any]) -> tuple[int, float, str]:
    return level_key(item[1])


def _colours(levels: list[Any]) -> list[Any]:
    """Numbers on a scale of lightness by their order; names in colours that all eyes tell apart, grey beyond those."""
    if any(isinstance(level, str | bool) for level in levels) or len(levels) == 1:
        return [OKABE_ITO[index] if index < len(OKABE_ITO) else GREY for index in range(len(levels))]
    return [mpl.colormaps["viridis_r"](0.12 + 0.88 * index / max(len(levels) - 1, 1)) for index in range(len(levels))]


def _draw_legend(info: CurvesInfo, ax: Axes) -> None:
    """Every level, or evenly chosen ones where they are many; highest first, as the curves of an axis are read."""
    step = -(-len(info.groups) // MAX_LEGEND) or 1
    chosen = list(info.groups)[::-1][::step] if info.by else []
    handles = [Line2D([], [], color=group.colour, linewidth=2, label=shortened(group.name)) for group in chosen]
    if info.chance is not None:
        handles.append(Line2D([], [], color="0.4", linewidth=0.8, linestyle=":", label="best baseline"))
    if handles:
        title = shortened(info.by) or None
        ax.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
