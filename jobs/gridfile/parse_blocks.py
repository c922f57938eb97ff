"""Reads the blocks of a grid file: the whole file as one block, or the parts of its `union`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anlp.core.errors import SpecError
from anlp.core.filters import parse_filter
from anlp.core.spec import Scalar
from jobs.config.yaml_tree import Leaf, Table, Tree, join
from jobs.gridfile.blocks import SEED, Axis, Block, Exclude, Match, When
from jobs.gridfile.parse_axes import SECTIONS, read_axes
from jobs.gridfile.parser import GivenAt, GridParser
from jobs.gridfile.settings import seed_setting

BLOCK_KEYS = ("fixed", *SECTIONS, "when", "exclude", "include", "seeds", "task")
_WHEN_KEYS = ("if", "fixed", "grid", "zip")
_NOT_BESIDE_UNION = (*SECTIONS, "when", "include")
_DEFAULT_SEEDS = (0,)


@dataclass(frozen=True, slots=True)
class _Inherited:
    """What the blocks of a union take over from the top of the file."""

    fixed: Mapping[str, Scalar]
    excludes: tuple[Exclude, ...]
    seeds: tuple[int, ...]


def read_blocks(reader: GridParser, top: Table) -> tuple[Block, ...]:
    """Return the blocks of a file, faults noted; with faults they are not to be used."""
    if "union" not in top.entries:
        return (_block(reader, top, "", _Inherited({}, (), _DEFAULT_SEEDS)),)
    for name in _NOT_BESIDE_UNION:
        if name in top.entries:
            line = top.entries["union"].line
            reader.faults.add(
                top.entries[name].line, name, f"move it into a block of union (line {line})"
            )
    inherited = _Inherited(
        _fixed(reader, top, "", {}),
        _excludes(reader, top, ""),
        _seeds(reader, top, "", _DEFAULT_SEEDS),
    )
    union = top.entries["union"]
    found = []
    for tree, path in reader.items(union.tree, "union", "a list of blocks"):
        table = reader.table(tree, path, "a block (a mapping with fixed, grid, …)")
        reader.only(table, path, BLOCK_KEYS)
        found.append(_block(reader, table, path, inherited))
    if not found:
        reader.faults.add(union.line, "union", "expected at least one block")
    return tuple(found)


def _block(reader: GridParser, table: Table, path: str, inherited: _Inherited) -> Block:
    given: GivenAt = {}
    fixed = _fixed(reader, table, path, given)
    axes = read_axes(reader, table, path, given)
    varied = {name for axis in axes for name in axis.names}
    return Block(
        fixed={
            **{name: value for name, value in inherited.fixed.items() if name not in varied},
            **fixed,
        },
        axes=axes,
        whens=_whens(
            reader, table, path, {name: place for name, place in given.items() if name in varied}
        ),
        excludes=inherited.excludes + _excludes(reader, table, path),
        includes=_includes(reader, table, path),
        seeds=_seeds(reader, table, path, inherited.seeds),
        path=path,
        line=table.line,
    )


def _fixed(reader: GridParser, table: Table, path: str, given: GivenAt) -> dict[str, Scalar]:
    if "fixed" not in table.entries:
        return {}
    where = join(path, "fixed")
    return _point(reader, reader.table(table.entries["fixed"].tree, where), where, given)


def _point(reader: GridParser, table: Table, path: str, given: GivenAt) -> dict[str, Scalar]:
    """Return one value for each setting of a table."""
    found: dict[str, Scalar] = {}
    for setting, line, tree, where in reader.settings(table, path):
        value = reader.value(setting, tree, where)
        if reader.give(given, setting.name, line, where) and value is not None:
            found[setting.name] = value
    return found


def _whens(reader: GridParser, table: Table, path: str, given: GivenAt) -> tuple[When, ...]:
    if "when" not in table.entries:
        return ()
    found = []
    trees = reader.items(
        table.entries["when"].tree, join(path, "when"), "a list such as - {if: {…}, grid: {…}}"
    )
    for tree, where in trees:
        part = reader.table(tree, where, "a mapping with if, and fixed, grid or zip")
        reader.only(part, where, _WHEN_KEYS)
        if "if" not in part.entries:
            reader.faults.add(part.line, where, "expected the key 'if', such as if: {model: cnn}")
            continue
        condition = _match(reader, part.entries["if"].tree, join(where, "if"), with_seed=False)
        own: GivenAt = dict(given)
        fixed = _fixed(reader, part, where, own)
        axes: tuple[Axis, ...] = read_axes(reader, part, where, own)
        if not fixed and not axes and "if" in part.entries and len(part.entries) == 1:
            reader.faults.add(part.line, where, "expected fixed, grid or zip beside if")
        found.append(When(condition, fixed, axes, where, part.line))
    return tuple(found)


def _match(reader: GridParser, tree: Tree, path: str, *, with_seed: bool) -> Match:
    table = reader.table(tree, path, "a mapping such as {model: cnn}")
    if not table.entries and table is tree:
        reader.faults.add(table.line, path, "expected at least one setting, got an empty mapping")
    wanted: dict[str, tuple[Scalar, ...]] = {}
    if with_seed and SEED in table.entries:
        wanted[SEED] = tuple(
            reader.values(seed_setting(), table.entries[SEED].tree, join(path, SEED))
        )
        table = Table(
            {name: entry for name, entry in table.entries.items() if name != SEED}, table.line
        )
    for setting, _, values, where in reader.settings(table, path):
        wanted[setting.name] = tuple(reader.values(setting, values, where))
    return Match(wanted)


def _excludes(reader: GridParser, table: Table, path: str) -> tuple[Exclude, ...]:
    if "exclude" not in table.entries:
        return ()
    trees = reader.items(
        table.entries["exclude"].tree,
        join(path, "exclude"),
        "a list of mappings such as - {lr: 0.1, optimizer: sgd}",
    )
    found = [_exclude(reader, tree, where) for tree, where in trees]
    return tuple(rule for rule in found if rule is not None)


def _exclude(reader: GridParser, tree: Tree, path: str) -> Exclude | None:
    if not isinstance(tree, Leaf) or not isinstance(tree.value, str):
        match = _match(reader, tree, path, with_seed=True)
        return Exclude(match, _described(match), tree.line)
    try:
        rule = parse_filter(tree.value, is_exact=True)
        rule.check([*reader.words.settings, SEED])
    except SpecError as error:
        for fault in error.faults:
            reader.faults.add(tree.line, path, fault)
        return None
    if not rule.terms:
        reader.faults.add(
            tree.line, path, "expected a filter such as 'lr>0.01 optimizer=adam', got ''"
        )
    return Exclude(rule, repr(tree.value), tree.line)


def _described(match: Match) -> str:
    return repr(
        " ".join(f"{name}={','.join(map(str, values))}" for name, values in match.wanted.items())
    )


def _includes(reader: GridParser, table: Table, path: str) -> tuple[dict[str, Scalar], ...]:
    if "include" not in table.entries:
        return ()
    where = join(path, "include")
    trees = reader.items(
        table.entries["include"].tree, where, "a list of points such as - {model: cnn, lr: 0.1}"
    )
    return tuple(_point(reader, reader.table(tree, at), at, {}) for tree, at in trees)


def _seeds(
    reader: GridParser, table: Table, path: str, default: tuple[int, ...]
) -> tuple[int, ...]:
    if "seeds" not in table.entries:
        return default
    return reader.seeds(table.entries["seeds"].tree, join(path, "seeds"))
