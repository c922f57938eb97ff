"""Steps of reading a grid file's tree: each notes its fault and continues."""

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

GivenAt = dict[str, tuple[int, str]]  # the line and path where a setting is given


@dataclass(frozen=True, slots=True)
class GridParser:
    """Reads parts of a grid file with a task's words, and collects faults and notes."""

    words: Vocabulary
    faults: Faults
    notes: list[str] = field(default_factory=list)

    def note(self, line: int, path: str, message: str) -> None:
        """Remember something that may be a mistake."""
        self.notes.append(f"{self.faults.source}:{line}: {path}: {message}")

    def settings(self, table: Table, path: str) -> Iterator[tuple[Setting, int, Tree, str]]:
        """Yield the known settings of a table with their line, tree and path."""
        for name, entry in table.entries.items():
            if name in self.words.settings:
                yield self.words.settings[name], entry.line, entry.tree, join(path, name)
            elif is_secret(name):
                self.faults.add(entry.line, path, secret_sentence(name))
            else:
                self.faults.add(entry.line, path, self.words.unknown(name))

    def value(self, setting: Setting, tree: Tree, path: str) -> Scalar | None:
        """Return one typed value, None after a fault."""
        try:
            return setting.check(tree)
        except ValueError as fault:
            self.faults.add(tree.line, path, str(fault))
            return None

    def values(self, setting: Setting, tree: Tree, path: str) -> list[Scalar]:
        """Return one value or a list of them; empty after a fault."""
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
        """Return a list of finite numbers of one of the lengths `counts`, None after a fault."""
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
        """Return a whole number within bounds, None after a fault."""
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
        """Return the table, or an empty one after a fault."""
        if isinstance(tree, Table):
            return tree
        self.faults.add(tree.line, path, f"expected {wanted}, got {show(tree)}")
        return Table({}, tree.line)

    def items(self, tree: Tree, path: str, wanted: str) -> Iterator[tuple[Tree, str]]:
        """Yield the items of a list with their paths; nothing after a fault."""
        if not isinstance(tree, Items):
            self.faults.add(tree.line, path, f"expected {wanted}, got {show(tree)}")
            return
        for index, item in enumerate(tree.items):
            yield item, f"{path}[{index}]"

    def only(self, table: Table, path: str, known: Collection[str]) -> None:
        """Note a fault for every key that is not `known`."""
        for name, entry in table.entries.items():
            if name not in known:
                sentence = f"unknown key {name!r}{did_you_mean(name, known)}"
                if is_secret(name):
                    sentence = secret_sentence(name)
                self.faults.add(entry.line, path, sentence)

    def seeds(self, tree: Tree, path: str) -> tuple[int, ...]:
        """Return a count (seeds 0, 1, …) or a list of distinct seeds; empty after a fault."""
        if not isinstance(tree, Items):
            return tuple(range(self.whole(tree, path, 1, MAX_VALUES) or 0))
        found = [int(seed) for seed in self.values(seed_setting(), tree, path)]
        if len(set(found)) < len(found):
            repeated = next(seed for seed, count in Counter(found).items() if count > 1)
            self.faults.add(
                tree.line, path, f"expected distinct seeds, got {repeated} more than once"
            )
        return tuple(found)

    def give(self, given: GivenAt, name: str, line: int, path: str) -> bool:
        """Note that `name` is given here; False and a fault if it was given before."""
        if name not in given:
            given[name] = (line, path)
            return True
        other_line, other_path = given[name]
        self.faults.add(
            line,
            path,
            f"{name} is also given on line {other_line} ({other_path}); keep one of the two",
        )
        return False


def is_number(tree: Tree) -> bool:
    """Return whether a tree is a number that can be computed with."""
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == 0 or 1 / _LARGEST < abs(value) < _LARGEST


def is_secret(name: str) -> bool:
    """Return whether a key looks like the name of a secret."""
    return _SECRET.search(name) is not None


def secret_sentence(name: str) -> str:
    """Return the fault of a secret in a grid file; it never repeats the value."""
    return (
        f"{name!r} does not belong in a grid file: put the key in the environment (WANDB_API_KEY) "
        "or ~/.netrc"
    )
