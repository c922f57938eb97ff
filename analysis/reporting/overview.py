"""All runs at a glance: parallel coordinates and learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.data.baselines import chance_level
from analysis.data.frames import varying_settings
from analysis.plots.curves import curves_info, draw_curves
from analysis.plots.parallel import (
    ParallelInfo,
    draw_parallel,
    order_by,
    parallel_info,
    size_inches,
)
from analysis.reporting.blocks import Block, Component, Figure, Notice, Section
from analysis.reporting.figures import draw
from analysis.reporting.findings import Findings, Missing
from analysis.web.page import render_component
from analysis.web.selection import page_info

CURVES = (7.0, 4.2)  # inches
MAX_COLOURS = 12  # of a legend that can be read
MAX_CURVES = 2_000  # more would be one blot, and take minutes


def parallel_section(findings: Findings) -> Section:
    """Return all runs, and those better than chance on axes of equal scale."""
    metric, runs = findings.select, findings.runs
    if metric not in runs:
        return _parallel(Notice("No run has finished with a metric yet: there is nothing to draw."))
    order = [] if isinstance(findings.importance, Missing) else order_by(findings.importance)
    whole = parallel_info(runs, metric, grid=findings.name, order=order)
    if not len(whole.lines):
        return _parallel(
            Notice(f"No run has finished with a finite {metric}: there is nothing to draw.")
        )
    bound = chance_level(runs, metric)
    figures = [_draw_parallel("parallel", whole, runs, metric)]
    if bound is not None:
        better = parallel_info(runs, metric, above=bound, grid=findings.name, order=order)
        if 0 < len(better.lines) < len(whole.lines):
            figures.append(_draw_parallel("parallel-better", better, None, metric))
    return _parallel(_play(findings, bound, order, tuple(figures)))


def curves_section(findings: Findings) -> Section:
    """Return the curves of all runs, coloured by the setting that explains most."""
    metric, history = findings.select, findings.loaded.history
    if metric not in history or not np.isfinite(history[metric].astype(float)).any():
        return _curves(
            Notice(f"No run has logged a finite {metric} by epoch: there are no curves.")
        )
    return _curves(draw_runs("curves", findings, findings.runs, "all runs"))


def draw_runs(name: str, findings: Findings, runs: pd.DataFrame, what: str) -> Figure:
    """Learning curves of some runs; every k-th where they are too many to tell apart."""
    step = -(-len(runs) // MAX_CURVES) or 1
    chosen = runs.iloc[::step]
    history = findings.loaded.history
    lines = history[history["run_id"].isin(set(chosen["run_id"]))]
    by = colouring(findings)
    info = curves_info(
        chosen,
        lines,
        findings.select,
        by,
        chance=chance_level(findings.runs, findings.select),
        grid=findings.name,
    )
    thinned = f" Every {step}th run is drawn: {len(chosen):,} of {len(runs):,}." if step > 1 else ""
    ends = pd.Series([curve[-1, 1] for group in info.groups for curve in group.curves], dtype=float)
    told = (
        f"They end between {ends.min():.4g} and {ends.max():.4g}, "
        f"half of them above {ends.median():.4g}."
    )
    return draw(
        name,
        CURVES,
        lambda ax: draw_curves(info, ax),
        alt=f"Learning curves of {what}: {info.y_label} by epoch, "
        f"coloured by {by or 'nothing'}. {told}",
        caption=f"{findings.select} by epoch, {what}.{thinned} {told}",
        points=len(lines),
        data=_csv(lines[["run_id", "epoch", findings.select]]),
    )


def colouring(findings: Findings) -> str:
    """Return the setting that explains most; where that is unknown, lr or the first that varies."""
    varying = [
        name
        for name in varying_settings(findings.runs)
        if findings.runs[name].nunique() <= MAX_COLOURS
    ]
    found = findings.importance
    ranked = (
        []
        if isinstance(found, Missing)
        else [found.design.factors[index].name for index in found.order]
    )
    return next((name for name in (*ranked, "lr", *varying) if name in varying), "")


def _play(
    findings: Findings, bound: float | None, order: Sequence[str], pictures: tuple[Block, ...]
) -> Block:
    name = "" if bound is None else "baseline"
    info = page_info(
        findings.runs,
        findings.select,
        bound=bound,
        bound_name=name,
        grid=findings.address,
        order=order,
    )
    return Component(render_component(info, "play"), "As pictures", pictures)


def _draw_parallel(name: str, info: ParallelInfo, runs: pd.DataFrame | None, metric: str) -> Figure:
    axes = ", ".join(scale.name for scale in info.scales)
    columns = [] if runs is None else ["run_id", *varying_settings(runs), "seed", metric]
    return draw(
        name,
        size_inches(info),
        lambda ax: draw_parallel(info, ax),
        alt=f"Parallel coordinates, {info.title}: one line per run over {axes}; {info.subtitle}.",
        caption=f"{info.title}. {info.subtitle[:1].upper()}{info.subtitle[1:]}; "
        "the best is drawn last.",
        points=info.lines.size * 3,
        data=b"" if runs is None else _csv(runs[list(dict.fromkeys(columns))]),
    )


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _parallel(*blocks: Block) -> Section:
    return Section("parallel", "All runs at a glance", blocks)


def _curves(*blocks: Block) -> Section:
    return Section("curves", "Learning curves", blocks)
