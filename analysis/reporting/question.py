"""What was asked: the head comment of the grid file, and the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.data.load import Runs
from analysis.reporting.blocks import Block, Code, Folded, Notice, Section, Text

GRID_FILE = "grid.yaml"
MAX_FILE = 20_000  # characters of a grid file that are shown


@dataclass(frozen=True, slots=True)
class Head:
    """The comment that a grid file begins with."""

    question: str  # its first paragraph
    rest: str  # commands and what they cost, line by line


def parse_head(text: str) -> Head:
    """Return the lines before the first one that is no comment."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        lines.append(line.lstrip("#").rstrip())
    paragraphs = "\n".join(lines).strip("\n").split("\n\n")
    question = " ".join(paragraphs[0].split())
    return Head(question, "\n\n".join(part.strip("\n") for part in paragraphs[1:]).rstrip())


def read_grid_file(folder: Path) -> str | None:
    """Return the grid file as it was submitted first, None where the runs did not come with one."""
    try:
        return (folder / GRID_FILE).read_text(errors="replace")
    except OSError:
        return None


def question_section(loaded: Runs) -> Section:
    """Return the section."""
    text = read_grid_file(loaded.folder)
    if text is None:
        return _section(Notice("The runs came without a grid file, so the question is not known."))
    head = parse_head(text)
    first = (
        Text(head.question)
        if head.question
        else Notice("The grid file has no head comment that says the question.")
    )
    more = sorted(path.name for path in loaded.folder.glob("grid-*.yaml"))
    others = [Text(f"The file was changed later; other copies: {', '.join(more)}.")] if more else []
    cut = (
        text
        if len(text) <= MAX_FILE
        else f"{text[:MAX_FILE]}\n# … {len(text) - MAX_FILE:,} more characters"
    )
    return _section(
        first, *others, Folded("The grid file as it was submitted", (Code(cut, "yaml"),))
    )


def _section(*blocks: Block) -> Section:
    return Section("question", "Question", blocks)
