"""Parallel coordinates: a line per run through its settings to its metric."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from analysis.frame import varying_settings
from analysis.metrics import higher_is_better, is_share, label
from analysis.plots.paper import shortened
from analysis.plots.scale import Array, Scale, make_scale

COLOURS = mpl.colormaps["viridis_r"]  # the best darkest: the other end of viridis cannot be seen on white
FAINTEST = 0.12  # of the colours: the last yellow is hard to see on white
JITTER = 0.025  # of the axis, so that lines through one level can be told apart
RASTER_ABOVE = 2_000  # lines; as vectors they would make an SVG of many MB
LABEL_LENGTH = 14
HALO = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}  # readable over lines


@dataclass(frozen=True, slots=True)
class ParallelInfo:
    """What is drawn; lines are in the order of drawing, the worst first."""

    scales: tuple[Scale, ...]  # over all runs with a metric, so that a selection keeps the axes
    lines: Array  # (n_shown, n_scales) positions in [0, 1] or below, jittered
    ranks: Array  # (n_shown,) in [0, 1], 1 the best
    title: str
    subtitle: str


def parallel_info(runs: pd.DataFrame, metric: str, *, above: float | None = None, grid: str = "") -> ParallelInfo:
    """The lines of the runs that finished with a finite `metric`.

    Args:
        runs: see `analysis.frame`.
        metric: its column, the last axis.
        above: show only runs better than this, on the same axes.
        grid: for the title.
    """
    scored = runs[(runs["outcome"] == "ok") & np.isfinite(runs[metric].astype(float))]
    better = scored[metric].to_numpy(dtype=float) * (1 if higher_is_better(metric) else -1)
    order = np.argsort(better, kind="stable")
    shown = order if above is None else order[_is_better(scored[metric], above, metric)[order]]
    scales = _scales(scored, metric)
    jitter = np.array([_jitter(str(run_id), len(scales)) for run_id in scored["run_id"]]).reshape(-1, len(scales))
    jitter *= [scale.has_levels for scale in scales]
    jitter[:, -1] = 0  # the metric is exact
    lines = np.stack([scale.positions for scale in scales], axis=1) + jitter
    return ParallelInfo(
        scales=scales,
        lines=lines[shown],
        ranks=_ranks(better[shown]),
        title=_title(grid, len(shown), len(runs), metric, above),
        subtitle=_subtitle(metric, len(runs) - len(scored)),
    )


def draw_parallel(info: ParallelInfo, ax: Axes) -> Axes:
    """The chart on `ax`."""
    columns = np.arange(len(info.scales), dtype=float)
    points = np.stack([np.broadcast_to(columns, info.lines.shape), info.lines], axis=2)
    opacity = min(1.0, 2 / max(len(info.lines), 1) ** 0.3)
    lines = LineCollection(
        list(points), colors=COLOURS(FAINTEST + (1 - FAINTEST) * info.ranks), alpha=opacity, linewidths=0.9, zorder=2
    )
    lines.set_rasterized(len(info.lines) > RASTER_ABOVE)
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
    ax.set_title(f"{info.title}\n{info.subtitle}", pad=12, linespacing=1.5)
    return ax


def size_inches(info: ParallelInfo) -> tuple[float, float]:
    """A page wide enough for the axes."""
    return max(5.0, 1.35 * len(info.scales) + 0.6), 4.4


def _scales(scored: pd.DataFrame, metric: str) -> tuple[Scale, ...]:
    """The settings that vary (the seed where none does), the metric last."""
    settings = [name for name in varying_settings(scored) if name != metric] or ["seed"]
    factor = 100.0 if is_share(metric) else 1.0
    return (
        *(make_scale(name, scored[name].tolist()) for name in settings),
        make_scale(label(metric), scored[metric].tolist(), factor=factor),
    )


def _ranks(better: Array) -> Array:
    """0 for the worst value to 1 for the best; equal values share their rank."""
    levels, place = np.unique(better, return_inverse=True)
    return place / max(len(levels) - 1, 1) if len(levels) > 1 else np.ones(len(better))


def _is_better(values: pd.Series[float], bound: float, metric: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    numbers = values.to_numpy(dtype=float)
    return numbers > bound if higher_is_better(metric) else numbers < bound


def _jitter(run_id: str, count: int) -> list[float]:
    """The same numbers in [-JITTER, JITTER] for a run on every machine."""
    digest = hashlib.blake2b(run_id.encode(), digest_size=min(count, 64)).digest()
    return [JITTER * (digest[i % len(digest)] / 127.5 - 1) for i in range(count)]


def _title(grid: str, shown: int, total: int, metric: str, above: float | None) -> str:
    name = f"{shortened(grid, 40)}: " if grid else ""
    if above is None:
        return f"{name}{shown:,} of {total:,} runs"
    better = "above" if higher_is_better(metric) else "below"
    bound = f"{100 * above:.4g} %" if is_share(metric) else f"{above:.4g}"
    return f"{name}{shown:,} of {total:,} runs, those with {metric} {better} {bound}"


def _subtitle(metric: str, without: int) -> str:
    lost = f"; left out: {without:,} diverged, failed or unfinished" if without else ""
    return f"colour: rank by {metric}, dark is best{lost}"


def _head(scale: Scale) -> str:
    return shortened(scale.name) + (" (log)" if scale.kind == "log" else "")


def _draw_scale(ax: Axes, column: float, scale: Scale) -> None:
    ax.plot([column, column], [0, 1], color="0.25", linewidth=0.8, zorder=3)
    for position, text in scale.ticks:
        ax.plot([column - 0.02, column + 0.02], [position, position], color="0.25", linewidth=0.8, zorder=3)
        ax.text(column + 0.04, position, shortened(text, LABEL_LENGTH), fontsize=8, va="center", zorder=4, bbox=HALO)
