"""Learning curves: a thin line per run, the median and spread of each group over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.data.baselines import chance_level
from analysis.data.frames import varying_settings
from analysis.data.load import Runs
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import (
    CONFIGURATION,
    DASHES,
    MAX_LEGEND,
    configuration_names,
    draw_legend,
    head,
    level_colours,
    level_name,
    pick_setting,
)
from analysis.plots.scale import Array
from analysis.plots.style import set_head, set_log, shortened
from analysis.text.levels import level_key
from analysis.text.metrics import is_share, label
from anlp.core.errors import UserError, known_name
from anlp.core.units import count

Style = Literal["lines", "medians", "bands", "both"]
RASTER_ABOVE = 2_000
MOST_BANDS, MOST_MEDIANS = 3, 8  # groups: more hide each other
FEW = 5  # runs: of fewer the band is the whole range
LEAST = 3  # runs that a median is drawn through
NOTHING_BELOW = 1e-12  # of a logarithmic axis


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one level."""

    name: str
    colour: Any  # anything that matplotlib takes
    curves: tuple[Array, ...]  # (n_epochs, 2) each: epoch and value, finite
    band: Array | None = None  # (n_epochs, 4): epoch, median, low and high; None for few runs
    dash: Any = "-"  # of the median
    run_ids: tuple[str, ...] = ()  # parallel to `curves`


@dataclass(frozen=True, slots=True)
class CurvesInfo:
    """What is drawn; accuracies in percent."""

    groups: tuple[Group, ...]
    by: str  # empty: one group
    y_label: str
    title: str
    chance: float | None  # level of the better baseline, where there is one
    style: Style = "lines"
    is_log: bool = False
    subtitle: str = ""


def curves_info(  # noqa: PLR0913 - a keyword per option of the command
    runs: pd.DataFrame,
    history: pd.DataFrame,
    metric: str,
    by: str = "",
    *,
    chance: float | None = None,
    grid: str = "",
    style: Style | None = None,
    smooth: int = 0,
    is_log: bool = False,
) -> CurvesInfo:
    """Return the curves of all runs that logged `metric`, finished or not.

    Args:
        runs: see `analysis.data.frames`.
        history: likewise; its column `metric` is on the y axis.
        metric: as in `history`.
        by: the setting that colours, or `configuration`; empty for none.
        chance: value of the baseline, in the unit of `history`.
        grid: for the title.
        style: lines of runs, bands of groups, both, or lines with medians; default: by the number
            of groups.
        smooth: width in epochs of a running mean over each curve; below 2: none.
        is_log: whether the y axis is logarithmic; values that are not positive are left out then.
    """
    factor = 100.0 if is_share(metric) else 1.0
    curves = _curves(history, metric, factor, smooth, is_log)
    values = configuration_names(runs) if by == CONFIGURATION else runs[by or "run_id"].tolist()
    found = {
        str(run): (level if by else None) for run, level in zip(runs["run_id"], values, strict=True)
    }
    levels = sorted(
        {level_name(found[run]): found[run] for run in curves if run in found}.items(), key=_order
    )
    colours = level_colours([level for _, level in levels])
    members: dict[str, list[str]] = {name: [] for name, _ in levels}
    for run in curves:
        if run in found:
            members[level_name(found[run])].append(run)
    groups = tuple(
        _group(name, colours[index], DASHES[index % len(DASHES)], members[name], curves)
        for index, (name, _) in enumerate(levels)
    )
    shown = sum(len(group.curves) for group in groups)
    chosen = style or _usual_style(groups)
    return CurvesInfo(
        groups,
        by,
        label(metric),
        head(
            grid,
            f"{metric} of {shown:,} of {len(runs):,} runs"
            f"{'' if chosen == 'bands' else ', a line each'}",
        ),
        None if chance is None else factor * chance,
        chosen,
        is_log,
        _subtitle(chosen, smooth),
    )


