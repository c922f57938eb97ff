"""Training and validation curves in one chart: where they part, a model overfits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.data.load import Runs
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.curves import curve_metrics, usual_setting
from analysis.plots.groups import (
    draw_legend,
    head,
    level_colours,
    level_name,
    pick_setting,
    split_by,
)
from analysis.plots.scale import Array
from analysis.plots.style import set_head, shortened
from analysis.text.metrics import is_share, label
from anlp.core.errors import UserError, known_name
from anlp.core.metrics import higher_is_better
from anlp.core.units import count

TRAIN, VAL = "train/", "val/"
MOST = 7  # groups: more lines of two kinds cannot be followed
USUAL = ("loss", "acc")


@dataclass(frozen=True, slots=True)
class Pair:
    """The curves of one level; values are medians over its runs, accuracies in percent."""

    name: str
    colour: Any
    epochs: Array  # (n_epochs,)
    train: Array  # (n_epochs,)
    val: Array  # (n_epochs,)
    n_runs: int
    best: int  # position of the best validation value

    @property
    def gap(self) -> float:
        """Validation minus training at the last epoch."""
        return float(self.val[-1] - self.train[-1])


@dataclass(frozen=True, slots=True)
class OverfitInfo:
    """What is drawn."""

    pairs: tuple[Pair, ...]
    by: str
    measure: str  # without the part: loss, acc
    title: str
    subtitle: str


def overfit_info(
    runs: pd.DataFrame, history: pd.DataFrame, measure: str, by: str = "", grid: str = ""
) -> OverfitInfo:
    """Return the pairs of curves of each level of a setting.

    Args:
        runs: see `analysis.data.frames`.
        history: likewise, with `train/MEASURE` and `val/MEASURE`.
        measure: what both parts have: loss, acc.
        by: the setting; empty: all runs are one group.
        grid: for the title.

    Raises:
        UserError: the setting has too many values.
    """
    groups = split_by(runs, by)
    if len(groups) > MOST:
        raise UserError(
            f"--by {by}: {len(groups)} values make no readable chart (at most {MOST}); "
            "choose with --only"
        )
    colours = level_colours([level for _, level, _ in groups])
    pairs = [
        _pair(name, colour, history[history["run_id"].isin(members["run_id"])], measure)
        for (name, _, members), colour in zip(groups, colours, strict=True)
    ]
    found = tuple(pair for pair in pairs if pair is not None)
    shown = sum(pair.n_runs for pair in found)
    return OverfitInfo(
        found,
        by,
        measure,
        head(grid, f"{measure} in training and validation, {count(shown, 'run')}"),
        "solid: validation, its best epoch marked; dashed: training; "
        "medians of the runs at each epoch",
    )


def draw_overfit(info: OverfitInfo, ax: Axes) -> Axes:
    """Draw the chart on `ax`, its legend beside it."""
    for pair in info.pairs:
        ax.plot(pair.epochs, pair.train, color=pair.colour, linestyle=(0, (4, 1.5)), linewidth=1.3)
        ax.plot(pair.epochs, pair.val, color=pair.colour, linewidth=1.8)
        ax.plot(pair.epochs[pair.best], pair.val[pair.best], "o", color=pair.colour, markersize=5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch (0: before the first update)", ylabel=label(info.measure))
    set_head(ax, info.title, info.subtitle)
    handles = [
        Line2D(
            [],
            [],
            color=pair.colour,
            linewidth=1.8,
            label=f"{shortened(pair.name) or 'all'} ({pair.n_runs})",
        )
        for pair in info.pairs
    ]
    handles.append(Line2D([], [], color="0.4", linestyle=(0, (4, 1.5)), label="training"))
    draw_legend(ax, handles, info.by)
    return ax


def overfit_table(info: OverfitInfo) -> pd.DataFrame:
    """Return a row per level and epoch, in the units of the chart."""
    parts = [
        pd.DataFrame(
            {
                info.by or "group": pair.name,
                "epoch": pair.epochs.astype(int),
                f"train/{label(info.measure)}": pair.train,
                f"val/{label(info.measure)}": pair.val,
                "runs": pair.n_runs,
            }
        )
        for pair in info.pairs
    ]
    return pd.concat(parts, ignore_index=True)


def overfit_chart(loaded: Runs, *, metric: str = "", by: str = "") -> Chart:
    """Training and validation curves of all runs, by a setting.

    Raises:
        UserError: no run has logged both, or a name is unknown.
    """
    history = loaded.history
    known = [] if history.empty else _measures(history)
    if not known:
        raise UserError(
            f"no run of {loaded.grid} has logged a measure of training and validation by epoch"
        )
    usual = next((name for name in USUAL if name in known), known[0])
    measure = known_name(metric.rpartition("/")[2], known, "--metric") if metric else usual
    by = pick_setting(loaded.runs, by, "--by") if by else usual_setting(loaded.runs)
    info = overfit_info(loaded.runs, history, measure, by, loaded.grid)
    if not info.pairs:
        raise UserError(f"no run has logged a finite {measure} of training and validation")
    return Chart(
        info.title,
        lambda ax: draw_overfit(info, ax),
        overfit_table(info),
        _said(info),
        (WIDTH + 0.2, 4.2),
    )


def _measures(history: pd.DataFrame) -> list[str]:
    names = curve_metrics(history)
    return [
        name.removeprefix(TRAIN)
        for name in names
        if name.startswith(TRAIN) and VAL + name[len(TRAIN) :] in names
    ]


def _pair(name: str, colour: Any, history: pd.DataFrame, measure: str) -> Pair | None:
    """None where no run has logged both."""
    factor = 100.0 if is_share(measure) else 1.0
    columns = [TRAIN + measure, VAL + measure]
    finite = np.isfinite(history[columns].to_numpy(float)).all(axis=1)
    usable = history[finite & history["epoch"].notna().to_numpy()]
    if usable.empty:
        return None
    runs = usable.groupby("epoch")[columns]
    medians = (
        factor * runs.median()[runs.size() * 2 >= usable["run_id"].nunique()]
    )  # where half of the runs still are
    train, val = (medians[column].to_numpy(float) for column in columns)
    best = int(val.argmax() if higher_is_better(measure) else val.argmin())
    return Pair(
        name,
        colour,
        medians.index.to_numpy(float),
        train,
        val,
        int(usable["run_id"].nunique()),
        best,
    )


def _said(info: OverfitInfo) -> str:
    ends = [
        f"{level_name(pair.name) if pair.name else 'all'} "
        f"{pair.train[-1]:.4g} and {pair.val[-1]:.4g} "
        f"(best validation {pair.val[pair.best]:.4g} at epoch {pair.epochs[pair.best]:g})"
        for pair in info.pairs
    ]
    return f"{info.title}. Training and validation at the end: {'; '.join(ends)}."
