"""Blocks of a report, before any format: texts are plain, and the renderer escapes them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.text.tables import TextTable, plain_cells
from anlp.console.verbs import command_name


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What could not be shown, and why; or what a reader has to know before believing the rest."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Commands or a file, to be copied."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Cells:
    """A table with what stands under it."""

    sheet: TextTable
    caption: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture that has been drawn, with its words and the numbers behind it."""

    name: str  # of its files, unique in the report
    form: str  # "svg" or "png"
    content: bytes
    alt: str
    caption: str
    data: bytes = b""  # CSV


@dataclass(frozen=True, slots=True)
class Component:
    """Something to play with, for pages that can, and what others and paper show instead."""

    html: str
    summary: str  # of what stands instead
    instead: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that not every reader wants to see at once."""

    summary: str
    blocks: tuple[Block, ...]


Block = Text | Points | Notice | Code | Cells | Figure | Component | Folded


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report with a place in its table of contents."""

    anchor: str  # letters and dashes
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    style: str = ""  # of its components
    script: str = ""  # likewise, once at the end of the page


def plain_sheet(
    heads: Sequence[str], lines: Sequence[tuple[str, ...]], numbers: frozenset[int] = frozenset()
) -> TextTable:
    """Make a table without marks; `numbers` are the columns set to the right."""
    is_number = tuple(column in numbers for column in range(len(heads)))
    return TextTable(tuple(heads), is_number, tuple(plain_cells(line) for line in lines))


def figures(document: Document) -> list[Figure]:
    """Return every figure of the report, folded ones among them, in order."""
    found: list[Figure] = []

    def visit(blocks: tuple[Block, ...]) -> None:
        for block in blocks:
            if isinstance(block, Figure):
                found.append(block)
            elif isinstance(block, Folded):
                visit(block.blocks)
            elif isinstance(block, Component):
                visit(block.instead)

    for section in document.sections:
        visit(section.blocks)
    return found


def command(module: str, *words: str) -> Code:
    """Return a command to paste into a shell; names in it are quoted."""
    return Code(f"{command_name(module)} {shlex.join(words)}", "sh")
