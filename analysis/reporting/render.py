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
from analysis.text.escape import escape_markdown_paragraph
from analysis.text.tables import html_parts, markdown_lines

FIGURES = "figures"  # the folder beside the Markdown
MAX_DATA = 300_000  # bytes of a figure's table that are worth a link within the page
MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def render_html(document: Document) -> str:
    """Return one file with styles, figures and data in it, whose policy forbids every request."""
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
    contents = "\n".join(
        f"- [{escape_markdown_paragraph(s.title)}](#{_slug(s.title)})" for s in document.sections
    )
    parts = [
        f"# {escape_markdown_paragraph(document.title)}",
        escape_markdown_paragraph(document.lead),
        contents,
    ]
    for section in document.sections:
        parts += [
            f"## {escape_markdown_paragraph(section.title)}",
            *map(_markdown_block, section.blocks),
        ]
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
    heads, rows = html_parts(block.sheet, scopes=True)
    caption = f"<caption>{html.escape(block.caption)}</caption>\n" if block.caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>\n{caption}'
        f"<thead>{heads}</thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


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
    table = "\n".join(markdown_lines(block.sheet, escape_markdown_paragraph))
    return f"{table}\n\n{escape_markdown_paragraph(block.caption)}" if block.caption else table


def _markdown_figure(block: Figure) -> str:
    numbers = f" [The numbers (CSV)]({FIGURES}/{block.name}.csv)" if block.data else ""
    picture = f"![{escape_markdown_paragraph(block.alt)}]({FIGURES}/{block.name}.{block.form})"
    return f"{picture}\n\n{escape_markdown_paragraph(block.caption)}{numbers}"


def _markdown_code(block: Code) -> str:
    """Return a code block whose fence is longer than any in the text."""
    longest = max((len(found) for found in re.findall(r"`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"


def _markdown_folded(block: Folded) -> str:
    blocks = "\n\n".join(map(_markdown_block, block.blocks))
    return f"<details><summary>{html.escape(block.summary)}</summary>\n\n{blocks}\n\n</details>"


_MARKDOWN: Mapping[type, Callable[[Any], str]] = {
    Text: lambda block: escape_markdown_paragraph(block.text),
    Points: lambda block: "\n".join(f"- {escape_markdown_paragraph(item)}" for item in block.items),
    Notice: lambda block: f"> {escape_markdown_paragraph(block.text)}",
    Code: _markdown_code,
    Cells: _markdown_cells,
    Figure: _markdown_figure,
    Component: lambda block: "\n\n".join(map(_markdown_block, block.instead)),
    Folded: _markdown_folded,
}


def _slug(title: str) -> str:
    """Return the anchor that Markdown's renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
