"""Parallel coordinates: a line per run through its settings to its metric."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from analysis.data.frames import varying_settings
from analysis.data.load import Runs
from analysis.effects.design import build_design
from analysis.effects.explain import Importance, explain
from analysis.plots.chart import Chart
from analysis.plots.groups import pick_metric
from analysis.plots.scale import Array, Scale, make_scale
from analysis.plots.style import set_head, shortened
from analysis.text.metrics import is_share, label
from anlp.core.errors import UserError
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

COLOURS = mpl.colormaps[
    "viridis_r"
]  # the best darkest: the other end of viridis cannot be seen on white
FAINTEST = 0.12  # of the colours: the last yellow is hard to see on white
JITTER = 0.025  # of the axis, so that lines through one level can be told apart
RASTER_ABOVE = 2_000  # lines; as vectors they would make an SVG of many MB
RASTER_DPI = (
    100  # then: so many lines leave no detail to see, and what they cost goes by their pixels
)
LABEL_LENGTH = 14
MAX_AXES = 10  # settings; more cannot be read
HALO = {
    "boxstyle": "square,pad=0.1",
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.75,
}  # readable over lines


@dataclass(frozen=True, slots=True)
class ParallelInfo:
    """What is drawn; lines are in the order of drawing, the worst first."""

    scales: tuple[Scale, ...]  # over all runs with a metric, so that a selection keeps the axes
    lines: Array  # (n_shown, n_scales) positions in [0, 1] or below, jittered
    ranks: Array  # (n_shown,) in [0, 1], 1 the best
    title: str
    subtitle: str
    run_ids: tuple[str, ...] = ()  # parallel to `lines`


def parallel_info(
    runs: pd.DataFrame,
    metric: str,
    *,
    above: float | None = None,
    grid: str = "",
    order: Sequence[str] = (),
) -> ParallelInfo:
    """Return the lines of the runs that finished with a finite `metric`.

    Args:
        runs: see `analysis.data.frames`.
        metric: its column, the last axis.
        above: show only runs better than this, on the same axes.
        grid: for the title.
        order: settings in the order of the axes; varying settings that it leaves out come first.
    """
    scored = runs[(runs["outcome"] == "ok") & np.isfinite(runs[metric].astype(float))]
    better = scored[metric].to_numpy(dtype=float) * (1 if higher_is_better(metric) else -1)
    ascending = np.argsort(better, kind="stable")
    shown = (
        ascending
        if above is None
        else ascending[_is_better(scored[metric], above, metric)[ascending]]
    )
    scales, hidden = _scales(scored, metric, order)
    jitter = np.array([_jitter(str(run_id), len(scales)) for run_id in scored["run_id"]]).reshape(
        -1, len(scales)
    )
    jitter *= [scale.has_levels for scale in scales]
    jitter[:, -1] = 0  # the metric is exact
    lines = np.stack([scale.positions for scale in scales], axis=1) + jitter
    return ParallelInfo(
        scales=scales,
        lines=lines[shown],
        ranks=_ranks(better[shown]),
        title=_title(grid, len(shown), len(runs), metric, above),
        subtitle=_subtitle(metric, len(runs) - len(scored), hidden),
        run_ids=tuple(scored["run_id"].astype(str).to_numpy()[shown]),
    )


def importance_order(runs: pd.DataFrame, metric: str) -> list[str]:
    """Return the settings by importance, the most important last; empty if it is unknown."""
    try:
        return order_by(explain(build_design(runs, metric), with_forest=False))
    except UserError:  # nothing varies, or nothing has finished: there is no order
        return []


def order_by(importance: Importance) -> list[str]:
    """Return the settings, the most important last; empty where no importance is known."""
    if importance.decomposition is None:
        return []
    factors = [importance.design.factors[index].name for index in reversed(importance.order)]
    return [name for factor in factors for name in factor.split("+")]


def parallel_table(info: ParallelInfo, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a row per line in drawing order, the worst first: the run and its metric."""
    columns = list(dict.fromkeys(["run_id", "config_id", *varying_settings(runs), "seed", metric]))
    table: pd.DataFrame = runs.set_index("run_id", drop=False).loc[list(info.run_ids), columns]
    return table.assign(rank=info.ranks)


