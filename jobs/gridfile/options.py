"""Reads what a grid file says beside its settings: name, resources, wandb, checkpoints, container, fallback."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.errors import closest
from anlp.record import WandbOptions
from jobs.gridfile.reader import Reader
from jobs.gridfile.yamltree import Leaf, Table, Tree, join, show
from jobs.resources import Resources, parse_memory, parse_walltime

OPTION_KEYS = (
    "name",
    "resources",
    "wandb",
    "container",
    "fallback",
    "retries",
    "stop_after",
    "pack",
    "chain",
    "checkpoints",
    "predictions",
)
COUNTS: Mapping[str, tuple[int, int]] = {  # least and most
    "retries": (0, 100),
    "stop_after": (0, 1000),
    "pack": (1, 1000),
    "chain": (1, 1000),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
GRID_NAME = "a name of letters, digits, '.', '-' and '_' (at most 100)"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a block of options: the field it fills and how its value is read (`ValueError`: what was expected)."""

    field: str
    parse: Callable[[Tree], Any]


def text(tree: Tree) -> str:
    """A scalar as it is written: `project: 2024` is text, too."""
    if not isinstance(tree, Leaf) or tree.value is None or not tree.text.strip():
        raise ValueError(f"expected text, got {show(tree)}")
    return tree.text


def texts(tree: Tree) -> tuple[str, ...]:
    """A list of texts, or one."""
    if isinstance(tree, Table):
        raise ValueError(f"expected a list of texts, got {show(tree)}")
    return (text(tree),) if isinstance(tree, Leaf) else tuple(text(item) for item in tree.items)


def whole(least: int, most: int = 1_000_000) -> Callable[[Tree], int]:
    """Reads a whole number within bounds."""

    def parse(tree: Tree) -> int:
        value = tree.value if isinstance(tree, Leaf) else None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most:,}, got {show(tree)}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[Tree], str]:
    """Reads one of a few words."""

    def parse(tree: Tree) -> str:
        if isinstance(tree, Leaf) and tree.text in choices:
            return tree.text
        near = closest(tree.text, choices) if isinstance(tree, Leaf) else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise ValueError(f"expected one of {', '.join(choices)}, got {show(tree)}{hint}")

    return parse


def _amount(parse: Callable[[str], Any], example: str) -> Callable[[Tree], Any]:
    """Reads an amount with a unit, by a parser of `jobs.resources`."""

    def read(tree: Tree) -> Any:
        is_amount = isinstance(tree, Leaf) and tree.value is not None and not isinstance(tree.value, bool)
        if not isinstance(tree, Leaf) or not is_amount:
            raise ValueError(f"expected {example}, got {show(tree)}")
        return parse(tree.text)

    return read


RESOURCE_KEYS: Mapping[str, Key] = {
    "gpus": Key("gpus", whole(0)),
    "cpus": Key("cpus", whole(1)),
    "mem": Key("mem_mib", _amount(parse_memory, "an amount of memory such as 8G or 500M")),
    "time": Key("walltime_min", _amount(parse_walltime, "a time such as 30m, 1h30m or 01:30:00")),
    "queue": Key("queue", text),
    "partition": Key("queue", text),
    "account": Key("account", text),
    "qos": Key("qos", text),
    "gpu_type": Key("gpu_type", text),
    "constraint": Key("constraint", text),
    "exclude": Key("exclude", text),
    "nodes": Key("nodes", whole(1)),
    "extra": Key("extra", texts),
}
WANDB_KEYS: Mapping[str, Key] = {
    "mode": Key("mode", one_of("auto", "online", "offline", "disabled")),
    "project": Key("project", text),
    "entity": Key("entity", text),
    "tags": Key("tags", texts),
}
CHECKPOINT_KEYS: Mapping[str, Key] = {
    "every": Key("checkpoint_every", whole(1)),
    "keep": Key("keep", one_of("none", "best", "last")),
}


def read_options(reader: Reader, top: Table, source: Path) -> dict[str, Any]:
    """The fields of `GridSpec` that are no settings; faults noted."""
    found: dict[str, Any] = {
        "name": _name(reader, top, source),
        "resources": Resources(**_block(reader, top, "resources", RESOURCE_KEYS)),
        "wandb": WandbOptions(**_block(reader, top, "wandb", WANDB_KEYS)),
        "fallback": _fallback(reader, top),
        **_block(reader, top, "checkpoints", CHECKPOINT_KEYS),
    }
    for name, (least, most) in COUNTS.items():
        if name in top.entries:
            found[name] = reader.whole(top.entries[name].tree, name, least, most) or least
    if "predictions" in top.entries:
        found["predictions"] = _flag(reader, top.entries["predictions"].tree, "predictions")
    if "container" in top.entries:
        found["container"] = _container(reader, top.entries["container"].tree)
    return found


def _block(reader: Reader, top: Table, name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The fields of one block of options."""
    if name not in top.entries:
        return {}
    table = reader.table(top.entries[name].tree, name, f"a mapping with {', '.join(keys)}")
    reader.only(table, name, keys)
    found = {}
    for key, entry in table.entries.items():
        if key in keys:
            try:
                found[keys[key].field] = keys[key].parse(entry.tree)
            except ValueError as fault:
                reader.faults.add(entry.tree.line, join(name, key), str(fault))
    return found


def is_grid_name(text: str) -> bool:
    """Whether a grid, and its folder, can have this name."""
    return _NAME.fullmatch(text) is not None


def _name(reader: Reader, top: Table, source: Path) -> str:
    if "name" not in top.entries:
        if not is_grid_name(source.stem):
            fault = f"expected {GRID_NAME}, got the file name {source.stem!r}; give one with `name:`"
            reader.faults.add(1, "name", fault)
        return source.stem
    tree = top.entries["name"].tree
    if isinstance(tree, Leaf) and tree.value is not None and is_grid_name(tree.text):
        return tree.text
    reader.faults.add(tree.line, "name", f"expected {GRID_NAME}, got {show(tree)}")
    return source.stem


def _flag(reader: Reader, tree: Tree, path: str) -> bool:
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool):
        return value
    reader.faults.add(tree.line, path, f"expected true or false, got {show(tree)}")
    return False


def _fallback(reader: Reader, top: Table) -> str | None:
    if "fallback" not in top.entries:
        return None
    tree = top.entries["fallback"].tree
    if "data" not in reader.words.settings:
        reader.faults.add(
            tree.line, "fallback", f"the task {reader.words.task} has no setting 'data' to fall back from"
        )
        return None
    value = reader.value(reader.words.settings["data"], tree, "fallback")
    return None if value is None else str(value)


def _container(reader: Reader, tree: Tree) -> str | None:
    """The path of an image; empty for false, which means none even where the site's profile names one."""
    if isinstance(tree, Leaf) and (tree.value is None or tree.value is False):
        return None if tree.value is None else ""
    if isinstance(tree, Leaf) and isinstance(tree.value, str) and tree.value.strip():
        return tree.value
    reader.faults.add(tree.line, "container", f"expected the path of an image, or false for none, got {show(tree)}")
    return None
