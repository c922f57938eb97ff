"""Escape plain text for Markdown and LaTeX; `html.escape` does it for HTML."""

from __future__ import annotations

import re

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
    "†": r"$^\dagger$",
    "²": "$^2$",
    "\n": " ",
}


def escape_markdown(text: str) -> str:
    r"""Escape a cell of a table or words within a line: no emphasis, code, link or tag.

    >>> print(escape_markdown("a_b | [x](y)"))
    a\_b \| [x]\(y)
    """
    escaped = re.sub(r"([\\|*_`<>])", r"\\\1", text.replace("\n", " "))
    return escaped.replace("](", "]\\(")  # no links


def escape_markdown_paragraph(text: str) -> str:
    r"""Escape a paragraph of prose, which becomes one line: nothing in it is markup.

    Beside the signs of `escape_markdown`, that is references, entities, formulas, and signs at the
    beginning that would make it a heading or a list.

    >>> print(escape_markdown_paragraph("1. costs $3 [1]"))
    1\. costs \$3 \[1\]
    """
    return guard_line_starts(re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", " ".join(text.split())))


def guard_line_starts(text: str) -> str:
    r"""Escape what would make a line of Markdown begin a list or a heading.

    >>> print(guard_line_starts("- a"), guard_line_starts("2) b"))
    \- a 2\) b
    """
    lines = re.sub(r"^([#+=-])(?=[\s#+=-]|$)", r"\\\1", text, flags=re.MULTILINE)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", lines, flags=re.MULTILINE)


def escape_latex(text: str) -> str:
    r"""Escape a text for LaTeX.

    >>> print(escape_latex("50 % of a_b"))
    50 \% of a\_b
    """
    return "".join(LATEX.get(sign, sign) for sign in text)
