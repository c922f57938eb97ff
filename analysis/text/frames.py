"""The table behind a chart as text for a terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.text.align import align
from analysis.text.escape import escape_latex, escape_markdown
from analysis.text.levels import NOTHING

TEXT_SUFFIXES = {"text": "txt", "md": "md", "csv": "csv", "latex": "tex"}
DECIMALS = 4


def render_frame(frame: pd.DataFrame, form: str) -> str:
    """The frame in one of the formats of `TEXT_SUFFIXES`; CSV has every digit, the others round.

    Args:
        frame: its columns are of one kind each.
        form: text, md, csv or latex.
    """
    if form == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    heads = [str(name) for name in frame.columns]
    is_number = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    if form == "text":
        return "\n".join(align([heads, *rows], is_number)) + "\n"
    return (_markdown if form == "md" else _latex)(heads, rows, is_number)


def _markdown(heads: list[str], rows: list[list[str]], is_number: list[bool]) -> str:
    rule = ["---:" if number else "---" for number in is_number]
    lines = [[escape_markdown(cell) for cell in cells] for cells in (heads, *rows)]
    return (
        "\n".join("| " + " | ".join(cells) + " |" for cells in (lines[0], rule, *lines[1:])) + "\n"
    )


def _latex(heads: list[str], rows: list[list[str]], is_number: list[bool]) -> str:
    columns = "".join("r" if number else "l" for number in is_number)
    first, *body = [" & ".join(map(escape_latex, cells)) + r" \\" for cells in (heads, *rows)]
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        first,
        r"\midrule",
        *body,
        r"\bottomrule",
    ]
    return "\n".join([*lines, r"\end{tabular}", ""])


def _cell(value: Any) -> str:
    if value is None or value != value:
        return NOTHING
    return f"{value:.{DECIMALS}g}" if isinstance(value, float) else str(value).replace("\n", " ")
