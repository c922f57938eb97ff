"""Parse strict YAML into a tree of leaves, lists and tables in which everything knows its line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from anlp.core.errors import SpecError
from anlp.core.files import read_at_most
from anlp.core.spec import Scalar

MAX_BYTES = 1_000_000
MAX_MERGED = 100_000  # entries copied by merge keys: a small file can ask for billions
SHOWN_LENGTH = 60

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_SCALAR_TAGS = frozenset(_TAG + kind for kind in ("null", "bool", "int", "float", "str", "merge"))
_DIGITS = r"[0-9]+(?:_[0-9]+)*"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Leaf:
    """A scalar with its text as written; None is an empty value or null."""

    value: Scalar | None
    text: str
    line: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Items:
    """A list. Aliases share one object: walk a tree by its grammar, or it may never end."""

    items: tuple[Tree, ...]
    line: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Entry:
    """The value of a key of a table, and the line of the key."""

    line: int
    tree: Tree


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """A mapping, in file order, merge keys (`<<`) resolved."""

    entries: dict[str, Entry]
    line: int


Tree = Leaf | Items | Table


@dataclass(slots=True)
class Faults:
    """Collects the faults of one file, to be raised all at once, in the order of their lines."""

    source: Path | str
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, path: str, message: str) -> None:
        """Add `source:line: path: message`; the path may be empty."""
        where = f"{path}: " if path else ""
        self.found.append((line, f"{self.source}:{line}: {where}{message}"))

    def add_plain(self, sentence: str) -> None:
        """Add a sentence that belongs to no line of the file (command-line settings)."""
        self.found.append((1 << 60, sentence))

    def raise_if_any(self) -> None:
        """Raise `SpecError` with every fault once, unless there is none."""
        if self.found:
            ordered = sorted(self.found, key=lambda fault: fault[0])
            raise SpecError(list(dict.fromkeys(text for _, text in ordered)))


def with_lines(tree: Tree, lines: Sequence[int]) -> Tree:
    """Return a tree of other text: what is on line n stands on `lines[n - 1]` of another file."""
    line = lines[tree.line - 1]
    if isinstance(tree, Leaf):
        return replace(tree, line=line)
    if isinstance(tree, Items):
        return Items(tuple(with_lines(item, lines) for item in tree.items), line)
    entries = {
        name: Entry(lines[entry.line - 1], with_lines(entry.tree, lines))
        for name, entry in tree.entries.items()
    }
    return Table(entries, line)


def join(path: str, key: str) -> str:
    """Return the path of `key` inside the table at `path`."""
    return f"{path}.{key}" if path else key


def show(tree: Tree) -> str:
    """Render a value for a fault: text in quotes, numbers as written, all else by its kind."""
    if isinstance(tree, Items):
        return "a list"
    if isinstance(tree, Table):
        return "a mapping"
    if tree.value is None:
        return "nothing"
    text = tree.text if len(tree.text) <= SHOWN_LENGTH else tree.text[:SHOWN_LENGTH] + "…"
    return repr(text) if isinstance(tree.value, str) else text


_RESOLVERS: dict[Any, Any] = {
    None: [
        (_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
        (_TAG + "bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
        (_TAG + "int", re.compile(rf"[-+]?{_DIGITS}\Z")),
        (
            _TAG + "float",
            re.compile(rf"[-+]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][-+]?[0-9]+)?\Z"),
        ),
        (_TAG + "float", re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")),
        (_MERGE, re.compile(r"<<\Z")),
    ]
}


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with few scalar types: 1e-3 is a number; on, no, 1:30 and dates are text."""

    yaml_implicit_resolvers = _RESOLVERS


def read_text(path: Path) -> str:
    """Read a grid file.

    Raises:
        SpecError: there is no such file, it cannot be read, is no UTF-8 text or larger than 1 MB.
    """
    try:
        content = read_at_most(path, MAX_BYTES)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file{_neighbours(path)}") from None
    except IsADirectoryError:
        raise SpecError(
            f"{path}: expected a grid file, got a directory{_neighbours(path / 'x')}"
        ) from None
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(content) > MAX_BYTES:
        size = path.stat().st_size  # 0 of a device, which has no end
        got = f"{size / 1e6:.1f} MB" if size else "one without an end"
        raise SpecError(
            f"{path}: expected a grid file of at most {MAX_BYTES / 1e6:g} MB, got {got}"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{path}:{line}: expected UTF-8 text, got the byte 0x{content[error.start]:02x}"
        ) from None


def _neighbours(path: Path) -> str:
    """Return the YAML files beside a missing one, and those in `grids/` there; no hidden ones."""
    try:
        found = [*path.parent.glob("*.yaml"), *(path.parent / "grids").glob("*.yaml")]
    except OSError:
        return ""
    names = sorted(str(file) for file in found if not file.name.startswith("."))
    return f" (grid files here: {', '.join(names[:10])})" if names else ""


