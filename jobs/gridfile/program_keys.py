"""Reads the keys that programs and functions of the user's own share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anlp.core.metrics import metric_name
from anlp.core.spec import Scalar
from anlp.core.units import parse_memory
from anlp.records.program import ProgramMetrics
from jobs.config.fields import Key, amount, one_of, text, whole
from jobs.config.yaml_tree import Leaf, Tree, join, show
from jobs.gridfile.settings import Vocabulary
from jobs.gridfile.top_keys import TopReader
from jobs.programs.place import Place

LIMIT_MIB = 50  # of the copy of a project


def _metric(tree: Tree) -> str:
    return metric_name(text(tree))


def _number(tree: Tree) -> float:
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {show(tree)}")
    return float(value)


_METRIC_KEYS: Mapping[str, Key] = {
    "select": Key("select", _metric),
    "report": Key("report", _metric),
    "goal": Key("goal", one_of("minimize", "maximize")),
    "chance": Key("chance", _number),
    "samples": Key("samples", whole(1, 1_000_000_000)),
}


def read_metric_names(reader: TopReader) -> ProgramMetrics:
    """Return which metrics matter, and what they are at chance level."""
    table = reader.table("metrics", tuple(_METRIC_KEYS))
    if table is None:
        return ProgramMetrics()
    found: dict[str, Any] = {}
    for name, key in _METRIC_KEYS.items():
        if name in table.entries:
            value = reader.parsed(table.entries[name].tree, join("metrics", name), key, None)
            if value is not None:
                found[name] = value
    if "goal" in found and "select" not in table.entries:
        reader.faults.add(table.line, "metrics", "expected the key 'select' beside goal")
    return ProgramMetrics(**found)


def read_snapshot(reader: TopReader, place: Place) -> dict[str, Any]:
    """Return how the project is copied: the fields of `Program` for it."""
    default = "none" if place.file is None else "git" if place.is_in_git else "files"
    kind = reader.value("snapshot", Key("", one_of("git", "files", "none")), default)
    if kind == "git" and not place.is_in_git:
        line = reader.top.entries["snapshot"].tree.line
        reader.faults.add(
            line, "snapshot", f"{place.project} is in no git work tree; use files or none"
        )
    limit = reader.value(
        "snapshot_limit", Key("", amount(parse_memory, "a size such as 200M")), LIMIT_MIB
    )
    return {"snapshot": kind, "limit_mib": limit}


def read_smoke(reader: TopReader, words: Vocabulary) -> dict[str, Scalar]:
    """Return the settings that make a run small."""
    table = reader.table("smoke", ())
    if table is None:
        return {}
    found = {}
    for name, entry in table.entries.items():
        if name not in words.settings:
            reader.faults.add(entry.line, "smoke", words.unknown(name))
            continue
        setting = words.settings[name]
        value = reader.parsed(entry.tree, join("smoke", name), Key("", setting.check), None)
        if value is not None:
            found[setting.name] = value
    return found


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
