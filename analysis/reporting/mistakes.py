"""What the best configuration gets wrong, where its runs wrote down what they predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from analysis.data.load import Runs
from analysis.plots.boundary import boundary_chart
from analysis.plots.chart import Chart
from analysis.plots.confusion import confusion_chart
from analysis.plots.gallery import gallery_chart
from analysis.plots.report import report_chart
from analysis.plots.scatter import scatter_chart
from analysis.plots.seeds import load_seeds
from analysis.reporting.blocks import Block, Cells, Notice, Section, Text, command, plain_sheet
from analysis.reporting.figures import draw_chart
from analysis.reporting.findings import Findings, Missing, attempt
from analysis.text.levels import NOTHING, is_missing, render_level

ROWS = 60  # of the classification report
CHARTS: Mapping[str, Callable[[Runs, str], Chart]] = {
    "confusion": lambda loaded, metric: confusion_chart(loaded, metric=metric),
    "mistakes": lambda loaded, metric: gallery_chart(loaded, metric=metric, show="wrong"),
    "unsure": lambda loaded, metric: gallery_chart(loaded, metric=metric, show="hard"),
    "disagreement": lambda loaded, metric: gallery_chart(loaded, metric=metric, show="disagree"),
    "boundary": lambda loaded, metric: boundary_chart(loaded, metric=metric),
    "scatter": lambda loaded, metric: scatter_chart(loaded, metric=metric),
}


def mistakes_section(findings: Findings) -> Section:
    """Return the section; charts that are none for this task are left out."""
    loaded, metric = findings.loaded, findings.select if findings.select in findings.runs else ""
    seeds = attempt(lambda: load_seeds(loaded, metric))
    if isinstance(seeds, Missing):
        return _section(Notice(f"Nothing is known of single samples: {seeds.reason}."))
    made = (draw_chart(name, partial(make, loaded, metric)) for name, make in CHARTS.items())
    figures = [figure for figure in made if figure is not None]
    kinds = [figure.name for figure in figures if figure.name in ("confusion", "scatter")]
    report = attempt(lambda: report_chart(loaded, metric=metric))
    tables = [] if isinstance(report, Missing) else [_table(report)]
    first = Text(
        f"On the test set, by the best configuration that kept its predictions: {seeds.said}."
    )
    return _section(
        first,
        *tables,
        *figures,
        *(
            command("analysis.plot", kind, findings.address, *findings.filter_words)
            for kind in kinds[:1]
        ),
    )


def _table(report: Chart) -> Block:
    """Precision, recall and the like, class by class."""
    heads = tuple(map(str, report.table.columns))
    rows = report.table.head(ROWS).itertuples(index=False)
    lines = [tuple(_cell(value) for value in row) for row in rows]
    numbers = frozenset(
        i for i, name in enumerate(heads) if pd.api.types.is_numeric_dtype(report.table[name])
    )
    more = len(report.table) - len(lines)
    return Cells(
        plain_sheet(heads, lines, numbers),
        f"{report.alt} {f'{more} more classes are left out.' if more else ''}",
    )


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return NOTHING if is_missing(float(value)) else f"{value:.2f}"
    return render_level(value)


def _section(*blocks: Block) -> Section:
    return Section("mistakes", "Confusion and mistakes", blocks)
