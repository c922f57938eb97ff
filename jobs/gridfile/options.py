"""Reads the keys of a grid file that are no settings, such as name, resources and wandb."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anlp.records.options import WandbOptions
from jobs.config.fields import COUNTS, Key, one_of, text, texts, whole
from jobs.config.resources import RESOURCE_KEYS, Resources
from jobs.config.yaml_tree import Leaf, Table, Tree, join, show
from jobs.gridfile.parser import GridParser

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

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
GRID_NAME = "a name of letters, digits, '.', '-' and '_' (at most 100)"
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


def read_options(reader: GridParser, top: Table, source: Path) -> dict[str, Any]:
    """Return the fields of `GridSpec` that are no settings; faults are noted."""
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


def _block(reader: GridParser, top: Table, name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """Return the fields of one block of options."""
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
    """Return whether a grid, and its folder, can have this name."""
    return _NAME.fullmatch(text) is not None


def _name(reader: GridParser, top: Table, source: Path) -> str:
    if "name" not in top.entries:
        if not is_grid_name(source.stem):
            fault = (
                f"expected {GRID_NAME}, got the file name {source.stem!r}; give one with `name:`"
            )
            reader.faults.add(1, "name", fault)
        return source.stem
    tree = top.entries["name"].tree
    if isinstance(tree, Leaf) and tree.value is not None and is_grid_name(tree.text):
        return tree.text
    reader.faults.add(tree.line, "name", f"expected {GRID_NAME}, got {show(tree)}")
    return source.stem


def _flag(reader: GridParser, tree: Tree, path: str) -> bool:
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool):
        return value
    reader.faults.add(tree.line, path, f"expected true or false, got {show(tree)}")
    return False


def _fallback(reader: GridParser, top: Table) -> str | None:
    if "fallback" not in top.entries:
        return None
    tree = top.entries["fallback"].tree
    if "data" not in reader.words.settings:
        reader.faults.add(
            tree.line,
            "fallback",
            f"the task {reader.words.task} has no setting 'data' to fall back from",
        )
        return None
    value = reader.value(reader.words.settings["data"], tree, "fallback")
    return None if value is None else str(value)


def _container(reader: GridParser, tree: Tree) -> str | None:
    """Return the path of an image; empty for false: none, even if the site's profile names one."""
    if isinstance(tree, Leaf) and (tree.value is None or tree.value is False):
        return None if tree.value is None else ""
    if isinstance(tree, Leaf) and isinstance(tree.value, str) and tree.value.strip():
        return tree.value
    reader.faults.add(
        tree.line,
        "container",
        f"expected the path of an image, or false for none, got {show(tree)}",
    )
    return None
