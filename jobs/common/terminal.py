"""Write for terminals: colour, width, and questions to the user."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from anlp.console.align import clip
from anlp.console.printable import only_colours
from anlp.console.stdio import can_redraw, terminal_width
from anlp.core.errors import UserError
from anlp.records.results import RunState


def ask_yes_no(question: str, *, yes: bool) -> bool:
    """Ask on the terminal; without one only `--yes` agrees.

    Raises:
        UserError: there is no terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(
            f"{question} There is no terminal to ask on: repeat the command with --yes to agree."
        )
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

STYLE_OF_STATE: Mapping[RunState, str] = {
    RunState.QUEUED: "dim",
    RunState.RUNNING: "cyan",
    RunState.DONE: "green",
    RunState.DIVERGED: "yellow",
    RunState.INTERRUPTED: "yellow",
    RunState.FAILED: "red",
    RunState.LOST: "red",
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a screen is written for: with colour or not, and how wide (None: as wide as it gets)."""

    colour: bool = False
    width: int | None = None

    def paint(self, text: str, style: str) -> str:
        """Return `text` in a style of `STYLES`, plain where there is no colour."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.colour else text

    def clip(self, line: str) -> str:
        """Return a plain `line` cut to the width, with an ellipsis where something is missing."""
        return line if self.width is None else clip(line, self.width)

    def wrap(self, text: str) -> list[str]:
        """Return an indented sentence on as many lines as it takes."""
        if self.width is None:
            return ["  " + text]
        return textwrap.wrap(
            text, self.width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )


def canvas_of(stream: TextIO) -> Canvas:
    """Return the canvas of a stream.

    Colour only on a terminal that has it, and not with `NO_COLOR` set.
    """
    if not stream.isatty():
        return Canvas()
    has_colour = can_redraw(stream) and not os.environ.get("NO_COLOR")
    return Canvas(colour=has_colour, width=terminal_width())


def print_screen(text: str) -> None:
    """Print a screen at once; of what would steer the terminal, only colours pass."""
    print("\n".join(map(only_colours, text.split("\n"))), flush=True)
