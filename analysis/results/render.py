"""Render a results table as text for a terminal, Markdown, CSV, LaTeX, HTML and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
from collections.abc import Callable, Mapping

from analysis.results.caption import render_caption
from analysis.results.cells import make_text_table, raw_cells, raw_names
from analysis.results.table import Table
from analysis.text.escape import escape_latex, escape_markdown, guard_line_starts
from analysis.text.tables import html_parts, latex_lines, markdown_lines, text_lines

WIDTH = 100  # characters of a line of text that eyes follow
HTML_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;color-scheme:light dark;margin:2em}"
    "table{border-collapse:collapse}"
    "caption{caption-side:bottom;text-align:left;max-width:60em;padding-top:.8em}"
    "th,td{padding:.2em .8em;text-align:right}th.text,td.text{text-align:left}"
    "thead th{border-top:2px solid;border-bottom:1px solid}"
    "tbody tr:last-child td{border-bottom:2px solid}"
    "tr.rule td{border-top:1px solid}"
)


def render_text(table: Table, *, bold: bool = False, width: int = WIDTH) -> str:
    """Align the columns; the best score has a star behind it, or its line is bold.

    Args:
        table: what is printed.
        bold: with the codes of a terminal instead of a star.
        width: of the caption's lines.
    """
    lines = text_lines(make_text_table(table), bold=bold)
    has_star = not bold and any(row.is_best for row in table.rows)
    legend = " *: best." if has_star else ""
    return "\n".join([*lines, "", _wrapped(render_caption(table) + legend, width), ""])


def render_markdown(table: Table) -> str:
    """Render a pipe table, the best score in bold, and the caption as a paragraph."""
    rows = "\n".join(markdown_lines(make_text_table(table)))
    caption = guard_line_starts(_wrapped(escape_markdown(render_caption(table))))
    return f"{rows}\n\n{caption}\n"


def render_latex(table: Table) -> str:
    r"""Render a `table` environment that needs `\usepackage{booktabs}` and nothing else."""
    caption = rf"\caption{{{escape_latex(render_caption(table))}}}"
    tabular = latex_lines(make_text_table(table))
    return "\n".join([r"\begin{table}", r"\centering", caption, *tabular, r"\end{table}", ""])


def render_html(table: Table) -> str:
    """Render a page that needs no other file."""
    title = html.escape(table.grid or "results")
    heads, rows = html_parts(make_text_table(table))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{HTML_STYLE}</style></head>\n"
        f"<body><table>\n<caption>{html.escape(render_caption(table))}</caption>\n"
        f"<thead>{heads}</thead>\n<tbody>\n{rows}\n</tbody></table></body></html>\n"
    )


def render_csv(table: Table) -> str:
    """Render numbers that are not rounded, accuracies as shares.

    The first column tells configurations from baselines.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, raw_names(table), lineterminator="\n")
    writer.writeheader()
    writer.writerows(raw_cells(row, table) for row in table.rows)
    return text.getvalue()


def render_json(table: Table) -> str:
    """Render the rows of `render_csv`, the scores of every seed, and all that the caption says."""
    rows = []
    for row in table.rows:
        marks = {
            "is_best": row.is_best,
            "is_tied": row.is_tied,
            "is_equivalent": row.is_equivalent,
        }
        rows.append(raw_cells(row, table) | {"scores": row.scores, "seeds": row.seeds} | marks)
    form = {
        "grid": table.grid,
        "caption": render_caption(table),
        "configurations": table.n_configurations,
        "runs": table.n_runs,
        "left_out": table.left_out,
        "expected_optimism": None if table.optimism is None else table.optimism.expected,
        "margin": _margin(table),
        "rows": rows,
    }
    return json.dumps(form, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _margin(table: Table) -> float | None:
    """Return the largest margin of the groups; None where nothing was tested or it is unknown."""
    margins = [group.margin.value for group in table.ties if group.margin is not None]
    return max(margins, default=None)


RENDERERS: Mapping[str, Callable[[Table], str]] = {
    "text": render_text,
    "md": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
    "html": render_html,
    "json": render_json,
}


def _wrapped(text: str, width: int = WIDTH) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