def parallel_chart(loaded: Runs, *, metric: str = "", above: float | None = None) -> Chart:
    """Return all runs, or those better than a bound, on axes in order of importance.

    Raises:
        UserError: the metric is unknown, or no run is left to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric)
    info = parallel_info(
        runs, metric, above=above, grid=loaded.grid, order=importance_order(runs, metric)
    )
    if not len(info.lines):
        raise UserError(f"nothing to draw: {info.title} ({info.subtitle})")
    axes = ", ".join(scale.name for scale in info.scales)
    alt = f"Parallel coordinates, {info.title}: a line per run over {axes}; {info.subtitle}."
    return Chart(
        info.title,
        lambda ax: draw_parallel(info, ax),
        parallel_table(info, runs, metric),
        alt,
        size_inches(info),
    )


def draw_parallel(info: ParallelInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`."""
    columns = np.arange(len(info.scales), dtype=float)
    points = np.stack([np.broadcast_to(columns, info.lines.shape), info.lines], axis=2)
    opacity = min(1.0, 2 / max(len(info.lines), 1) ** 0.3)
    lines = LineCollection(
        list(points),
        colors=COLOURS(FAINTEST + (1 - FAINTEST) * info.ranks),
        alpha=opacity,
        linewidths=0.9,
        zorder=2,
    )
    if len(info.lines) > RASTER_ABOVE:
        lines.set_rasterized(True)
        if (figure := ax.get_figure(root=True)) is not None:
            figure.set_dpi(RASTER_DPI)
    ax.add_collection(lines)
    for column, scale in zip(columns, info.scales, strict=True):
        _draw_scale(ax, column, scale)
    ax.set(
        xlim=(-0.35, columns[-1] + 0.45),
        ylim=(min([0.0, *(at for scale in info.scales for at, _ in scale.ticks)]) - 0.05, 1.05),
        yticks=[],
    )
    ax.set_xticks(columns, [_head(scale) for scale in info.scales])
    ax.tick_params(axis="x", length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    set_head(ax, info.title, info.subtitle)
    return ax


def size_inches(info: ParallelInfo) -> tuple[float, float]:
    """Return a page wide enough for the axes."""
    return max(5.0, 1.35 * len(info.scales) + 0.6), 4.4


def _scales(
    scored: pd.DataFrame, metric: str, order: Sequence[str]
) -> tuple[tuple[Scale, ...], int]:
    """Return the varying settings (else the seed), the metric last, and how many did not fit."""
    varying = [name for name in varying_settings(scored) if name != metric] or ["seed"]
    settings = sorted(varying, key=lambda name: order.index(name) if name in order else -1)
    hidden, settings = (
        len(settings) - MAX_AXES if order else 0,
        settings[-MAX_AXES:] if order else settings,
    )
    factor = 100.0 if is_share(metric) else 1.0
    scales = (
        *(make_scale(name, scored[name].tolist()) for name in settings),
        make_scale(label(metric), scored[metric].tolist(), factor=factor),
    )
    return scales, max(hidden, 0)


def _ranks(better: Array) -> Array:
    """0 for the worst value to 1 for the best; equal values share their rank."""
    levels, place = np.unique(better, return_inverse=True)
    return place / max(len(levels) - 1, 1) if len(levels) > 1 else np.ones(len(better))


def _is_better(
    values: pd.Series[float], bound: float, metric: str
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    numbers = values.to_numpy(dtype=float)
    return numbers > bound if higher_is_better(metric) else numbers < bound


def _jitter(run_id: str, count: int) -> list[float]:
    """Return the same numbers in [-JITTER, JITTER] for a run on every machine."""
    digest = hashlib.blake2b(run_id.encode(), digest_size=min(count, 64)).digest()
    return [JITTER * (digest[i % len(digest)] / 127.5 - 1) for i in range(count)]


def _title(grid: str, shown: int, total: int, metric: str, above: float | None) -> str:
    name = f"{shortened(grid, 40)}: " if grid else ""
    if above is None:
        return f"{name}{shown:,} of {total:,} runs"
    better = "above" if higher_is_better(metric) else "below"
    bound = f"{100 * above:.4g} %" if is_share(metric) else f"{above:.4g}"
    return f"{name}{shown:,} of {total:,} runs, those with {metric} {better} {bound}"


def _subtitle(metric: str, without: int, hidden: int) -> str:
    lost = f"; left out: {without:,} diverged, failed or unfinished" if without else ""
    few = f"; {count(hidden, 'setting')} of least importance not shown" if hidden else ""
    return f"colour: rank by {metric}, dark is best{lost}{few}"


def _head(scale: Scale) -> str:
    return shortened(scale.name) + (" (log)" if scale.kind == "log" else "")


def _draw_scale(ax: Axes, column: float, scale: Scale) -> None:
    ax.plot([column, column], [0, 1], color="0.25", linewidth=0.8, zorder=3)
    for position, text in scale.ticks:
        ax.plot(
            [column - 0.02, column + 0.02],
            [position, position],
            color="0.25",
            linewidth=0.8,
            zorder=3,
        )
        ax.text(
            column + 0.04,
            position,
            shortened(text, LABEL_LENGTH),
            fontsize=8,
            va="center",
            zorder=4,
            bbox=HALO,
        )
