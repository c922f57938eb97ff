"""Decision map of the plane: the class answered at each place, with the test points."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.data.load import Runs
from analysis.data.predictions import softmax, want_classes
from analysis.plots.chart import Chart
from analysis.plots.groups import MARKERS, draw_legend, head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import OKABE_ITO, set_head, shortened
from anlp.core.errors import UserError

COLOURS = (*OKABE_ITO[:6], "#8A6642", "#7F7F7F", "#4B0092", "#B0B000", "#1A1A1A", "#A2142F")
POINTS_SHOWN = 1_500
HALO = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
SURE = 0.55  # strength of the colour where the answer is certain


@dataclass(frozen=True, slots=True)
class BoundaryInfo:
    """What is drawn."""

    names: tuple[str, ...]
    x: Array  # (n_x,) ascending
    y: Array  # (n_y,) ascending
    answers: Array  # (n_y, n_x) class
    confidence: Array  # (n_y, n_x) of the answer, mean over seeds
    points: Array  # (n_points, 2), none where the runs did not keep them
    targets: Array  # (n_points,)
    is_wrong: Array  # (n_points,) share of the seeds that answer something else
    title: str
    subtitle: str


def boundary_info(seeds: Seeds) -> BoundaryInfo:
    """Return the map of the seeds of one configuration.

    Args:
        seeds: of a task on a plane.

    Raises:
        UserError: the runs have probed no plane.
    """
    first = seeds.found[0]
    if first.probe is None or first.probe_outputs is None:
        raise UserError(
            "these runs kept no map of the plane: a boundary is of points with two coordinates"
        )
    maps = [softmax(one.probe_outputs) for one in seeds.found if one.probe_outputs is not None]
    mean = np.mean(maps, axis=0)
    x, column = np.unique(first.probe[:, 0], return_inverse=True)
    y, row = np.unique(first.probe[:, 1], return_inverse=True)
    answers, confidence = np.full((y.size, x.size), np.nan), np.full((y.size, x.size), np.nan)
    answers[row, column], confidence[row, column] = mean.argmax(axis=1), mean.max(axis=1)
    wrong = np.mean([one.outputs.argmax(axis=1) != first.classes for one in seeds.found], axis=0)
    points = first.points if first.points is not None else np.zeros((0, 2))
    names = (
        first.names if len(first.names) == mean.shape[1] else tuple(map(str, range(mean.shape[1])))
    )
    kept = slice(0, min(len(points), POINTS_SHOWN))
    return BoundaryInfo(
        names,
        x,
        y,
        answers,
        confidence,
        points[kept],
        first.targets[: len(points)][kept],
        wrong[: len(points)][kept],
        head(seeds.grid, f"decision map, {seeds.said}"),
        _subtitle(len(points), len(seeds.found)),
    )


def draw_boundary(info: BoundaryInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it."""
    palette = np.array(
        [mpl.colors.to_rgb(COLOURS[index % len(COLOURS)]) for index in range(len(info.names))]
    )
    strength = SURE * np.nan_to_num(info.confidence)[..., None] ** 2
    answers = np.nan_to_num(info.answers).astype(int)
    image = 1 - strength * (1 - palette[answers])
    step_x, step_y = (_step(axis) for axis in (info.x, info.y))
    extent = (
        info.x[0] - step_x / 2,
        info.x[-1] + step_x / 2,
        info.y[0] - step_y / 2,
        info.y[-1] + step_y / 2,
    )
    ax.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    if min(answers.shape) > 1:
        for index in range(len(info.names)):
            ax.contour(
                info.x, info.y, answers == index, levels=[0.5], colors="0.15", linewidths=0.7
            )
    for index in range(len(info.names)):
        mine = info.targets == index
        for wrong in (False, True):
            chosen = info.points[mine & ((info.is_wrong > 0.5) == wrong)]
            ax.plot(
                *chosen.T,
                linestyle="",
                marker=MARKERS[index % len(MARKERS)],
                markersize=4.5 if wrong else 2.6,
                color=palette[index], markeredgecolor="black" if wrong else "white",
                markeredgewidth=0.9 if wrong else 0.25,
            )  # fmt: skip
    for index, name in enumerate(info.names):
        _name_region(ax, info, index, shortened(name, 14))
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="first coordinate", ylabel="second coordinate")
    set_head(ax, info.title, info.subtitle)
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKERS[i % len(MARKERS)],
            color=palette[i],
            label=shortened(name),
        )
        for i, name in enumerate(info.names)
    ]
    draw_legend(ax, handles, "class")
    return ax


def boundary_table(info: BoundaryInfo) -> pd.DataFrame:
    """Return a row per cell of the map."""
    columns, rows = np.meshgrid(info.x, info.y)
    known = np.isfinite(info.answers)
    return pd.DataFrame(
        {
            "x": columns[known],
            "y": rows[known],
            "answer": [info.names[int(index)] for index in info.answers[known]],
            "confidence": info.confidence[known],
        }
    )


def boundary_chart(loaded: Runs, *, metric: str = "") -> Chart:
    """Return the decision map of the best configuration (`--only` chooses another), over its seeds.

    Raises:
        UserError: no run wrote predictions, or none on a plane.
    """
    seeds = load_seeds(loaded, metric)
    want_classes(seeds.found, "a decision map")
    info = boundary_info(seeds)
    areas = [
        f"{name} {np.mean(info.answers == index):.0%}" for index, name in enumerate(info.names)
    ]
    alt = f"{info.title}. Areas: {', '.join(areas)}."
    return Chart(
        info.title, lambda ax: draw_boundary(info, ax), boundary_table(info), alt, (6.8, 5.2)
    )


def _name_region(ax: Axes, info: BoundaryInfo, index: int, name: str) -> None:
    """Write each class in the middle of its largest region, for prints without colour."""
    from scipy.ndimage import distance_transform_edt  # a moment to import

    inside = np.pad(info.answers == index, 1)
    if not inside.any():
        return
    depth = distance_transform_edt(inside)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    ax.text(
        info.x[column], info.y[row], name, ha="center", va="center", fontsize=8, bbox=HALO, zorder=5
    )


def _step(axis: Array) -> float:
    return float(axis[1] - axis[0]) if axis.size > 1 else 1.0


def _subtitle(points: int, seeds: int) -> str:
    mean = " of the mean over seeds" if seeds > 1 else ""
    said = f"colour: the answer{mean}, pale where it is unsure"
    if not points:
        return f"{said}; the test points were not kept"
    shown = f"the first {POINTS_SHOWN:,} " if points > POINTS_SHOWN else ""
    return f"{said}; points: {shown}test samples, black rim where most seeds are wrong"
