"""Data frames, such as the table behind a chart, as text, Markdown, CSV and LaTeX."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.text.levels import NOTHING, is_missing
from analysis.text.tables import TextTable, latex_lines, markdown_lines, plain_cells
from anlp.console.align import align

TEXT_SUFFIXES = {"text": "txt", "md": "md", "csv": "csv", "latex": "tex"}
DECIMALS = 4


def render_frame(frame: pd.DataFrame, form: str) -> str:
    """Render a frame in one of the formats of `TEXT_SUFFIXES`.

    CSV has every digit, the other formats round.

    Args:
        frame: its columns are of one kind each.
        form: text, md, csv or latex.
    """
    if form == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    heads = tuple(str(name) for name in frame.columns)
    is_number = tuple(pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns)
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    if form == "text":
        return "\n".join(align([heads, *rows], is_number)) + "\n"
    table = TextTable(heads, is_number, tuple(plain_cells(row) for row in rows))
    lines = markdown_lines(table) if form == "md" else latex_lines(table)
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if is_missing(value):
        return NOTHING
    return f"{value:.{DECIMALS}g}" if isinstance(value, float) else str(value).replace("\n", " ")
