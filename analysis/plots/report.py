"""Classification report over seeds: precision, recall and F1 per class; macro, weighted, micro."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.data.load import Runs
from analysis.data.predictions import want_classes
from analysis.plots.chart import WIDTH, Chart
from analysis.plots.groups import MARKERS, draw_legend, head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import OKABE_ITO, set_head, shortened
from analysis.stats.classification import Scores, confusion, scores

MEASURES = ("precision", "recall", "f1")
SUMMARIES = ("macro mean", "weighted mean", "micro mean (accuracy)")
ROW, MAX_HEIGHT = 0.28, 14.0  # inches


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """What is shown; rows are the classes, then `SUMMARIES`."""

    rows: tuple[str, ...]
    n_classes: int
    means: Array  # (n_rows, 3) of `MEASURES`, mean over seeds, in percent
    sds: Array  # likewise, NaN for one seed
    support: Array  # (n_rows,) samples
    title: str
    subtitle: str


def report_info(seeds: Seeds) -> ReportInfo:
    """Return the report of the seeds of one configuration.

    Args:
        seeds: with classes.
    """
    classes = seeds.found[0].outputs.shape[1]
    found = [
        scores(confusion(one.classes, one.outputs.argmax(axis=1), classes)) for one in seeds.found
    ]
    values = 100 * np.stack([_values(one) for one in found])  # (seeds, rows, measures)
    names = seeds.found[0].names
    names = names if len(names) == classes else tuple(map(str, range(classes)))
    several = len(found) > 1
    support = found[0].support
    return ReportInfo(
        (*names, *SUMMARIES),
        classes,
        values.mean(axis=0),
        values.std(axis=0, ddof=1) if several else np.full(values.shape[1:], np.nan),
        np.concatenate([support, [support.sum()] * len(SUMMARIES)]),
        head(seeds.grid, f"classification report, {seeds.said}"),
        "mean over seeds, line: ± standard deviation" if several else "",
    )


def draw_report(info: ReportInfo, ax: Axes) -> Axes:
    """Draw the report as points on `ax`, a row per class, the summaries at the bottom."""
    for index, measure in enumerate(MEASURES):
        places = np.arange(len(info.rows)) + (index - 1) * 0.22
        mean, sd = info.means[:, index], np.nan_to_num(info.sds[:, index])
        ax.hlines(
            places, mean - sd, np.minimum(mean + sd, 100), color=OKABE_ITO[index], linewidth=1.2
        )
        ax.plot(mean, places, MARKERS[index], color=OKABE_ITO[index], markersize=4, label=measure)
    ax.axhline(info.n_classes - 0.5, color="0.6", linewidth=0.8)
    labels = [
        f"{shortened(name, 24)} ({n:,.0f})"
        for name, n in zip(info.rows, info.support.tolist(), strict=True)
    ]
    ax.set_yticks(range(len(info.rows)), labels)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set(ylim=(len(info.rows) - 0.4, -0.6), xlabel="[%]", ylabel="class (samples)")
    set_head(ax, info.title, info.subtitle)
    handles = [
        Line2D([], [], color=OKABE_ITO[index], marker=MARKERS[index], label=measure)
        for index, measure in enumerate(MEASURES)
    ]
    draw_legend(ax, handles)
    return ax


def report_table(info: ReportInfo) -> pd.DataFrame:
    """Return a row per class, then the summaries; scores in percent."""
    columns: dict[str, object] = {"class": info.rows}
    for index, measure in enumerate(MEASURES):
        columns[f"{measure} [%]"] = info.means[:, index]
        if np.isfinite(info.sds).any():
            columns[f"{measure} sd"] = info.sds[:, index]
    return pd.DataFrame({**columns, "support": info.support.astype(int)})


def report_chart(loaded: Runs, *, metric: str = "") -> Chart:
    """Return the classification report of the best configuration over its seeds.

    Raises:
        UserError: no run wrote predictions, or they are of quantities.
    """
    seeds = load_seeds(loaded, metric)
    want_classes(seeds.found, "a classification report")
    info = report_info(seeds)
    worst = int(np.nanargmin(info.means[: info.n_classes, 2]))
    macro = info.means[info.n_classes, 2]
    alt = (
        f"{info.title}. Macro F1 {macro:.2f} %; "
        f"lowest F1: {info.rows[worst]}, {info.means[worst, 2]:.2f} %."
    )
    size = (WIDTH, min(1.8 + ROW * len(info.rows), MAX_HEIGHT))
    return Chart(info.title, lambda ax: draw_report(info, ax), report_table(info), alt, size)


def _values(found: Scores) -> Array:
    classes = np.stack([getattr(found, measure) for measure in MEASURES], axis=1)
    macro = [found.macro(measure) for measure in MEASURES]
    weighted = [found.weighted(measure) for measure in MEASURES]
    return np.vstack([classes, macro, weighted, [found.accuracy] * len(MEASURES)])
