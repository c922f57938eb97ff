"""Read site profiles: one commented YAML file that the people of a cluster adapt."""

from __future__ import annotations

import os
import site as python_site
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anlp.core.errors import SpecError, UserError, did_you_mean
from jobs.config.fields import Key
from jobs.config.resources import RESOURCE_KEYS
from jobs.config.yaml_tree import (
    Faults,
    Items,
    Leaf,
    Table,
    Tree,
    join,
    parse_yaml,
    read_text,
    show,
)
from jobs.schedulers import plugins
from jobs.schedulers.site import COMMON_KEYS, NO_DEFAULTS, QUEUE_KEYS, Profile, QueueRule

NESTED = ("defaults", "queues")  # keys whose values are mappings


def load_profile(name: str) -> Profile:
    """Return the profile of that name, the user's own before a shipped one; a path is a file.

    Raises:
        SpecError: there is none of that name, or it has faults; all of them are named.
    """
    if is_profile_path(name):
        return parse_profile(read_text(Path(name)), Path(name))
    for folder in profile_folders():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return parse_profile(read_text(path), path)
    raise SpecError(f"profile {name!r}: no such profile{did_you_mean(name, profile_names())}")


def is_profile_path(name: str) -> bool:
    """Return whether a profile was named by its file."""
    return "/" in name or name.endswith(".yaml")


def profile_names() -> list[str]:
    """Return every profile that can be named."""
    return sorted({path.stem for folder in profile_folders() for path in folder.glob("*.yaml")})


def profile_folders() -> list[Path]:
    """Return where profiles are looked for: the user's, the checkout's, the installed ones."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    beside = Path(__file__).resolve().parents[2]
    share = Path("share", "anlp", "profiles")
    shipped = (
        beside / "profiles",
        beside / share,
        Path(sysconfig.get_path("data")) / share,
        Path(python_site.getuserbase()) / share,
    )
    return [config / "anlp" / "profiles", *[folder for folder in shipped if folder.is_dir()][:1]]


def parse_profile(content: str, path: Path) -> Profile:
    """Return the profile in a file's text.

    Raises:
        SpecError: all faults at once, each with its line.
    """
    faults = Faults(path)
    tree = parse_yaml(content, faults)
    faults.raise_if_any()
    if not isinstance(tree, Table):
        got = show(tree) if tree else "nothing"
        wanted = ", ".join([*COMMON_KEYS, *NESTED])
        raise SpecError(f"{path}: expected a mapping with {wanted}, got {got}")
    kind = _profile_type(tree, faults)
    keys: dict[str, Key | None] = {**dict.fromkeys(NESTED), **COMMON_KEYS, **kind.KEYS}
    others = _refuse_keys_of_others(tree, kind, keys, faults)
    found = _read_table(tree, "", {**keys, **dict.fromkeys(others)}, faults)
    if "defaults" in tree.entries:
        found["defaults"] = _read_defaults(tree.entries["defaults"].tree, faults)
    if "queues" in tree.entries:
        found["queues"] = _read_queues(tree.entries["queues"].tree, faults)
    faults.raise_if_any()
    return kind(path.stem, **found)


def _profile_type(tree: Table, faults: Faults) -> type[Profile]:
    """Return the kind of profile that the file's scheduler has."""
    name = plugins.SCHEDULER_OF_PROFILES
    entry = tree.entries.get("scheduler")
    if entry is not None and not _is_empty(entry.tree):
        name = entry.tree.text if isinstance(entry.tree, Leaf) else ""
    try:
        kind = plugins.find(name).profile_type if name else None
    except UserError:
        kind = None
    if kind is not None:
        return kind
    known = [each for each in plugins.names() if plugins.find(each).profile_type is not None]
    hint = did_you_mean(name, known)
    line = entry.line if entry is not None else 1
    faults.add(line, "scheduler", f"expected one of {', '.join(known)}, got {name!r}{hint}")
    faults.raise_if_any()
    raise AssertionError("unreachable")


def _refuse_keys_of_others(
    tree: Table, kind: type[Profile], keys: Mapping[str, Key | None], faults: Faults
) -> set[str]:
    """Refuse a key that only another scheduler has: it would be ignored without a word."""
    strange = [name for name in tree.entries if name not in keys]
    found = set()
    for scheduler in plugins.built_in() if strange else ():
        theirs = scheduler.profile_type
        for name in strange:
            if theirs is None or name not in theirs.KEYS or name in found:
                continue
            found.add(name)
            entry = tree.entries[name]
            if not _is_empty(entry.tree):
                owners = " and ".join(_titles_with(name))
                verb = "has" if " and " not in owners else "have"
                text = (
                    f"only {owners} {verb} this, and the profile is for {_name_of(kind)}; remove it"
                )
                faults.add(entry.line, name, text)
    return found


def _titles_with(key: str) -> list[str]:
    kinds = [(each.title, each.profile_type) for each in plugins.built_in()]
    return [title for title, kind in kinds if kind is not None and key in kind.KEYS]


def _name_of(kind: type[Profile]) -> str:
    return kind("").scheduler


def _is_empty(tree: Tree) -> bool:
    return isinstance(tree, Leaf) and tree.value is None


def _read_table(
    tree: Tree, path: str, keys: Mapping[str, Key | None], faults: Faults
) -> dict[str, Any]:
    """Return the fields of one mapping; keys without a reader are left to the caller."""
    if _is_empty(tree):
        return {}
    if not isinstance(tree, Table):
        faults.add(tree.line, path, f"expected a mapping with {', '.join(keys)}, got {show(tree)}")
        return {}
    found: dict[str, Any] = {}
    for name, entry in tree.entries.items():
        if name not in keys:
            faults.add(entry.line, path, f"unknown key {name!r}{did_you_mean(name, keys)}")
            continue
        key = keys[name]
        if key is None or _is_empty(entry.tree):
            continue
        try:
            found[key.field] = key.parse(entry.tree)
        except ValueError as fault:
            faults.add(entry.tree.line, join(path, name), str(fault))
    return found


def _read_defaults(tree: Tree, faults: Faults) -> dict[str, Any]:
    keys = {name: key for name, key in RESOURCE_KEYS.items() if name not in NO_DEFAULTS}
    return _read_table(tree, "defaults", keys, faults)


def _read_queues(tree: Tree, faults: Faults) -> tuple[QueueRule, ...]:
    if _is_empty(tree):
        return ()
    if not isinstance(tree, Items):
        faults.add(tree.line, "queues", f"expected a list of queues, got {show(tree)}")
        return ()
    rules = []
    for index, item in enumerate(tree.items):
        form = _read_table(item, f"queues[{index}]", QUEUE_KEYS, faults)
        if "queue" in form:
            rules.append(QueueRule(**form))
        elif isinstance(item, Table):
            faults.add(item.line, f"queues[{index}]", "expected the queue's name under 'queue'")
    return tuple(rules)
