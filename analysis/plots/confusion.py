"""Which classes are taken for which: the confusion matrix, a mean over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm

from analysis.data.load import Runs
from analysis.data.predictions import want_classes
from analysis.plots.chart import Chart
from analysis.plots.groups import head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import set_head, shortened
from analysis.stats.classification import confusion, row_shares

WRITTEN = 14  # classes: more leave no room for numbers
NAMED = 40
CELL, SMALL_CELL = 0.58, 0.16  # inches
LEAST, MOST = 4.2, 11.0
SHADES = mpl.colormaps["Blues"]
SCALE = PowerNorm(0.5, 0, 100)  # the root of the share: a few mistakes can be seen, too
DARK = 40.0  # percent: the numbers are white above


@dataclass(frozen=True, slots=True)
class ConfusionInfo:
    """What is drawn; arrays are (n_classes, n_classes), classes in rows, answers in columns."""

    names: tuple[str, ...]
    shares: Array  # of the class, mean over seeds, in percent; NaN for a class without samples
    sds: Array  # of these over seeds, NaN for one seed
    counts: Array  # samples, mean over seeds
    n_seeds: int
    title: str
    subtitle: str


def confusion_info(seeds: Seeds) -> ConfusionInfo:
    """Return the matrix of the seeds of one configuration.

    Args:
        seeds: with classes.
    """
    classes = seeds.found[0].outputs.shape[1]
    matrices = np.stack(
        [confusion(one.classes, one.outputs.argmax(axis=1), classes) for one in seeds.found]
    )
    shares = 100 * row_shares(matrices)
    several = len(matrices) > 1
    names = seeds.found[0].names
    return ConfusionInfo(
        names if len(names) == classes else tuple(map(str, range(classes))),
        shares.mean(axis=0),
        shares.std(axis=0, ddof=1) if several else np.full(shares.shape[1:], np.nan),
        matrices.mean(axis=0),
        len(matrices),
        head(seeds.grid, f"confusion matrix, {seeds.said}"),
        "share of each true class [%], samples in brackets, colour by the root of the share"
        + (", mean ± standard deviation over seeds" if several else ""),
    )


def draw_confusion(info: ConfusionInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`; dark is often."""
    colours = SHADES(SCALE(np.nan_to_num(info.shares)))
    colours[np.isnan(info.shares)] = (1, 1, 1, 1)
    ax.imshow(colours, interpolation="nearest")
    if len(info.names) <= WRITTEN:
        for row, column in np.ndindex(info.shares.shape):
            _write(ax, info, row, column)
    step = -(-len(info.names) // NAMED)
    names = [shortened(name, 14) for name in info.names][::step]
    places = range(0, len(info.names), step)
    is_long = max(map(len, names)) > 4 and len(names) > 1
    ax.set_xticks(places, names, rotation=60 if is_long else 0, ha="right" if is_long else "center")
    if is_long:
        for text in ax.get_xticklabels():
            text.set_rotation_mode("anchor")
    ax.set_yticks(places, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="answer", ylabel="true class")
    if len(info.names) > WRITTEN:
        shades = ScalarMappable(SCALE, SHADES)
        figure = ax.get_figure(root=True)
        if figure is not None:
            figure.colorbar(shades, ax=ax, label="share of the true class [%]", shrink=0.8)
    set_head(ax, info.title, info.subtitle)
    return ax


def confusion_table(info: ConfusionInfo) -> pd.DataFrame:
    """Return a row per pair of class and answer."""
    rows = [
        (info.names[i], info.names[j], info.shares[i, j], info.sds[i, j], info.counts[i, j])
        for i, j in np.ndindex(info.shares.shape)
    ]
    return pd.DataFrame(rows, columns=["true", "answer", "share [%]", "sd over seeds", "samples"])


def confusion_chart(loaded: Runs, *, metric: str = "") -> Chart:
    """Return the confusion matrix of the best configuration (or by `--only`), over its seeds.

    Raises:
        UserError: no run wrote predictions, or they are of quantities.
    """
    seeds = load_seeds(loaded, metric)
    want_classes(seeds.found, "a confusion matrix")
    info = confusion_info(seeds)
    side = len(info.names) * (CELL if len(info.names) <= WRITTEN else SMALL_CELL) + 2.0
    side = min(max(side, LEAST), MOST)
    return Chart(
        info.title,
        lambda ax: draw_confusion(info, ax),
        confusion_table(info),
        f"{info.title}. {_worst(info)}",
        (side + 0.4, side),
    )


def _write(ax: Axes, info: ConfusionInfo, row: int, column: int) -> None:
    share, sd = info.shares[row, column], info.sds[row, column]
    if np.isnan(share) or (share == 0 and not sd > 0):
        return
    colour = "white" if share > DARK else "black"
    spread = f" ±{sd:.1f}" if np.isfinite(sd) else ""
    text = f"{share:.1f}\n" if row == column or share >= 0.05 else "<0.1\n"
    ax.text(column, row + 0.02, text, ha="center", va="center", color=colour, fontsize=8)
    samples = f"{info.counts[row, column]:.1f}".removesuffix(".0")
    small = f"{spread}\n({samples})".strip()
    ax.text(
        column,
        row + 0.2,
        small,
        ha="center",
        va="center",
        color=colour,
        fontsize=5.5,
        linespacing=0.95,
    )


def _worst(info: ConfusionInfo) -> str:
    """Return the most frequent mistake, in words."""
    off = np.where(np.eye(len(info.names), dtype=bool), -1.0, np.nan_to_num(info.shares))
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    if off[i, j] <= 0:
        return "No mistakes."
    return (
        f"Most frequent mistake: {info.names[i]} taken for {info.names[j]}, "
        f"{off[i, j]:.1f} % of its samples."
    )
