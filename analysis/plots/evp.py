"""Expected validation performance: the best score to expect from a search of a given budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.data.baselines import chance_level
from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.effects.design import HUGE
from analysis.plots.chart import Chart
from analysis.plots.groups import (
    Look,
    draw_legend,
    head,
    looks,
    pick_metric,
    pick_setting,
    split_by,
)
from analysis.plots.scale import Array
from analysis.plots.style import keep_shares, set_head, set_log, shortened
from analysis.plots.sweep import usual_group
from analysis.stats.expected_performance import EvpCurve, evp_curve
from analysis.text.metrics import is_share, label, render_value
from anlp.core.errors import UserError
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

Against = Literal["configurations", "runs", "hours"]
X_LABELS = {
    "configurations": "configurations tried",
    "runs": "runs, all seeds counted",
    "hours": "training hours, summed over runs (GPU-hours where each run has a GPU)",
}
LOG_X = 8  # budgets beyond: the first few configurations are what matters


@dataclass(frozen=True, slots=True)
class Group:
    """One group with its curve in the units of the chart."""

    name: str
    look: Look
    curve: EvpCurve
    cost: float  # of one configuration, in units of the x axis
    sign: float  # -1 where lower is better: the curve is of negated values
    factor: float

    @property
    def x(self) -> Array:
        """Budgets in units of the x axis."""
        return self.cost * self.curve.budgets

    @property
    def y(self) -> Array:
        """Return what to expect of each."""
        return self.factor * self.sign * self.curve.expected


@dataclass(frozen=True, slots=True)
class EvpInfo:
    """What is drawn."""

    groups: tuple[Group, ...]
    by: str
    against: Against
    y_label: str
    title: str
    subtitle: str
    notes: tuple[str, ...]


def evp_info(
    runs: pd.DataFrame,
    metric: str,
    by: str = "",
    *,
    against: Against = "configurations",
    grid: str = "",
) -> EvpInfo:
    """Return the curve of each group, from the means of its configurations over their search runs.

    Args:
        runs: see `analysis.data.frames`.
        metric: a column of it; where it is of the test set, the search selects by validation.
        by: a setting that makes groups; empty for none.
        against: what a budget is counted in; configurations cost what they do on average.
        grid: for the title.

    Raises:
        UserError: no configuration has a value, or hours are wanted and were not recorded.
    """
    search = runs[runs["purpose"] != "confirm"]
    search = search if len(search) else runs
    values, notes = _configuration_values(search, metric)
    select = selecting_metric(search, metric)
    by_sign = 1.0 if higher_is_better(select) else -1.0
    chosen_by = by_sign * _configuration_values(search, select)[0]
    values = values[values.index.isin(chosen_by.index)]
    if against == "hours" and not ("seconds" in search and search["seconds"].notna().any()):
        raise UserError(
            "--against hours: no run has recorded how long it took; take configurations or runs"
        )
    found = split_by(search, by)
    styles = looks([level for _, level, _ in found])
    groups = []
    for (name, _, group), look in zip(found, styles, strict=True):
        some = values[values.index.isin(group["config_id"])]
        if some.empty:
            notes.append(f"{by}={name}: no configuration has {metric}")
            continue
        sign = 1.0 if higher_is_better(metric) else -1.0
        factor = 100.0 if is_share(metric) else 1.0
        groups.append(
            Group(
                name,
                look,
                evp_curve(
                    (sign * some).tolist(), selected_by=chosen_by.reindex(some.index).tolist()
                ),
                _cost(group, against),
                sign,
                factor,
            )
        )
    if not groups:
        raise UserError(
            f"none of {count(len(runs), 'run')} has finished with a finite {metric}: "
            "nothing to draw"
        )
    number = sum(int(group.curve.budgets[-1]) for group in groups)
    title = head(
        grid, f"expected best {metric} of a random search, from {count(number, 'configuration')}"
    )
    subtitle = (
        "band: ± 1 standard error; dashed: beyond half of the configurations, "
        "where it says too little"
    )
    if select != metric:
        subtitle = f"selected by {select}; {subtitle}"
    return EvpInfo(tuple(groups), by, against, label(metric), title, subtitle, tuple(notes))


def draw_evp(info: EvpInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it."""
    for group in info.groups:
        x, y, sd = group.x, group.y, np.nan_to_num(group.factor * group.curve.sd)
        solid = group.curve.reliable_to
        limit = 100.0 if group.factor != 1 else np.inf
        ax.fill_between(
            x, y - sd, np.minimum(y + sd, limit), color=group.look.colour, alpha=0.15, linewidth=0
        )
        ax.plot(x[:solid], y[:solid], color=group.look.colour, linewidth=1.8)
        ax.plot(
            x[solid - 1 :],
            y[solid - 1 :],
            color=group.look.colour,
            linewidth=1.2,
            linestyle=(0, (3, 2)),
        )
        ax.plot(x[-1], y[-1], color=group.look.colour, marker=group.look.marker)
        ax.plot(x[0], y[0], color=group.look.colour, marker=group.look.marker, markersize=4)
    if max(len(group.x) for group in info.groups) > LOG_X:
        set_log(ax, "x")
    elif info.against != "hours":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if any(group.factor != 1 for group in info.groups):
        keep_shares(ax, "y")
    ax.set(xlabel=X_LABELS[info.against], ylabel=f"expected best {info.y_label}")
    set_head(ax, info.title, info.subtitle)
    handles = [
        Line2D(
            [], [], color=group.look.colour, marker=group.look.marker, label=shortened(group.name)
        )
        for group in info.groups
    ]
    draw_legend(ax, handles if info.by else [], info.by)
    return ax


