"""Samples of each class in the parts of a data set, and what the simplest predictors reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.data.labels import ClassCounts, class_counts
from analysis.data.load import Runs
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import draw_legend, head
from analysis.plots.scale import Array
from analysis.plots.style import OKABE_ITO, set_head, shortened

HATCHES = {"train": "", "val": "///", "test": "..."}
COLOURS = dict(
    zip(("train", "val", "test"), (OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[2]), strict=True)
)
ROW = 0.3  # inches
MAX_HEIGHT = 14.0
MAX_NAMES = 60  # classes that are named, each


@dataclass(frozen=True, slots=True)
class ClassesInfo:
    """What is drawn."""

    names: tuple[str, ...]
    counts: Mapping[str, Array]  # split -> (n_classes,) samples
    baselines: Mapping[str, float]  # name -> accuracy on the test set
    majority: int  # the most frequent class of the training set
    title: str

    def shares(self, split: str) -> Array:
        """Return the shares of the split in percent; 0 throughout where it has no samples."""
        return 100 * self.counts[split] / max(float(self.counts[split].sum()), 1.0)


def classes_info(found: ClassCounts, grid: str = "") -> ClassesInfo:
    """Return the histogram of one data set.

    Args:
        found: see `analysis.data.labels`.
        grid: for the title.
    """
    counts = {split: np.array(numbers, dtype=float) for split, numbers in found.counts.items()}
    sizes = ", ".join(f"{split} {int(numbers.sum()):,}" for split, numbers in counts.items())
    majority = int(counts["train"].argmax()) if "train" in counts else 0
    data = f" of {shortened(found.data, 30)}" if found.data else ""
    return ClassesInfo(
        found.names, counts, found.baselines, majority, head(grid, f"classes{data}: {sizes}")
    )


def draw_classes(info: ClassesInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, a row per class, its legend beside it."""
    places = np.arange(len(info.names))
    height = 0.8 / max(len(info.counts), 1)
    for index, split in enumerate(info.counts):
        at = places + (index - (len(info.counts) - 1) / 2) * height
        colour, hatch = COLOURS.get(split, "0.5"), HATCHES.get(split, "xx")
        ax.barh(
            at,
            info.shares(split),
            height,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
        )
    if "random" in info.baselines:
        ax.axvline(100 * info.baselines["random"], color="black", linewidth=1, linestyle=":")
    step = -(-len(info.names) // MAX_NAMES)
    ax.set_yticks(places[::step], [shortened(name, 24) for name in info.names][::step])
    ax.set(ylim=(len(info.names) - 0.4, -0.6), xlabel="share of the split [%]")
    set_head(ax, info.title, _baselines(info))
    handles: list[Artist] = [
        Patch(
            facecolor=COLOURS.get(split, "0.5"),
            hatch=HATCHES.get(split, "xx"),
            edgecolor="white",
            label=split,
        )
        for split in info.counts
    ]
    if "random" in info.baselines:
        handles.append(Line2D([], [], color="black", linestyle=":", label="equal shares"))
    draw_legend(ax, handles)
    return ax


def classes_table(info: ClassesInfo) -> pd.DataFrame:
    """Return a row per class: samples of each split."""
    counts = {split: numbers.astype(int) for split, numbers in info.counts.items()}
    return pd.DataFrame({"class": info.names, **counts})


def classes_chart(loaded: Runs) -> Chart:
    """Return the classes of the grid's data set.

    Raises:
        UserError: the runs have no classes or no folders here, or there are several data sets.
    """
    info = classes_info(class_counts(loaded.folder, loaded.runs), loaded.grid)
    size = (WIDTH, min(1.8 + ROW * len(info.names), MAX_HEIGHT))
    return Chart(
        info.title,
        lambda ax: draw_classes(info, ax),
        classes_table(info),
        f"{info.title}. {_baselines(info)}.",
        size,
    )


def _baselines(info: ClassesInfo) -> str:
    """Return what each baseline reaches, in words."""
    said = {
        "random": "guessing",
        "majority": f"always {shortened(info.names[info.majority])!r}, "
        "the most frequent of the training set,",
    }
    parts = [
        f"{said.get(name, shortened(name))} reaches {100 * value:.3g} %"
        for name, value in info.baselines.items()
    ]
    return f"on the test set {'; '.join(parts)}" if parts else ""
