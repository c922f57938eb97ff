"""Reads the fenced blocks of the documentation, with the markers that say how each is tested.

A marker is an HTML comment on a line of its own above a block (blank lines between do not matter):

- `<!-- not run: reason -->`: the commands need something that is missing here; only their options
are checked.
- `<!-- measured -->`: decimal numbers may differ by a tenth from machine to machine.
- `<!-- on a terminal -->`: the commands run on a pseudo terminal.
- `<!-- file: NAME -->`: the block is written to this file before the commands that follow.
- `<!-- setup: COMMAND -->`: a command that is run and not shown; it may stand anywhere on the page.
- `<!-- not run on this page: reason -->`: as `not run`, for every block of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
COMMENT = re.compile(r"\s*<!-- ([a-z ]+?)(?:: (.*?))? -->\s*")
FENCE = re.compile(r"( *)```(\w*)( faulty)?\s*")
PROMPT = re.compile(r"(?:\w*)\$ +")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, or a hidden setup command (language `setup`)."""

    page: Path
    line: int  # of its first line of text, from 1
    language: str
    text: str
    markers: dict[str, str]
    indent: str = ""
    is_faulty: bool = False

    @property
    def is_run(self) -> bool:
        """Whether the commands of the block can be executed on any machine."""
        return "not run" not in self.markers

    @property
    def where(self) -> str:
        """File and line for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a block and the output that the page shows below it."""

    text: str
    output: str | None  # None where the block shows commands alone


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks and setup commands of a page, in order."""
    return list(_scan(page, page.read_text().splitlines()))


def _scan(page: Path, lines: list[str]) -> Iterator[Block]:
    markers: dict[str, str] = {}
    of_page: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if comment := COMMENT.fullmatch(line):
            name, value = comment[1], comment[2] or ""
            if name == "setup":
                yield Block(page, number, "setup", value, {})
            elif name == "not run on this page":
                of_page["not run"] = value
            else:
                markers[name] = value
        elif fence := FENCE.fullmatch(line):
            body = []
            first = number + 1
            while lines[number].strip() != "```":
                body.append(lines[number].removeprefix(fence[1]))
                number += 1
            number += 1
            text = "".join(f"{line}\n" for line in body)
            known = {**of_page, **markers}
            yield Block(page, first, fence[2], text, known, fence[1], bool(fence[3]))
            markers = {}
        elif line.strip():
            markers = {}


def read_commands(block: Block) -> list[Command]:
    """The commands of a `console` block with their output, or of an `sh` block without."""
    if block.language == "setup":
        return [Command(block.text, None)]
    if block.language == "sh":
        lines = block.text.replace("\\\n", " ").splitlines()
        return [Command(line, None) for line in lines if line.strip() and line[0] != "#"]
    if block.language != "console":
        return []
    commands: list[tuple[str, list[str]]] = []
    continues = False
    for line in block.text.splitlines():
        if continues:
            text = f"{commands[-1][0].removesuffix(chr(92))} {line.strip()}"
            commands[-1] = (text, [])
        elif prompt := PROMPT.match(line):
            commands.append((line[prompt.end() :], []))
        else:
            commands[-1][1].append(line)
            continue
        continues = line.endswith("\\")
    return [Command(text, "\n".join(output)) for text, output in commands]


@cache
def commands_of_earlier_pages(page: Path) -> frozenset[str]:
    """The commands without output that pages before this one run already: once is enough."""
    earlier = PAGES[: PAGES.index(page)]
    blocks = [block for one in earlier for block in read_blocks(one) if block.is_run]
    return frozenset(
        _bare(command.text)
        for block in blocks
        if block.language == "sh"
        for command in read_commands(block)
    )


def is_repeated(block: Block, command: Command) -> bool:
    """Whether an earlier page runs the command, and this one shows no output to compare."""
    if block.language != "sh":
        return False
    return _bare(command.text) in commands_of_earlier_pages(block.page)


def _bare(command: str) -> str:
    return command.partition(" #")[0].strip()
