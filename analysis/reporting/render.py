"""Render a report as one self-contained HTML page, and as Markdown with figures beside it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.reporting.blocks import (
    Block,
    Cells,
    Code,
    Component,
    Document,
    Figure,
    Folded,
    Notice,
    Points,
    Section,
    Text,
)
from analysis.reporting.style import PRINT_SCRIPT, STYLE
from analysis.text.sheet import Sheet

FIGURES = "figures"  # the folder beside the Markdown
MAX_DATA = 300_000  # bytes of a figure's table that are worth a link within the page
MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def render_html(document: Document) -> str:
    """One file: styles, figures and data are within it, and its policy forbids every request."""
    scripts = [script for script in (PRINT_SCRIPT, document.script) if script]
    styles = [style for style in (STYLE, document.style) if style]
    title = html.escape(document.title)
    contents = "".join(
        f'<li><a href="#{s.anchor}">{html.escape(s.title)}</a></li>' for s in document.sections
    )
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        f'content="{_policy(scripts, styles)}">\n'
        f"<title>{title}</title>\n" + "\n".join(f"<style>{style}</style>" for style in styles)
    )
    lead = f'<header><h1>{title}</h1><p class="lead">{html.escape(document.lead)}</p></header>'
    nav = f'<nav aria-label="Contents"><ol>{contents}</ol></nav>'
    body = "\n".join(map(_html_section, document.sections))
    end = "\n".join(f"<script>{script}</script>" for script in scripts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n'
        f"<body>{lead}\n{nav}\n<main>\n{body}\n</main>\n"
        f"{end}</body></html>\n"
    )


def render_markdown(document: Document) -> str:
    """Names and texts are escaped; figures are looked for in `figures/`."""
    contents = "\n".join(f"- [{_markdown(s.title)}](#{_slug(s.title)})" for s in document.sections)
    parts = [f"# {_markdown(document.title)}", _markdown(document.lead), contents]
    for section in document.sections:
        parts += [f"## {_markdown(section.title)}", *map(_markdown_block, section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Pictures and data within the page, these scripts and styles, and no request of any kind."""
    parts = [
        f"{name} {' '.join(_hash(content) for content in contents)}"
        for name, contents in (("script-src", scripts), ("style-src", styles))
    ]
    return "; ".join(
        ["default-src 'none'", "img-src data:", *parts, "base-uri 'none'", "form-action 'none'"]
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _html_section(section: Section) -> str:
    blocks = "\n".join(map(_html_block, section.blocks))
    name = f"{section.anchor}-title"
    heading = f'<h2 id="{name}">{html.escape(section.title)}</h2>'
    return (
        f'<section id="{section.anchor}" aria-labelledby="{name}">{heading}\n{blocks}\n</section>'
    )


def _html_block(block: Block) -> str:
    return _HTML[type(block)](block)


def _html_cells(block: Cells) -> str:
    sheet, esc = block.sheet, html.escape
    columns = zip(sheet.heads, sheet.is_number, strict=True)
    heads = "".join(f'<th scope="col"{_kind(number)}>{esc(head)}</th>' for head, number in columns)
    rows = "\n".join(
        f"<tr{' class=rule' if i in sheet.rules else ''}>"
        + "".join(_html_cell(sheet, i, j, cell) for j, cell in enumerate(line))
        + "</tr>"
        for i, line in enumerate(sheet.lines)
    )
    caption = f"<caption>{esc(block.caption)}</caption>\n" if block.caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>\n{caption}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _html_cell(sheet: Sheet, line: int, column: int, cell: str) -> str:
    text = html.escape(cell)
    mark = sheet.marks.get((line, column))
    text = {"best": f"<b>{text}</b>", "tied": f"{text}<sup>†</sup>"}.get(mark or "", text)
    if column == 0:
        return f'<th scope="row"{_kind(sheet.is_number[0])}>{text}</th>'
    return f"<td{_kind(sheet.is_number[column])}>{text}</td>"


def _kind(is_number: bool) -> str:
    return "" if is_number else " class=text"


def _html_figure(block: Figure) -> str:
    link = ""
    if block.data and len(block.data) <= MAX_DATA:
        name = html.escape(f"{block.name}.csv")
        address = f"data:text/csv;base64,{_base64(block.data)}"
        link = f' <a download="{name}" href="{address}">The numbers (CSV)</a>'
    source = f"data:{MEDIA[block.form]};base64,{_base64(block.content)}"
    return (
        f'<figure><img alt="{html.escape(block.alt)}" src="{source}">'
        f"<figcaption>{html.escape(block.caption)}{link}</figcaption></figure>"
    )


def _html_folded(block: Folded) -> str:
    blocks = "\n".join(map(_html_block, block.blocks))
    return f"<details><summary>{html.escape(block.summary)}</summary>\n{blocks}\n</details>"


def _html_component(block: Component) -> str:
    instead = _html_folded(Folded(block.summary, block.instead))
    return f'<div class="component">{block.html}</div>\n{instead}'


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


_HTML: Mapping[type, Callable[[Any], str]] = {
    Text: lambda block: f"<p>{html.escape(block.text)}</p>",
    Points: lambda block: (
        "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in block.items) + "</ul>"
    ),
    Notice: lambda block: f'<p class="notice" role="note">{html.escape(block.text)}</p>',
    Code: lambda block: f"<pre><code>{html.escape(block.text)}</code></pre>",
    Cells: _html_cells,
    Figure: _html_figure,
    Component: _html_component,
    Folded: _html_folded,
}


def _markdown_block(block: Block) -> str:
    return _MARKDOWN[type(block)](block)


def _markdown_cells(block: Cells) -> str:
    sheet = block.sheet
    rows = [list(map(_markdown, line)) for line in sheet.lines]
    for (line, column), mark in sheet.marks.items():
        rows[line][column] = (
            f"**{rows[line][column]}**" if mark == "best" else f"{rows[line][column]} †"
        )
    rule = ["---:" if number else "---" for number in sheet.is_number]
    table = "\n".join(
        "| " + " | ".join(cells) + " |"
        for cells in (list(map(_markdown, sheet.heads)), rule, *rows)
    )
    return f"{table}\n\n{_markdown(block.caption)}" if block.caption else table


def _markdown_figure(block: Figure) -> str:
    numbers = f" [The numbers (CSV)]({FIGURES}/{block.name}.csv)" if block.data else ""
    picture = f"![{_markdown(block.alt)}]({FIGURES}/{block.name}.{block.form})"
    return f"{picture}\n\n{_markdown(block.caption)}{numbers}"


def _markdown_code(block: Code) -> str:
    """The fence is longer than any that the text has."""
    longest = max((len(found) for found in re.findall(r"`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"


def _markdown_folded(block: Folded) -> str:
    blocks = "\n\n".join(map(_markdown_block, block.blocks))
    return f"<details><summary>{html.escape(block.summary)}</summary>\n\n{blocks}\n\n</details>"


_MARKDOWN: Mapping[type, Callable[[Any], str]] = {
    Text: lambda block: _markdown(block.text),
    Points: lambda block: "\n".join(f"- {_markdown(item)}" for item in block.items),
    Notice: lambda block: f"> {_markdown(block.text)}",
    Code: _markdown_code,
    Cells: _markdown_cells,
    Figure: _markdown_figure,
    Component: lambda block: "\n\n".join(map(_markdown_block, block.instead)),
    Folded: _markdown_folded,
}


def _markdown(text: str) -> str:
    """Escape to one line without markup: emphasis, links, tags, headings, lists, tables."""
    line = re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", " ".join(text.split()))
    line = re.sub(r"^([#+=-])(?=[\s#+=-]|$)", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def _slug(title: str) -> str:
    """The anchor that Markdown's renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
