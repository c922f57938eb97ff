"""Escape texts for Markdown and LaTeX."""

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
    """The text as Markdown shows it, on one line of a table."""
    escaped = re.sub(r"([\\|*_`<>])", r"\\\1", text.replace("\n", " "))
    return escaped.replace("](", "]\\(")  # no links


def escape_latex(text: str) -> str:
    """The text as LaTeX prints it."""
    return "".join(LATEX.get(sign, sign) for sign in text)