def curves_table(info: CurvesInfo) -> pd.DataFrame:
    """Return a row per run and epoch, in the units of the chart."""
    parts = [
        pd.DataFrame(
            {
                info.by or "group": group.name,
                "run_id": run,
                "epoch": curve[:, 0],
                info.y_label: curve[:, 1],
            }
        )
        for group in info.groups
        for run, curve in zip(group.run_ids, group.curves, strict=True)
    ]
    names = [info.by or "group", "run_id", "epoch", info.y_label]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def curves_chart(
    loaded: Runs,
    *,
    metric: str = "",
    by: str = "",
    style: Style | None = None,
    smooth: int = 0,
    scale: str = "linear",
) -> Chart:
    """Learning curves of all runs in groups.

    Raises:
        UserError: no run has logged an epoch, or a name is unknown.
    """
    runs, history = loaded.runs, loaded.history
    if history.empty:
        raise UserError(f"no run of {loaded.grid} has logged an epoch yet")
    metric = known_name(metric or _usual_metric(history), curve_metrics(history), "--metric")
    if by != CONFIGURATION:
        by = pick_setting(runs, by, "--by") if by else usual_setting(runs)
    bound = chance_level(runs, metric)
    info = curves_info(
        runs,
        history,
        metric,
        by,
        chance=bound,
        grid=loaded.grid,
        style=style,
        smooth=smooth,
        is_log=scale == "log",
    )
    ends = [
        f"{group.name or 'all'} {np.median([curve[-1, 1] for curve in group.curves]):.4g}"
        for group in info.groups
        if group.curves
    ]
    alt = f"{info.title}. Median of the last values: {', '.join(ends) or 'none'}."
    return Chart(
        info.title, lambda ax: draw_curves(info, ax), curves_table(info), alt, (WIDTH + 0.2, 4.2)
    )


def curve_metrics(history: pd.DataFrame) -> list[str]:
    """Return what was logged by epoch."""
    return [
        str(name)
        for name in history.columns
        if name != "epoch" and pd.api.types.is_numeric_dtype(history[name])
    ]


def usual_setting(runs: pd.DataFrame) -> str:
    """Return the setting that colours by default: lr if it varies, else the first that does."""
    varying = varying_settings(runs)
    return "lr" if "lr" in varying else next(iter(varying), "")


