"""A results table as text for a terminal, Markdown, CSV, LaTeX, HTML and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len

from analysis.results.caption import render_caption
from analysis.results.cells import make_sheet, raw_cells
from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.text.align import align
from analysis.text.escape import escape_latex, escape_markdown
from analysis.text.sheet import Sheet

WIDTH = 100  # characters of a line of text that eyes follow
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
HTML_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;color-scheme:light dark;margin:2em}"
    "table{border-collapse:collapse}caption{caption-side:bottom;text-align:left;max-width:60em;padding-top:.8em}"
    "th,td{padding:.2em .8em;text-align:right}th.text,td.text{text-align:left}"
    "thead th{border-top:2px solid;border-bottom:1px solid}tbody tr:last-child td{border-bottom:2px solid}"
    "tr.rule td{border-top:1px solid}"
)


def render_text(table: Table, *, bold: bool = False, width: int = WIDTH) -> str:
    """Aligned columns; the best score in bold with terminal codes, or with a star behind it without.

    Args:
        table: what is printed.
        bold: whether for a terminal.
        width: of the caption's lines.
    """
    sheet = make_sheet(table)
    marked = [
        [f"{cell}{_sign(sheet, i, j, bold)}" for j, cell in enumerate(line)]
        for i, line in enumerate(sheet.lines)
    ]
    heads = [f"{head}{'  ' if _has_marks(sheet, j) else ''}" for j, head in enumerate(sheet.heads)]
    first, *rest = align([heads, *marked], sheet.is_number)
    rule = "─" * max(map(cell_len, (first, *rest)))
    lines = [first, rule]
    for index, line in enumerate(rest):
        if index in sheet.rules:
            lines.append(rule)
        is_bold = bold and "best" in [sheet.marks.get((index, j)) for j in range(len(sheet.heads))]
        lines.append(f"{BOLD}{line}{PLAIN}" if is_bold else line)
    legend = "" if bold else " *: best."
    return "\n".join([*lines, "", _wrapped(render_caption(table) + legend, width), ""])


def render_markdown(table: Table) -> str:
    """A pipe table, the best score in bold; what Markdown would read as its own is escaped."""
    sheet = make_sheet(table)
    lines = _formatted(sheet, escape_markdown, "**{}**", "{} †")
    rule = ["---:" if number else "---" for number in sheet.is_number]
    rows = "\n".join(
        "| " + " | ".join(cells) + " |"
        for cells in (map(escape_markdown, sheet.heads), rule, *lines)
    )
    return f"{rows}\n\n{_markdown_lines(escape_markdown(render_caption(table)))}\n"


def render_latex(table: Table) -> str:
    r"""A `table` environment that needs `\usepackage{booktabs}` and nothing else."""
    sheet = make_sheet(table)
    heads = " & ".join(map(escape_latex, sheet.heads))
    body: list[str] = []
    for index, cells in enumerate(
        _formatted(sheet, escape_latex, r"\textbf{{{}}}", r"{}$^\dagger$")
    ):
        body += [r"\midrule"] if index in sheet.rules else []
        body.append(" & ".join(cells) + r" \\")
    columns = "".join("r" if number else "l" for number in sheet.is_number)
    head = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(render_caption(table))}}}"]
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule"]
    return "\n".join([*head, *top, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def render_html(table: Table) -> str:
    """A page of its own that needs nothing from anywhere."""
    sheet = make_sheet(table)
    title = html.escape(table.grid or "results")
    body = "\n".join(
        f"<tr{' class=rule' if index in sheet.rules else ''}>{_html_cells('td', cells, sheet.is_number)}</tr>"
        for index, cells in enumerate(_formatted(sheet, html.escape, "<b>{}</b>", "{}<sup>†</sup>"))
    )
    heads = _html_cells("th", [html.escape(head) for head in sheet.heads], sheet.is_number)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{HTML_STYLE}</style></head>\n<body><table>\n<caption>{html.escape(render_caption(table))}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></body></html>\n"
    )


def render_csv(table: Table) -> str:
    """Raw numbers, not rounded, accuracies as shares; the first column tells configurations from baselines."""
    rows = [raw_cells(row, table) for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        list(raw_cells(Row((None,) * len(table.settings), (), 0, None), table)),
        lineterminator="\n",
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def render_json(table: Table) -> str:
    """The rows of `render_csv` with the scores of every seed, the caption, and what was left out."""
    rows = [
        {
            **raw_cells(row, table),
            "scores": row.scores,
            "seeds": row.seeds,
            "is_best": row.is_best,
            "is_tied": row.is_tied,
        }
        for row in table.rows
    ]
    form = {
        "grid": table.grid,
        "caption": render_caption(table),
        "configurations": table.n_configurations,
        "runs": table.n_runs,
        "left_out": table.left_out,
        "expected_optimism": table.optimism and table.optimism.expected,
        "rows": rows,
    }
    return json.dumps(form, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


RENDERERS: Mapping[str, Callable[[Table], str]] = {
    "text": render_text,
    "md": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
    "html": render_html,
    "json": render_json,
}


def _sign(sheet: Sheet, line: int, column: int, bold: bool) -> str:
    """What follows a score; the others of its column make room for it."""
    if not _has_marks(sheet, column):
        return ""
    signs: Mapping[str | None, str] = {None: "  ", "best": "  " if bold else " *", "tied": " †"}
    return signs[sheet.marks.get((line, column))]


def _has_marks(sheet: Sheet, column: int) -> bool:
    return any(place == column for _, place in sheet.marks)


def _formatted(sheet: Sheet, escape: Callable[[str], str], best: str, tied: str) -> list[list[str]]:
    lines = [[escape(cell) for cell in cells] for cells in sheet.lines]
    for (line, column), mark in sheet.marks.items():
        lines[line][column] = (best if mark == "best" else tied).format(lines[line][column])
    return lines


def _html_cells(tag: str, cells: Sequence[str], is_number: Sequence[bool]) -> str:
    return "".join(
        f"<{tag}>{cell}</{tag}>" if number else f"<{tag} class=text>{cell}</{tag}>"
        for cell, number in zip(cells, is_number, strict=True)
    )


def _wrapped(text: str, width: int = WIDTH) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _markdown_lines(text: str) -> str:
    """Lines of one paragraph, none of which begins a list or a heading."""
    lines = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", _wrapped(text), flags=re.MULTILINE)
    return re.sub(r"^([#+=-]+)(?=\s|$)", r"\\\1", lines, flags=re.MULTILINE)
