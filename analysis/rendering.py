"""A results table as text for a terminal, Markdown, CSV, LaTeX, HTML and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len

from analysis.caption import render_caption
from analysis.sheet import Sheet, make_sheet, raw_cells
from analysis.tabulate import Row, Table

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
HTML_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;color-scheme:light dark;margin:2em}"
    "table{border-collapse:collapse}caption{caption-side:bottom;text-align:left;max-width:60em;padding-top:.8em}"
    "th,td{padding:.2em .8em;text-align:right}th.text,td.text{text-align:left}"
    "thead th{border-top:2px solid;border-bottom:1px solid}tbody tr:last-child td{border-bottom:2px solid}"
    "tr.rule td{border-top:1px solid}"
)
LATEX = {
    **{sign: f"\\{sign}" for sign in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "×": r"$\times$",
    "\n": " ",
}


def render_text(table: Table, *, bold: bool = False) -> str:
    """Aligned columns; the best row in bold with terminal codes, or with a star behind it without."""
    sheet = make_sheet(table)
    widths = [max(map(cell_len, column)) for column in zip(sheet.heads, *sheet.lines, strict=True)]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_aligned(sheet.heads, widths, sheet.is_number), rule]
    for index, (cells, is_best) in enumerate(zip(sheet.lines, sheet.best, strict=True)):
        if sheet.is_first_baseline(index):
            lines.append(rule)
        line = _aligned(cells, widths, sheet.is_number)
        lines.append((f"{BOLD}{line}{PLAIN}" if bold else f"{line} *") if is_best else line)
    legend = "" if bold else " *: best."
    return "\n".join([*lines, "", render_caption(table) + legend, ""])


def render_markdown(table: Table) -> str:
    """A pipe table, the best score in bold; what Markdown would read as its own is escaped."""
    sheet = make_sheet(table)
    lines = _formatted(sheet, _markdown, "**{}**")
    rule = ["---:" if number else "---" for number in sheet.is_number]
    rows = "\n".join("| " + " | ".join(cells) + " |" for cells in (map(_markdown, sheet.heads), rule, *lines))
    return f"{rows}\n\n{_markdown(render_caption(table))}\n"


def render_latex(table: Table) -> str:
    r"""A `table` environment that needs `\usepackage{booktabs}` and nothing else."""
    sheet = make_sheet(table)
    heads = " & ".join(map(_latex, sheet.heads))
    body: list[str] = []
    for index, cells in enumerate(_formatted(sheet, _latex, r"\textbf{{{}}}")):
        body += [r"\midrule"] if sheet.is_first_baseline(index) else []
        body.append(" & ".join(cells) + r" \\")
    columns = "".join("r" if number else "l" for number in sheet.is_number)
    head = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(render_caption(table))}}}"]
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule"]
    return "\n".join([*head, *top, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def render_html(table: Table) -> str:
    """A page of its own that needs nothing from anywhere."""
    sheet = make_sheet(table)
    title = html.escape(table.grid or "results")
    body = "\n".join(
        f"<tr{' class=rule' if sheet.is_first_baseline(index) else ''}>{_html_cells('td', cells, sheet.is_number)}</tr>"
        for index, cells in enumerate(_formatted(sheet, html.escape, "<b>{}</b>"))
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
        text, list(raw_cells(Row((None,) * len(table.settings), (), 0, None), table)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def render_json(table: Table) -> str:
    """The rows of `render_csv` with the scores of every seed, the caption, and what was left out."""
    rows = [{**raw_cells(row, table), "scores": row.scores, "is_best": row.is_best} for row in table.rows]
    form = {
        "grid": table.grid,
        "caption": render_caption(table),
        "configurations": table.n_configurations,
        "runs": table.n_runs,
        "left_out": table.left_out,
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


def _aligned(cells: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> str:
    """One line; widths are in terminal cells, of which some letters take two and some none."""
    padded = []
    for cell, width, number in zip(cells, widths, is_number, strict=True):
        blanks = " " * (width - cell_len(cell))
        padded.append(blanks + cell if number else cell + blanks)
    return "  ".join(padded).rstrip()


def _formatted(sheet: Sheet, escape: Callable[[str], str], bold: str) -> list[list[str]]:
    lines = [[escape(cell) for cell in cells] for cells in sheet.lines]
    for cells, is_best in zip(lines, sheet.best, strict=True):
        cells[-1] = bold.format(cells[-1]) if is_best else cells[-1]
    return lines


def _html_cells(tag: str, cells: Sequence[str], is_number: Sequence[bool]) -> str:
    return "".join(
        f"<{tag}>{cell}</{tag}>" if number else f"<{tag} class=text>{cell}</{tag}>"
        for cell, number in zip(cells, is_number, strict=True)
    )


def _markdown(text: str) -> str:
    escaped = re.sub(r"([\\|*_`<>])", r"\\\1", text.replace("\n", " "))
    return escaped.replace("](", "]\\(")  # no links


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
