"""Shared steps of reading a grid file's tree: every one notes a fault and goes on, so that all faults are found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from anlp.core.errors import did_you_mean
from anlp.core.spec import Scalar
from jobs.config.yaml_tree import Faults, Items, Leaf, Table, Tree, join, show
from jobs.gridfile.sampling import MAX_VALUES, Number
from jobs.gridfile.settings import Setting, Vocabulary, seed_setting

_SECRET = re.compile(r"api_?key|passw(or)?d|secret|^(\w+_)?token$", re.IGNORECASE)
_LARGEST = 1e150  # products and quotients of two such numbers are still numbers

Claims = dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class GridParser:
    """What reading needs everywhere: the task's words, and where faults and notes go."""

    words: Vocabulary
    faults: Faults
    notes: list[str] = field(default_factory=list)

    def note(self, line: int, path: str, message: str) -> None:
        """Remembers something that may be a mistake."""
        self.notes.append(f"{self.faults.source}:{line}: {path}: {message}")

    def settings(self, table: Table, path: str) -> Iterator[tuple[Setting, int, Tree, str]]:
        """The known settings of a table with the line of their key, their tree and their path."""
        for name, entry in table.entries.items():
            if name in self.words.settings:
                yield self.words.settings[name], entry.line, entry.tree, join(path, name)
            elif is_secret(name):
                self.faults.add(entry.line, path, secret_sentence(name))
            else:
                self.faults.add(entry.line, path, self.words.unknown(name))

    def value(self, setting: Setting, tree: Tree, path: str) -> Scalar | None:
        """One typed value, None after a fault."""
        try:
            return setting.check(tree)
        except ValueError as fault:
            self.faults.add(tree.line, path, str(fault))
            return None

    def values(self, setting: Setting, tree: Tree, path: str) -> list[Scalar]:
        """One value or a list of them; empty after a fault."""
        if not isinstance(tree, Items):
            single = self.value(setting, tree, path)
            return [] if single is None else [single]
        if not tree.items:
            self.faults.add(tree.line, path, "expected at least one value, got an empty list")
        if len(tree.items) > MAX_VALUES:
            self.faults.add(
                tree.line, path, f"expected at most {MAX_VALUES:,} values, got {len(tree.items):,}"
            )
            return []
        found = [
            self.value(setting, item, f"{path}[{index}]") for index, item in enumerate(tree.items)
        ]
        return [] if None in found else [value for value in found if value is not None]

    def numbers(
        self, tree: Tree, path: str, counts: Collection[int], wanted: str
    ) -> list[Number] | None:
        """A list of finite numbers of one of the lengths `counts`, None after a fault."""
        items = tree.items if isinstance(tree, Items) else ()
        found = [leaf.value for leaf in items if isinstance(leaf, Leaf) and is_number(leaf)]
        if len(found) == len(items) and len(found) in counts:
            return [value for value in found if isinstance(value, int | float)]
        got = f"{len(items)} values" if items and len(found) == len(items) else show(tree)
        wrong = next((leaf for leaf in items if not is_number(leaf)), None)
        self.faults.add(
            tree.line,
            path,
            f"expected numbers [{wanted}], got {got if wrong is None else show(wrong)}",
        )
        return None

    def whole(self, tree: Tree, path: str, least: int, most: int | None = None) -> int | None:
        """A whole number within bounds, None after a fault."""
        value = tree.value if isinstance(tree, Leaf) else None
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and least <= value <= (most or value)
        ):
            return value
        upper = f" and <= {most}" if most else ""
        self.faults.add(
            tree.line, path, f"expected a whole number >= {least}{upper}, got {show(tree)}"
        )
        return None

    def table(self, tree: Tree, path: str, wanted: str = "a mapping of settings") -> Table:
        """The table, or an empty one after a fault."""
        if isinstance(tree, Table):
            return tree
        self.faults.add(tree.line, path, f"expected {wanted}, got {show(tree)}")
        return Table({}, tree.line)

    def items(self, tree: Tree, path: str, wanted: str) -> Iterator[tuple[Tree, str]]:
        """The items of a list with their paths; nothing after a fault."""
        if not isinstance(tree, Items):
            self.faults.add(tree.line, path, f"expected {wanted}, got {show(tree)}")
            return
        for index, item in enumerate(tree.items):
            yield item, f"{path}[{index}]"

    def only(self, table: Table, path: str, known: Collection[str]) -> None:
        """Notes a fault for every key that is not `known`."""
        for name, entry in table.entries.items():
            if name not in known:
                sentence = f"unknown key {name!r}{did_you_mean(name, known)}"
                self.faults.add(
                    entry.line, path, secret_sentence(name) if is_secret(name) else sentence
                )

    def seeds(self, tree: Tree, path: str) -> tuple[int, ...]:
        """A count (seeds 0, 1, …) or a list of distinct seeds; empty after a fault."""
        if not isinstance(tree, Items):
            return tuple(range(self.whole(tree, path, 1, MAX_VALUES) or 0))
        found = [int(seed) for seed in self.values(seed_setting(), tree, path)]
        if len(set(found)) < len(found):
            repeated = next(seed for seed, count in Counter(found).items() if count > 1)
            self.faults.add(
                tree.line, path, f"expected distinct seeds, got {repeated} more than once"
            )
        return tuple(found)

    def claim(self, claims: Claims, name: str, line: int, path: str) -> bool:
        """Whether `name` is given here for the first time; a fault names both places otherwise."""
        if name not in claims:
            claims[name] = (line, path)
            return True
        other_line, other_path = claims[name]
        self.faults.add(
            line,
            path,
            f"{name} is also given on line {other_line} ({other_path}); keep one of the two",
        )
        return False


def is_number(tree: Tree) -> bool:
    """Whether a tree is a number that can be computed with."""
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == 0 or 1 / _LARGEST < abs(value) < _LARGEST


def is_secret(name: str) -> bool:
    """Whether a key looks like the name of a secret."""
    return _SECRET.search(name) is not None


def secret_sentence(name: str) -> str:
    """What is said about a secret in a grid file; its value is never repeated."""
    return f"{name!r} does not belong in a grid file: put the key in the environment (WANDB_API_KEY) or ~/.netrc"