def parse_yaml(text: str, faults: Faults) -> Tree | None:
    """Parse a YAML document; faults go to `faults`. None: it could not be parsed, or is empty."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Converter(faults).convert(node, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        faults.add(line, "", f"column {column}: {_syntax(error)}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        faults.add(line, "", f"expected text, got the control character {error.character!r}")
    except RecursionError:
        faults.add(1, "", "expected a grid file, got lists or mappings nested hundreds deep")
    return None


def parse_leaf(text: str) -> Leaf:
    """Read a scalar of the command line, typed as an unquoted scalar of a file is.

    >>> parse_leaf("1e-3").value, parse_leaf("true").value, parse_leaf("no").value
    (0.001, True, 'no')
    """
    tag = next((tag for tag, pattern in _RESOLVERS[None] if pattern.match(text)), _TAG + "str")
    try:
        return Leaf(_scalar(tag, text), text, 0)
    except ValueError:  # thousands of digits: kept as text, which no numeric setting accepts
        return Leaf(text, text, 0)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "a syntax error"
    if r"'\t'" in problem:
        return "a tab stands where YAML wants blanks; indent with blanks"
    if problem.startswith("but found another document"):
        return "expected one document, got a second one after ---"
    context = f" ({error.context})" if error.context else ""
    return f"not valid YAML: {problem}{context}"


def _scalar(tag: str, text: str) -> Scalar | None:
    """Return the value of a scalar; raises `ValueError` where the text is not of the tag's type."""
    if tag == _TAG + "null":
        return None
    if tag == _TAG + "bool":
        return _boolean(text)
    if tag == _TAG + "int":
        return int(text)
    if tag == _TAG + "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, got {text!r}")
    return text.lower() == "true"


class _Converter:
    """Turns PyYAML's nodes into a tree, each node once, even if several aliases lead to it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.done: dict[int, Tree | None] = {}
        self.merged = 0

    def convert(self, node: yaml.Node, path: str) -> Tree | None:
        """Return the tree of `node`, None where a fault was noted in its place."""
        if id(node) not in self.done:
            self.done[id(node)] = None  # an alias that leads back here is refused
            self.done[id(node)] = self._convert(node, path)
        elif self.done[id(node)] is None:
            self._refuse(
                node, path, "expected a value, got an alias that contains itself or a refused value"
            )
        return self.done[id(node)]

    def _convert(self, node: yaml.Node, path: str) -> Tree | None:
        if isinstance(node, yaml.ScalarNode):
            return self._leaf(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            found = [
                self.convert(item, f"{path}[{index}]") for index, item in enumerate(node.value)
            ]
            return Items(tuple(item for item in found if item is not None), _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._table(node, path)
        return self._refuse(node, path, f"expected plain YAML, got the tag {node.tag!r}")

    def _leaf(self, node: yaml.ScalarNode, path: str) -> Leaf | None:
        if node.tag not in _SCALAR_TAGS:
            return self._refuse(node, path, f"expected plain YAML, got the tag {node.tag!r}")
        try:
            return Leaf(_scalar(node.tag, node.value), node.value, _line(node))
        except ValueError as error:
            sentence = str(error)
            if not sentence.startswith("expected"):
                sentence = "expected a number of usual length"
            return self._refuse(node, path, sentence)

    def _table(self, node: yaml.MappingNode, path: str) -> Table:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                self._merge(value, path, merged)
            elif not isinstance(key, yaml.ScalarNode):
                self._refuse(key, path, "expected a name as key, got a list or mapping")
            elif key.value in first:
                self.faults.add(
                    _line(key),
                    path,
                    f"duplicate key {key.value!r} (first on line {first[key.value]})",
                )
            else:
                first[key.value] = _line(key)
                tree = self.convert(value, join(path, key.value))
                if tree is not None:
                    own[key.value] = Entry(_line(key), tree)
        return Table({**merged, **own}, _line(node))

    def _merge(self, node: yaml.Node, path: str, merged: dict[str, Entry]) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            table = self.convert(source, join(path, "<<"))
            if isinstance(table, Table):
                self.merged += len(table.entries)
                if self.merged > MAX_MERGED:
                    self._refuse(
                        source,
                        join(path, "<<"),
                        f"expected at most {MAX_MERGED:,} merged entries in a file",
                    )
                    return
                for name, entry in table.entries.items():
                    merged.setdefault(name, entry)
            elif table is not None:
                self._refuse(
                    source, join(path, "<<"), f"expected a mapping to merge, got {show(table)}"
                )

    def _refuse(self, node: yaml.Node, path: str, message: str) -> Leaf | None:
        self.faults.add(_line(node), path, message)
        return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
