"""Predicted against true quantities, with Spearman's rank correlation and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.data.load import Runs
from analysis.plots.chart import Chart
from analysis.plots.groups import MARKERS, draw_legend, head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import OKABE_ITO, set_head, shortened
from analysis.stats.correlation import (
    MIN_PAIRS,
    average_correlation,
    rank_correlation,
    spearman_interval,
)
from anlp.core.errors import UserError

RASTER_ABOVE = 2_000
MOST = 7  # quantities on one chart: one per colour


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity; arrays are (n_samples,) of those with finite values."""

    name: str
    true: Array
    predicted: Array  # mean over seeds
    low: Array  # smallest over seeds
    high: Array
    r: float  # Spearman's, mean over seeds in Fisher's z space; NaN where one side is constant
    r_low: float
    r_high: float
    note: str  # why there is no correlation, empty where there is one


@dataclass(frozen=True, slots=True)
class ScatterInfo:
    """What is drawn."""

    quantities: tuple[Quantity, ...]
    n_seeds: int
    title: str
    subtitle: str


def scatter_info(seeds: Seeds) -> ScatterInfo:
    """Return the quantities of the seeds of one configuration.

    Args:
        seeds: of a task that predicts quantities.

    Raises:
        UserError: the runs predict classes.
    """
    first = seeds.found[0]
    if first.is_classes:
        raise UserError(
            "scatter is of quantities, and these runs predict classes: see the kind confusion"
        )
    outputs = np.stack([one.outputs for one in seeds.found])  # (seeds, samples, quantities)
    width = min(outputs.shape[2], first.targets.shape[1], MOST)
    names = (
        first.names if len(first.names) >= width else tuple(f"quantity {k}" for k in range(width))
    )
    found = tuple(_quantity(names[k], first.targets[:, k], outputs[:, :, k]) for k in range(width))
    several = len(seeds.found) > 1
    return ScatterInfo(
        found,
        len(seeds.found),
        head(seeds.grid, f"predicted against true, {seeds.said}"),
        "ρ: Spearman's rank correlation with its 95 % interval"
        + ("; point: mean over seeds, line: their range" if several else ""),
    )


def draw_scatter(info: ScatterInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it; the diagonal is a perfect answer."""
    everything = np.concatenate(
        [part for one in info.quantities for part in (one.true, one.low, one.high)]
    )
    low, high = (
        (float(everything.min()), float(everything.max())) if everything.size else (0.0, 1.0)
    )
    ax.plot([low, high], [low, high], color="0.5", linewidth=0.8, linestyle=":")
    handles = []
    for index, one in enumerate(info.quantities):
        colour, marker = OKABE_ITO[index], MARKERS[index]
        is_many = len(one.true) > RASTER_ABOVE
        if info.n_seeds > 1:
            ax.vlines(
                one.true,
                one.low,
                one.high,
                color=colour,
                linewidth=0.6,
                alpha=0.35,
                rasterized=is_many,
            )
        ax.scatter(
            one.true,
            one.predicted,
            s=12,
            marker=marker,
            color=colour,
            alpha=0.7,
            rasterized=is_many,
        )
        text = f"{shortened(one.name)}\n{_said(one)}"
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, label=text))
    ax.set(xlabel="true", ylabel="predicted")
    set_head(ax, info.title, info.subtitle)
    draw_legend(ax, handles)
    return ax


def scatter_table(info: ScatterInfo) -> pd.DataFrame:
    """Return a row per quantity and sample."""
    parts = [
        pd.DataFrame(
            {
                "quantity": one.name,
                "true": one.true,
                "predicted": one.predicted,
                "low": one.low,
                "high": one.high,
            }
        )
        for one in info.quantities
    ]
    return pd.concat(parts, ignore_index=True)


def scatter_chart(loaded: Runs, *, metric: str = "") -> Chart:
    """Predictions of the best configuration (`--only` chooses another) against the truth.

    Raises:
        UserError: no run wrote predictions, or they are of classes.
    """
    info = scatter_info(load_seeds(loaded, metric))
    said = "; ".join(f"{one.name}: {_said(one)}" for one in info.quantities)
    notes = tuple(f"{one.name}: {one.note}" for one in info.quantities if one.note)
    return Chart(
        info.title,
        lambda ax: draw_scatter(info, ax),
        scatter_table(info),
        f"{info.title}. {said}.",
        notes=notes,
    )


def _quantity(name: str, true: Array, outputs: Array) -> Quantity:
    known = np.isfinite(true) & np.isfinite(outputs).all(axis=0)
    true, outputs = true[known], outputs[:, known]
    r, low, high, note = _correlation(true, outputs)
    mean = outputs.mean(axis=0)
    ends = (outputs.min(axis=0), outputs.max(axis=0)) if true.size else (mean, mean)
    return Quantity(name, true, mean, *ends, r, low, high, note)


def _correlation(true: Array, outputs: Array) -> tuple[float, float, float, str]:
    if true.size < MIN_PAIRS:
        return (
            math.nan,
            math.nan,
            math.nan,
            f"no rank correlation of {true.size} samples (at least {MIN_PAIRS})",
        )
    r = average_correlation([rank_correlation(true, one).r for one in outputs])
    if math.isnan(r):
        return r, r, r, "no rank correlation: one side is constant"
    return (r, *spearman_interval(r, true.size), "")


def _said(one: Quantity) -> str:
    return "ρ –" if math.isnan(one.r) else f"ρ = {one.r:.2f} [{one.r_low:.2f}, {one.r_high:.2f}]"