def evp_table(info: EvpInfo) -> pd.DataFrame:
    """Return a row per group and budget: the drawn value and the estimate of Dodge et al."""
    parts = [
        pd.DataFrame(
            {
                info.by or "group": group.name,
                "configurations": group.curve.budgets.astype(int),
                info.against if info.against != "configurations" else "budget": group.x,
                "expected_best": group.y,
                "sd": group.factor * group.curve.sd,
                "with_repetition": group.factor * group.sign * group.curve.resampled,
                "is_reliable": group.curve.budgets <= group.curve.reliable_to,
            }
        )
        for group in info.groups
    ]
    return pd.concat(parts, ignore_index=True)


def evp_chart(
    loaded: Runs, *, metric: str = "", by: str = "", against: Against = "configurations"
) -> Chart:
    """Return what to expect of searching so many configurations, runs or hours, a line per group.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric)
    by = pick_setting(runs, by, "--by") if by else usual_group(runs, "", ("model", "optimizer"))
    info = evp_info(runs, metric, by, against=against, grid=loaded.grid)
    said = "; ".join(f"{group.name or 'all'}: {_said(group, metric)}" for group in info.groups)
    return Chart(
        info.title,
        lambda ax: draw_evp(info, ax),
        evp_table(info),
        f"{info.title}. {said}.",
        notes=info.notes,
    )


def _configuration_values(runs: pd.DataFrame, metric: str) -> tuple[pd.Series[float], list[str]]:
    """Mean over seeds of each configuration; one that diverged throughout knows nothing."""
    finite = (runs["outcome"] == "ok") & (runs[metric].astype(float).abs() < HUGE)
    values = runs[finite].groupby("config_id")[metric].mean().astype(float)
    diverged = set(runs.loc[runs["outcome"] == "diverged", "config_id"]) - set(values.index)
    bound = chance_level(runs, metric)
    notes = []
    if diverged and bound is not None:
        values = pd.concat([values, pd.Series(bound, index=sorted(diverged))])
        notes.append(
            f"{count(len(diverged), 'configuration')} diverged with every seed, "
            "taken as chance level"
        )
    if left := runs["config_id"].nunique() - len(values):
        notes.append(f"{count(left, 'configuration')} without {metric}, left out")
    return values, notes


def _cost(runs: pd.DataFrame, against: Against) -> float:
    configurations = max(runs["config_id"].nunique(), 1)
    if against == "configurations":
        return 1.0
    return (
        len(runs) / configurations
        if against == "runs"
        else float(runs["seconds"].sum()) / 3600 / configurations
    )


def _said(group: Group, metric: str) -> str:
    y = group.sign * group.curve.expected
    last = int(group.curve.budgets[-1])
    first = render_value(metric, float(y[0]))
    final = render_value(metric, float(y[-1]))
    return f"{first} with one configuration, {final} with {last}"
