"""Read the values of grid files and profiles, and name the field that each key fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anlp.core.errors import closest
from jobs.config.yaml_tree import Leaf, Table, Tree, show

COUNTS: Mapping[str, tuple[int, int]] = {  # smallest and largest value
    "retries": (0, 100),
    "stop_after": (0, 1000),
    "pack": (1, 1000),
    "chain": (1, 1000),
}


@dataclass(frozen=True, slots=True)
class Key:
    """Names the field that a key fills, and how its value is read.

    `parse` raises `ValueError` with what was expected.
    """

    field: str
    parse: Callable[[Tree], Any]


def text(tree: Tree) -> str:
    """Read a scalar as it is written: `project: 2024` is text, too."""
    if not isinstance(tree, Leaf) or tree.value is None or not tree.text.strip():
        raise ValueError(f"expected text, got {show(tree)}")
    return tree.text


def texts(tree: Tree) -> tuple[str, ...]:
    """Read a list of texts, or one."""
    if isinstance(tree, Table):
        raise ValueError(f"expected a list of texts, got {show(tree)}")
    return (text(tree),) if isinstance(tree, Leaf) else tuple(text(item) for item in tree.items)


def whole(least: int, most: int = 1_000_000) -> Callable[[Tree], int]:
    """Return a reader of a whole number within bounds."""

    def parse(tree: Tree) -> int:
        value = tree.value if isinstance(tree, Leaf) else None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most:,}, got {show(tree)}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[Tree], str]:
    """Return a reader of one of a few words."""

    def parse(tree: Tree) -> str:
        if isinstance(tree, Leaf) and tree.text in choices:
            return tree.text
        near = closest(tree.text, choices) if isinstance(tree, Leaf) else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise ValueError(f"expected one of {', '.join(choices)}, got {show(tree)}{hint}")

    return parse


def amount(parse: Callable[[str], Any], example: str) -> Callable[[Tree], Any]:
    """Return a reader of an amount with a unit, which `parse` reads."""

    def read(tree: Tree) -> Any:
        is_amount = (
            isinstance(tree, Leaf) and tree.value is not None and not isinstance(tree.value, bool)
        )
        if not isinstance(tree, Leaf) or not is_amount:
            raise ValueError(f"expected {example}, got {show(tree)}")
        return parse(tree.text)

    return read