def draw_curves(info: CurvesInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it."""
    number = sum(len(group.curves) for group in info.groups)
    opacity = min(1.0, 1.5 / max(number, 1) ** 0.3) * (
        0.5 if info.style in ("both", "medians") else 1.0
    )
    for group in info.groups:
        if info.style != "bands" or group.band is None:
            _draw_lines(ax, group, opacity, rasterized=number > RASTER_ABOVE)
        if info.style != "lines" and group.band is not None:
            epochs, median, low, high = group.band.T
            if info.style != "medians":
                ax.fill_between(epochs, low, high, color=group.colour, alpha=0.15, linewidth=0)
            ax.plot(epochs, median, color=group.colour, linestyle=group.dash, linewidth=2)
    if info.chance is not None:
        ax.axhline(info.chance, color="0.4", linewidth=0.8, linestyle=":")
    ax.autoscale_view()
    if info.is_log:
        set_log(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(
        xlabel="epoch (0: before the first update)",
        ylabel=f"{info.y_label}{' (log)' if info.is_log else ''}",
    )
    set_head(ax, info.title, info.subtitle)
    draw_legend(ax, _handles(info), info.by)
    return ax


def _draw_lines(ax: Axes, group: Group, opacity: float, *, rasterized: bool) -> None:
    lines = LineCollection(list(group.curves), colors=[group.colour], alpha=opacity, linewidths=0.9)
    lines.set_rasterized(rasterized)
    ax.add_collection(lines)
    points = np.array([curve[0] for curve in group.curves if len(curve) == 1]).reshape(-1, 2)
    ax.plot(
        points[:, 0], points[:, 1], "o", color=group.colour, markersize=3
    )  # a single epoch makes no line


def _group(
    name: str, colour: Any, dash: Any, members: list[str], curves: dict[str, Array]
) -> Group:
    own = tuple(curves[run] for run in members)
    return Group(name, colour, own, _band(own), dash, tuple(members))


def _band(curves: tuple[Array, ...]) -> Array | None:
    """Median and spread by epoch, as far as at least half of the runs go."""
    if len(curves) < LEAST:
        return None
    points = np.concatenate(curves)
    epochs, place, counts = np.unique(points[:, 0], return_inverse=True, return_counts=True)
    values = np.split(points[np.argsort(place, kind="stable"), 1], np.cumsum(counts)[:-1])
    ends = (0.0, 1.0) if len(curves) < FEW else (0.25, 0.75)
    rows = [
        (epoch, *np.quantile(some, [0.5, *ends]))
        for epoch, some in zip(epochs, values, strict=True)
        if 2 * len(some) >= len(curves)
    ]
    return np.array(rows) if len(rows) > 1 else None


def _curves(
    history: pd.DataFrame, metric: str, factor: float, smooth: int, is_log: bool
) -> dict[str, Array]:
    values = history[metric].astype(float)
    usable = (
        np.isfinite(values) & history["epoch"].notna() & ((values > NOTHING_BELOW) | (not is_log))
    )
    finite = history[usable]
    names = finite["run_id"].astype(str).to_numpy()
    order = np.argsort(names, kind="stable")
    points = np.column_stack(
        [finite["epoch"].to_numpy(float), factor * finite[metric].to_numpy(float)]
    )[order]
    found, starts = np.unique(names[order], return_index=True)
    if not len(found):  # numpy splits nothing into one part
        return {}
    return {
        str(run): _smoothed(curve, smooth)
        for run, curve in zip(found, np.split(points, starts[1:]), strict=True)
    }


def _smoothed(curve: Array, width: int) -> Array:
    """Return a centred running mean; at the ends over what there is."""
    if width < 2 or len(curve) < 2:
        return curve
    ones = np.ones(min(width, len(curve)))
    sums, counts = (
        np.convolve(curve[:, 1], ones, "same"),
        np.convolve(np.ones(len(curve)), ones, "same"),
    )
    return np.column_stack([curve[:, 0], sums / counts])


def _usual_style(groups: tuple[Group, ...]) -> Style:
    if len(groups) > MOST_MEDIANS or all(group.band is None for group in groups):
        return "lines"
    return "both" if len(groups) <= MOST_BANDS else "medians"


def _subtitle(style: Style, smooth: int) -> str:
    band = "" if style == "medians" else f", band: its middle half (whole range below {FEW} runs)"
    median = f"thick: median of a group{band}"
    smoothed = f"smoothed: running mean over {count(smooth, 'epoch')}" if smooth > 1 else ""
    return "; ".join(filter(None, ["" if style == "lines" else median, smoothed]))


def _usual_metric(history: pd.DataFrame) -> str:
    known = curve_metrics(history)
    return next(
        (name for name in ("val/acc", "val/loss") if name in known), next(iter(known), "val/acc")
    )


def _order(item: tuple[str, Any]) -> tuple[int, float, str]:
    return level_key(item[1])


def _handles(info: CurvesInfo) -> list[Line2D]:
    """Return every level, or evenly chosen ones where there are many; highest first."""
    step = -(-len(info.groups) // MAX_LEGEND) or 1
    chosen = list(info.groups)[::-1][::step] if info.by else []
    has_bands = info.style != "lines"
    handles = [
        Line2D(
            [],
            [],
            color=g.colour,
            linestyle=g.dash if has_bands else "-",
            linewidth=2,
            label=shortened(g.name),
        )
        for g in chosen
    ]
    if info.chance is not None:
        handles.append(
            Line2D([], [], color="0.4", linewidth=0.8, linestyle=":", label="chance level")
        )
    return handles
