"""Render tables of plain text cells as aligned text, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from analysis.text.escape import escape_latex, escape_markdown
from anlp.console.align import align

Mark = Literal["best", "tied", "equivalent"]
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"  # codes of terminals

_MARKDOWN: Mapping[Mark, str] = {"best": "**{}**", "tied": "{} †", "equivalent": "{} ‡"}
_LATEX: Mapping[Mark, str] = {
    "best": r"\textbf{{{}}}",
    "tied": r"{}$^\dagger$",
    "equivalent": r"{}$^\ddagger$",
}
_HTML: Mapping[Mark, str] = {
    "best": "<b>{}</b>",
    "tied": "{}<sup>†</sup>",
    "equivalent": "{}<sup>‡</sup>",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table."""

    text: str
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before any format; texts are plain, renderers escape them."""

    heads: tuple[str, ...]
    is_number: tuple[bool, ...]  # per column: aligned to the right
    lines: tuple[tuple[Cell, ...], ...]
    rules: frozenset[int] = frozenset()  # lines with a rule above


def plain_cells(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return the texts as cells without marks."""
    return tuple(Cell(text) for text in texts)


def text_lines(table: TextTable, *, bold: bool = False) -> list[str]:
    """Align a table for a terminal or a text file.

    Args:
        table: what is shown.
        bold: mark the line of the best with terminal codes, instead of a star behind its score.
    """
    signs = {None: "  ", "best": "  " if bold else " *", "tied": " †", "equivalent": " ‡"}
    columns = zip(*table.lines, strict=True)
    has_marks = [any(cell.mark for cell in column) for column in columns]
    if not table.lines:
        has_marks = [False] * len(table.heads)
    rows = [[head + "  " * marked for head, marked in zip(table.heads, has_marks, strict=True)]]
    for line in table.lines:
        cells = zip(line, has_marks, strict=True)
        rows.append([cell.text + signs[cell.mark] * marked for cell, marked in cells])
    first, *rest = align(rows, table.is_number)
    rule = "─" * max(map(cell_len, (first, *rest)))
    lines = [first, rule]
    for index, (line, text) in enumerate(zip(table.lines, rest, strict=True)):
        if index in table.rules:
            lines.append(rule)
        is_best = any(cell.mark == "best" for cell in line)
        lines.append(f"{BOLD}{text}{PLAIN}" if bold and is_best else text)
    return lines


def markdown_lines(table: TextTable, escape: Callable[[str], str] = escape_markdown) -> list[str]:
    """Render a pipe table, the best score in bold."""
    rule = ["---:" if number else "---" for number in table.is_number]
    rows = [[escape(head) for head in table.heads], rule]
    rows += [[_marked(cell, escape, _MARKDOWN) for cell in line] for line in table.lines]
    return ["| " + " | ".join(row) + " |" for row in rows]


def latex_lines(table: TextTable) -> list[str]:
    """Render a `tabular` environment with the rules of the package booktabs."""
    columns = "".join("r" if number else "l" for number in table.is_number)
    heads = " & ".join(escape_latex(head) for head in table.heads)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule"]
    for index, line in enumerate(table.lines):
        if index in table.rules:
            lines.append(r"\midrule")
        lines.append(" & ".join(_marked(cell, escape_latex, _LATEX) for cell in line) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def html_parts(table: TextTable, *, scopes: bool = False) -> tuple[str, str]:
    """Render the rows within `thead` and within `tbody`.

    Args:
        table: what is shown.
        scopes: tell screen readers that the first column names the rows.
    """
    of_column = ' scope="col"' if scopes else ""
    heads = ""
    for head, is_number in zip(table.heads, table.is_number, strict=True):
        heads += f"<th{of_column}{_html_class(is_number)}>{html.escape(head)}</th>"
    rows = []
    for index, line in enumerate(table.lines):
        cells = ""
        for column, (cell, is_number) in enumerate(zip(line, table.is_number, strict=True)):
            text = _marked(cell, html.escape, _HTML)
            if scopes and column == 0:
                cells += f'<th scope="row"{_html_class(is_number)}>{text}</th>'
            else:
                cells += f"<td{_html_class(is_number)}>{text}</td>"
        rule = " class=rule" if index in table.rules else ""
        rows.append(f"<tr{rule}>{cells}</tr>")
    return f"<tr>{heads}</tr>", "\n".join(rows)


def _html_class(is_number: bool) -> str:
    return "" if is_number else " class=text"


def _marked(cell: Cell, escape: Callable[[str], str], forms: Mapping[Mark, str]) -> str:
    text = escape(cell.text)
    return text if cell.mark is None else forms[cell.mark].format(text)
