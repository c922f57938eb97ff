"""A chart before it is drawn: the function that draws it, the table behind it, its alt text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.style import new_figure, save
from analysis.text.frames import render_frame
from analysis.text.output import write_file

WIDTH, HEIGHT = 6.8, 4.2  # inches


@dataclass(frozen=True, slots=True)
class Chart:
    """What every kind of chart is to a command, a report or a notebook."""

    title: str
    draw: Callable[[Axes], object]
    table: pd.DataFrame  # tidy, raw numbers: accuracies as shares
    alt: str  # one or two sentences with the numbers that a reader would take away
    size: tuple[float, float] = (WIDTH, HEIGHT)  # inches
    notes: tuple[str, ...] = ()  # what was left out or could not be done, and why


def save_chart(chart: Chart, picture: Path) -> Path:
    """Draws the chart into `picture` and writes its table beside it; returns the table's path.

    Raises:
        UserError: the format is unknown or a file cannot be written.
    """
    with new_figure(*chart.size) as figure:
        chart.draw(figure.add_subplot())
        save(figure, picture, alt=chart.alt)
    table = picture.with_suffix(".csv")
    write_file(table, render_frame(chart.table, "csv").encode())
    return table
