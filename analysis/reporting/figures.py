"""Charts drawn into bytes; equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

from matplotlib.axes import Axes

from analysis.plots.chart import Chart
from analysis.plots.style import new_figure, write
from analysis.reporting.blocks import Figure
from anlp.core.errors import UserError

HEAVY = 15_000  # points: drawn as dots beyond, since lines would make a page of many MB
PER_ROW = 2  # points of a chart for a row of its table: a marker and a bar


def draw(  # noqa: PLR0913 - every figure has all of these
    name: str,
    size: tuple[float, float],
    draw_on: Callable[[Axes], object],
    *,
    alt: str,
    caption: str,
    points: int,
    data: bytes = b"",
) -> Figure:
    """Return the figure, as lines where they are few enough.

    Args:
        name: of its files.
        size: in inches.
        draw_on: draws on the axes that it is given.
        alt: for those who cannot see it.
        caption: for all.
        points: how many it is drawn through, nearly.
        data: the numbers behind it, as CSV.
    """
    form = "svg" if points <= HEAVY else "png"
    metadata: Mapping[str, str | None] = {"Date": None} if form == "svg" else {"Software": ""}
    content = BytesIO()
    with new_figure(*size) as figure:
        draw_on(figure.add_subplot())
        write(figure, content, form, metadata)
    return Figure(name, form, content.getvalue(), alt, caption, data)


def draw_chart(name: str, make: Callable[[], Chart], *, points: int = 0) -> Figure | None:
    """Return the chart as a figure, None where the runs have nothing that it could show.

    Args:
        name: of its files.
        make: builds the chart.
        points: as for `draw`; by the rows of its table unless given.
    """
    try:
        chart = make()
        data = chart.table.to_csv(index=False, lineterminator="\n").encode()
        caption = " ".join(
            [f"{chart.alt.rstrip('.')}.", *(f"{note.rstrip('.')}." for note in chart.notes)]
        )
        return draw(
            name,
            chart.size,
            chart.draw,
            alt=chart.title,
            caption=caption,
            points=points or PER_ROW * len(chart.table),
            data=data,
        )
    except UserError:  # it says why this chart is none for these runs
        return None
