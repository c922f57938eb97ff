"""Reads the keys that programs and functions of the user's own share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from anlp.core.metrics import metric_name
from anlp.core.spec import Scalar
from anlp.core.units import parse_memory
from anlp.records.program import ProgramMetrics
from jobs.config.fields import Key, amount, one_of, text
from jobs.config.yaml_tree import join
from jobs.gridfile.settings import Vocabulary
from jobs.gridfile.top_keys import TopReader
from jobs.programs.place import Place

LIMIT_MIB = 50  # of the copy of a project
_GOALS = one_of("minimize", "maximize")


def read_metric_names(reader: TopReader) -> ProgramMetrics:
    """Return which metrics matter."""
    table = reader.table("metrics", ("select", "report", "goal"))
    if table is None:
        return ProgramMetrics()
    found = {}
    for name in ("select", "report"):
        if name in table.entries:
            given = reader.parsed(
                table.entries[name].tree, join("metrics", name), Key("", text), ""
            )
            found[name] = metric_name(given) if given else ""
    goal = ""
    if "goal" in table.entries:
        goal = reader.parsed(table.entries["goal"].tree, "metrics.goal", Key("", _GOALS), "")
        if "select" not in table.entries:
            reader.faults.add(table.line, "metrics", "expected the key 'select' beside goal")
    return ProgramMetrics(found.get("select", ""), found.get("report", ""), goal)  # type: ignore[arg-type]  # one_of returns one of the goals


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
