"""Merged and dropped labels: how many samples each class had before and has after."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from analysis.data.labels import LabelOrigin, label_origins
from analysis.data.load import Runs
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import draw_legend, head
from analysis.plots.style import OKABE_ITO, set_head, shortened
from anlp.core.units import count

ROW = 0.23  # inches
MAX_HEIGHT = 14.0
AFTER, BEFORE, DROPPED = OKABE_ITO[0], OKABE_ITO[5], "0.75"


@dataclass(frozen=True, slots=True)
class Bar:
    """A class, or a label that became it."""

    name: str
    samples: int  # of both parts
    kind: str  # after, before or dropped


@dataclass(frozen=True, slots=True)
class MappingInfo:
    """Data of the chart: each class above the labels it is made of, dropped labels last."""

    bars: tuple[Bar, ...]
    title: str
    subtitle: str


def mapping_info(origins: tuple[LabelOrigin, ...], grid: str = "") -> MappingInfo:
    """Return the bars of one data set.

    Args:
        origins: see `analysis.data.labels`.
        grid: for the title.
    """
    totals = _totals(origins)
    bars: list[Bar] = []
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        members = sorted(
            (one for one in origins if one.becomes == name),
            key=lambda one: (-one.samples, one.label),
        )
        bars.append(Bar(name, totals[name], "after"))
        if [one.label for one in members] != [name]:
            bars += [Bar(one.label, one.samples, "before") for one in members]
    dropped = sorted(
        (one for one in origins if not one.becomes), key=lambda one: (-one.samples, one.label)
    )
    bars += [Bar(one.label, one.samples, "dropped") for one in dropped]
    every, kept = sum(one.samples for one in origins), sum(totals.values())
    return MappingInfo(
        tuple(bars),
        head(grid, f"{len(origins)} labels before, {len(totals)} classes after the mapping"),
        f"{every:,} samples before, {kept:,} after; "
        f"{every - kept:,} of {count(len(dropped), 'label')} dropped",
    )


def draw_mapping(info: MappingInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, a row per class and per label that was merged."""
    colours = {"after": AFTER, "before": BEFORE, "dropped": DROPPED}
    hatches = {"after": "", "before": "", "dropped": "///"}
    for place, bar in enumerate(info.bars):
        height = 0.8 if bar.kind == "after" else 0.5
        drawn = ax.barh(
            place,
            bar.samples,
            height,
            color=colours[bar.kind],
            hatch=hatches[bar.kind],
            edgecolor="white",
        )
        ax.bar_label(drawn, labels=[f"{bar.samples:,}"], padding=3, fontsize=7.5)
    labels = [
        shortened(bar.name, 24) if bar.kind == "after" else f"{shortened(bar.name, 24)} ·"
        for bar in info.bars
    ]
    ax.set_yticks(range(len(info.bars)), labels)
    for text, bar in zip(ax.get_yticklabels(), info.bars, strict=True):
        text.set_fontsize(9 if bar.kind == "after" else 7.5)
    ax.margins(x=0.1)
    ax.set(ylim=(len(info.bars) - 0.4, -0.6), xlabel="samples, training and test")
    set_head(ax, info.title, info.subtitle)
    kinds = {bar.kind for bar in info.bars}
    names = {"after": "class", "before": "merged into the class above", "dropped": "dropped"}
    handles = [
        Patch(facecolor=colours[kind], hatch=hatches[kind], edgecolor="white", label=names[kind])
        for kind in names
        if kind in kinds
    ]
    draw_legend(ax, handles)
    return ax


def mapping_table(origins: tuple[LabelOrigin, ...]) -> pd.DataFrame:
    """Return a row per label of the files."""
    rows = [(one.label, one.becomes or "(dropped)", one.train, one.test) for one in origins]
    return pd.DataFrame(rows, columns=["label", "becomes", "train", "test"])


def mapping_chart(loaded: Runs) -> Chart:
    """Return the labels of the grid's data set, before and after.

    Raises:
        UserError: no run says what its labels were merged from, or there are several data sets.
    """
    origins = label_origins(loaded.folder, loaded.runs)
    info = mapping_info(origins, loaded.grid)
    size = (WIDTH, min(1.8 + ROW * len(info.bars), MAX_HEIGHT))
    return Chart(
        info.title,
        lambda ax: draw_mapping(info, ax),
        mapping_table(origins),
        f"{info.title}. {info.subtitle}.",
        size,
    )


def _totals(origins: tuple[LabelOrigin, ...]) -> dict[str, int]:
    names = dict.fromkeys(one.becomes for one in origins if one.becomes)
    return {name: sum(one.samples for one in origins if one.becomes == name) for name in names}
