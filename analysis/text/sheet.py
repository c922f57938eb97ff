"""A table as plain cells, before any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Mark = Literal["best", "tied"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The table as plain cells, before any format."""

    heads: tuple[str, ...]
    is_number: tuple[bool, ...]  # per column: set to the right
    lines: tuple[tuple[str, ...], ...]
    marks: Mapping[tuple[int, int], Mark]  # line and column of the scores that are marked
    rules: frozenset[int]  # lines with a rule above: the first baseline, the first row of a group
