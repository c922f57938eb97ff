"""Gradient norms by layer over epochs: whether gradients vanish or explode on their way down."""

from __future__ import annotations

import re
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.data.frames import varying_settings
from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.data.selection import selected_configuration
from analysis.plots.chart import Chart
from analysis.plots.groups import (
    DASHES,
    MAX_LEGEND,
    draw_legend,
    head,
    level_name,
    pick_metric,
)
from analysis.plots.scale import Array
from analysis.plots.style import set_head, set_log, shortened
from anlp.core.errors import UserError
from anlp.core.units import count

LAYER = re.compile(r"grad_norm/(.+)")


@dataclass(frozen=True, slots=True)
class NormsInfo:
    """What is drawn."""

    layers: tuple[str, ...]  # from the input to the output
    epochs: Array  # (n_epochs,)
    norms: Array  # (n_layers, n_epochs) geometric mean over seeds, NaN where none is positive
    n_runs: int
    title: str
    subtitle: str


def norms_info(
    runs: pd.DataFrame, history: pd.DataFrame, *, grid: str = "", name: str = ""
) -> NormsInfo:
    """Return the norms of the seeds of one configuration.

    Args:
        runs: those to average.
        history: see `analysis.data.frames`; runs beside `runs` are left aside.
        grid: for the title.
        name: of the configuration.

    Raises:
        UserError: none of the runs has logged norms by layer.
    """
    columns = sorted(str(column) for column in history.columns if LAYER.fullmatch(str(column)))
    lines = history[history["run_id"].isin(runs["run_id"])]
    columns = [column for column in columns if lines[column].notna().any()]
    if not columns:
        raise UserError(
            "no gradient norms by layer were logged: train with `layer_norms: true` "
            "under `fixed` of the grid file"
        )
    numbers = lines[columns].astype(float)
    positive = numbers.where(np.isfinite(numbers) & (numbers > 0))
    logs = positive.transform(np.log).groupby(lines["epoch"]).mean().dropna(how="all")
    means = logs.transform(np.exp)
    return NormsInfo(
        tuple(_layer(column) for column in columns),
        means.index.to_numpy(np.float64),
        means.to_numpy(np.float64).T,
        int(lines.loc[positive.notna().any(axis=1), "run_id"].nunique()),
        head(grid, f"gradient norm by layer{f', {name}' if name else ''}"),
        "",
    )


def draw_norms(info: NormsInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`: a line per layer, the first layers light, the last ones dark."""
    last = max(len(info.layers) - 1, 1)
    colours = [
        mpl.colormaps["viridis_r"](0.12 + 0.88 * index / last) for index in range(len(info.layers))
    ]
    for index, norms in enumerate(info.norms):
        marker = "o" if np.isfinite(norms).sum() == 1 else None
        ax.plot(
            info.epochs,
            norms,
            color=colours[index],
            linestyle=DASHES[index % 5],
            marker=marker,
            linewidth=1.4,
        )
    set_log(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel="gradient norm (log)")
    seeds = (
        f"geometric mean over {count(info.n_runs, 'run')}; "
        "layers from the input (light) to the output (dark)"
    )
    set_head(ax, info.title, seeds)
    step = -(-len(info.layers) // MAX_LEGEND)
    handles = [
        Line2D(
            [],
            [],
            color=colours[index],
            linestyle=DASHES[index % 5],
            label=shortened(info.layers[index]),
        )
        for index in range(0, len(info.layers), step)
    ]
    draw_legend(ax, handles, "layer")
    return ax


def norms_table(info: NormsInfo) -> pd.DataFrame:
    """Return a row per layer and epoch."""
    rows = [
        (layer, int(epoch), norm)
        for layer, norms in zip(info.layers, info.norms.tolist(), strict=True)
        for epoch, norm in zip(info.epochs.tolist(), norms, strict=True)
    ]
    return pd.DataFrame(rows, columns=["layer", "epoch", "gradient_norm"])


def norms_chart(loaded: Runs, *, metric: str = "") -> Chart:
    """Return the gradient norms of the best configuration that logged them (or by `--only`).

    Raises:
        UserError: no run has logged norms by layer.
    """
    runs, name = best_runs(_with_norms(loaded), metric)
    info = norms_info(runs, loaded.history, grid=loaded.grid, name=name)
    ratio = float(np.nanmax(info.norms) / np.nanmin(info.norms))
    alt = (
        f"{info.title}: {len(info.layers)} layers over {len(info.epochs)} epochs, "
        f"a factor of {ratio:.3g} apart."
    )
    return Chart(info.title, lambda ax: draw_norms(info, ax), norms_table(info), alt)


def best_runs(runs: pd.DataFrame, metric: str = "") -> tuple[pd.DataFrame, str]:
    """Return the runs of the best configuration, and its name by the settings that vary.

    Raises:
        UserError: no run has finished.
    """
    select = selecting_metric(runs, pick_metric(runs, metric))
    best = selected_configuration(runs, select) or runs["config_id"].iloc[0]
    chosen = runs[runs["config_id"] == best]
    first = chosen.iloc[0]
    settings = varying_settings(runs)
    name = " ".join(f"{setting}={level_name(first[setting])}" for setting in settings)
    return chosen, shortened(name, 60)


def _layer(column: str) -> str:
    """Layers are numbered from 0, with zeros in front so that they sort."""
    name = column.removeprefix("grad_norm/")
    return str(int(name)) if name.isdigit() else name


def _with_norms(loaded: Runs) -> pd.DataFrame:
    columns = [str(column) for column in loaded.history.columns if LAYER.fullmatch(str(column))]
    lines = (
        loaded.history[loaded.history[columns].notna().any(axis=1)]
        if columns
        else loaded.history[:0]
    )
    found = loaded.runs[loaded.runs["run_id"].isin(lines["run_id"])]
    return found if len(found) else loaded.runs
