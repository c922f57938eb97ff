"""Reads keys at the top of a grid file that concern the user's own code; faults are noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core.errors import UserError, did_you_mean
from jobs.config.fields import Key
from jobs.config.yaml_tree import Faults, Table, Tree, show


@dataclass(frozen=True, slots=True)
class TopReader:
    """Reads one file's keys; what is wrong is noted in `faults`."""

    top: Table
    faults: Faults
    beside: Path  # the folder of the grid file

    def value(self, name: str, key: Key, default: Any) -> Any:
        """Return the value of a key at the top of the file, `default` where it is not given."""
        if name not in self.top.entries:
            return default
        tree = self.top.entries[name].tree
        return self.parsed(tree, name, key, default)

    def parsed(self, tree: Tree, path: str, key: Key, default: Any) -> Any:
        """Return the value that `key` reads, `default` after a fault."""
        try:
            return key.parse(tree)
        except (UserError, ValueError) as fault:
            self.faults.add(tree.line, path, str(fault))
            return default

    def table(self, name: str, known: tuple[str, ...]) -> Table | None:
        """Return a table at the top of the file, with no other keys; None where there is none."""
        if name not in self.top.entries:
            return None
        tree = self.top.entries[name].tree
        if not isinstance(tree, Table):
            wanted = f"a mapping with {', '.join(known)}" if known else "a mapping"
            self.faults.add(tree.line, name, f"expected {wanted}, got {show(tree)}")
            return None
        for key, entry in tree.entries.items():
            if known and key not in known:
                self.faults.add(entry.line, name, f"unknown key {key!r}{did_you_mean(key, known)}")
        return tree
