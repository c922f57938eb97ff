"""Shared pieces of text screens: colour, aligned columns, values, times and the settings that tell runs apart."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from anlp.record import RunState
from anlp.settings import TASKS
from jobs.state import RunStatus

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
        """`text` in a style of `STYLES`, plain where there is no colour."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.colour else text

    def clip(self, line: str) -> str:
        """A plain `line` cut to the width, with an ellipsis where something is missing."""
        return line if self.width is None or len(line) <= self.width else line[: self.width - 1] + "…"

    def wrap(self, text: str) -> list[str]:
        """An indented sentence on as many lines as it takes, nothing of it missing."""
        if self.width is None:
            return ["  " + text]
        return textwrap.wrap(text, self.width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def canvas_of(stream: TextIO) -> Canvas:
    """The canvas of an output stream: colour only on a terminal and not with `NO_COLOR` set."""
    if not stream.isatty():
        return Canvas()
    return Canvas(colour=not os.environ.get("NO_COLOR"), width=shutil.get_terminal_size().columns)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, columns left-aligned two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def render_value(value: Any) -> str:
    """A setting or metric as a grid file has it: floats in their shortest form, `true` and `false`."""
    if not isinstance(value, float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def count(n: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def render_pairs(values: Mapping[str, Any]) -> str:
    """`lr=0.01 model=cnn`, as a filter takes it."""
    return " ".join(f"{name}={render_value(value)}" for name, value in values.items())


def render_age(seconds: float) -> str:
    """How long something took or lies back, in its two largest units: `42 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    total = max(0, round(seconds))
    units = [(total // 86400, "d"), (total // 3600 % 24, "h"), (total // 60 % 60, "min"), (total % 60, "s")]
    first = next((place for place, (number, _) in enumerate(units) if number), len(units) - 1)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number) or "0 s"


def varying(statuses: Iterable[RunStatus]) -> list[str]:
    """Names of the settings (seed last) in which the runs differ, in the order of the task."""
    seen: dict[str, set[Any]] = {}
    for status in statuses:
        for name, value in status.values.items():
            seen.setdefault(name, set()).add(value)
    return [name for name, values in seen.items() if len(values) > 1]


def own_settings(status: RunStatus, names: Iterable[str]) -> dict[str, Any]:
    """Those of the settings `names` that mean something for this run."""
    rules = TASKS[status.form["task"]].settings.only_for if status.form.get("task") in TASKS else {}
    values = status.values
    return {
        name: values[name]
        for name in names
        if name in values and (name not in rules or values[rules[name].setting] in rules[name].values)
    }
