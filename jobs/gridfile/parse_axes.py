"""Reads the axes `grid`, `zip` and `random` of a block or a `when`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random

from anlp.core.errors import did_you_mean
from anlp.core.spec import Scalar
from anlp.core.units import shorten
from jobs.config.yaml_tree import Entry, Items, Leaf, Table, Tree, join
from jobs.gridfile.blocks import Axis
from jobs.gridfile.parser import GivenAt, GridParser
from jobs.gridfile.sampling import (
    CHOICE,
    DIGITS,
    DRAWS,
    MAX_VALUES,
    ROWS,
    WEIGHTS,
    Number,
    draw_choices,
    draw_numbers,
    draw_weighted,
    row_values,
    stream,
    weights_fault,
)
from jobs.gridfile.settings import Setting

SECTIONS = ("grid", "zip", "random")
_SAMPLING = ("samples", "sampling_seed", "digits")


def read_axes(reader: GridParser, table: Table, path: str, given: GivenAt) -> tuple[Axis, ...]:
    """Return the axes of the sections of `table`, in file order; `given` gains their settings."""
    found: list[Axis] = []
    for name, entry in table.entries.items():
        if name == "grid":
            found += _grid(reader, entry.tree, join(path, name), given)
        elif name == "zip":
            found += _zip(reader, entry, join(path, name), given)
        elif name == "random":
            found += _random(reader, entry, join(path, name), given)
    return tuple(found)


def _grid(reader: GridParser, tree: Tree, path: str, given: GivenAt) -> Iterator[Axis]:
    for setting, line, values_tree, where in reader.settings(reader.table(tree, path), path):
        values = axis_values(reader, setting, values_tree, where)
        if reader.give(given, setting.name, line, where) and values:
            distinct = tuple((value,) for value in dict.fromkeys(values))
            if len(distinct) < len(values):
                reader.note(
                    line,
                    where,
                    f"{len(values)} values, {len(distinct)} of them distinct; repeats are dropped",
                )
            yield Axis((setting.name,), distinct, "grid", line)


def axis_values(reader: GridParser, setting: Setting, tree: Tree, path: str) -> list[Scalar]:
    """Return the values of an axis: a scalar, a list, or one of `ROWS`; empty after a fault."""
    if not isinstance(tree, Table):
        return reader.values(setting, tree, path)
    rule = _rule(reader, tree, path, ROWS)
    return [] if rule is None else row_axis(reader, setting, rule, tree.entries[rule].tree, path)


def row_axis(
    reader: GridParser, setting: Setting, rule: str, arguments: Tree, path: str
) -> list[Scalar]:
    """Return the values of a row such as `logspace`, typed; empty after a fault."""
    row = _arguments(reader, rule, arguments, f"{path}.{rule}")
    if row is None:
        return []
    return _computed(reader, setting, row_values(rule, row), rule, arguments.line, path)


def _rule(reader: GridParser, table: Table, path: str, names: Collection[str]) -> str | None:
    """Return the one key of a table that says how its values are computed."""
    if len(table.entries) == 1 and (name := next(iter(table.entries))) in names:
        return name
    got = next((name for name in table.entries if name not in names), None)
    hint = did_you_mean(got, names) if got is not None else ""
    wanted = ", ".join(f"{{{name}: […]}}" for name in names)
    reader.faults.add(
        table.line,
        path,
        f"expected one of {wanted}, got {', '.join(table.entries) or 'nothing'}{hint}",
    )
    return None


def _arguments(reader: GridParser, rule: str, tree: Tree, path: str) -> list[Number] | None:
    known = {**ROWS, **DRAWS}[rule]
    row = reader.numbers(tree, path, known.counts, known.arguments)
    fault = known.fault(row) if row else None
    if fault is not None:
        reader.faults.add(tree.line, path, fault)
        return None
    return row


def _computed(
    reader: GridParser, setting: Setting, numbers: Sequence[Number], rule: str, line: int, path: str
) -> list[Scalar]:
    """Return typed values of computed numbers; the first that does not fit is the fault of all."""
    try:
        return [setting.check(Leaf(number, repr(number), line)) for number in numbers]
    except ValueError as fault:
        reader.faults.add(line, path, f"{rule} gives a wrong value: {fault}")
        return []


def _zip(reader: GridParser, entry: Entry, path: str, given: GivenAt) -> Iterator[Axis]:
    groups = [(entry.tree, path)]
    if isinstance(entry.tree, Items):
        groups = list(reader.items(entry.tree, path, "a list of groups"))
    for tree, where in groups:
        table = reader.table(
            tree, where, "a mapping of settings that move together, or a list of such mappings"
        )
        columns: dict[str, list[Scalar]] = {}
        for setting, line, values_tree, setting_path in reader.settings(table, where):
            values = axis_values(reader, setting, values_tree, setting_path)
            if reader.give(given, setting.name, line, setting_path) and values:
                columns[setting.name] = values
        yield from _zipped(reader, columns, table.line, where)


def _zipped(
    reader: GridParser, columns: dict[str, list[Scalar]], line: int, path: str
) -> Iterator[Axis]:
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in columns.items())
        reader.faults.add(
            line,
            path,
            f"expected equally many values for settings that move together, got: {lengths}",
        )
    elif columns:
        points = tuple(dict.fromkeys(zip(*columns.values(), strict=True)))
        yield Axis(tuple(columns), points, "zip", line)


def _random(reader: GridParser, entry: Entry, path: str, given: GivenAt) -> Iterator[Axis]:
    table = reader.table(entry.tree, path)
    sampling = {name: table.entries[name].tree for name in _SAMPLING if name in table.entries}
    count = seed = 0
    if "samples" in sampling:
        count = reader.whole(sampling["samples"], join(path, "samples"), 1, MAX_VALUES) or 0
    else:
        reader.faults.add(
            entry.line, path, "expected the key 'samples', the number of points to draw"
        )
    if "sampling_seed" in sampling:
        seed = reader.whole(sampling["sampling_seed"], join(path, "sampling_seed"), 0) or 0
    digits = 0
    if "digits" in sampling:
        digits = reader.whole(sampling["digits"], join(path, "digits"), 1, DIGITS) or 0
    rest = Table(
        {name: found for name, found in table.entries.items() if name not in _SAMPLING}, table.line
    )
    columns: dict[str, list[Scalar]] = {}
    for setting, line, tree, where in reader.settings(rest, path):
        values = _drawn(reader, setting, tree, where, max(1, count), seed)
        if isinstance(tree, Table) and CHOICE not in tree.entries:
            values = [shorten(value, digits) for value in values]
        if reader.give(given, setting.name, line, where) and values:
            columns[setting.name] = values
    if not rest.entries and isinstance(entry.tree, Table):
        reader.faults.add(
            entry.line, path, "expected a setting to draw, such as lr: {loguniform: [1e-5, 0.1]}"
        )
    if columns:
        yield Axis(tuple(columns), tuple(zip(*columns.values(), strict=True)), "random", entry.line)


def _drawn(
    reader: GridParser, setting: Setting, tree: Tree, path: str, count: int, seed: int
) -> list[Scalar]:
    table = reader.table(tree, path, "a way to draw such as {uniform: [0, 0.5]}")
    rng = stream(seed, setting.name)
    if table is tree and CHOICE in table.entries and WEIGHTS in table.entries:
        return _drawn_by_weight(reader, setting, table, path, count, rng)
    rule = _rule(reader, table, path, [*DRAWS, CHOICE]) if table is tree else None
    if rule is None:
        return []
    arguments = table.entries[rule].tree
    if rule == CHOICE:
        choices = reader.values(setting, arguments, f"{path}.{rule}")
        return draw_choices(choices, count, rng) if choices else []
    bounds = _arguments(reader, rule, arguments, f"{path}.{rule}")
    if bounds is None:
        return []
    numbers = draw_numbers(rule, bounds, count, rng, whole=setting.kind is int)
    return _computed(reader, setting, numbers, rule, arguments.line, path)


def _drawn_by_weight(
    reader: GridParser, setting: Setting, table: Table, path: str, count: int, rng: Random
) -> list[Scalar]:
    reader.only(table, path, (CHOICE, WEIGHTS))
    choices = reader.values(setting, table.entries[CHOICE].tree, join(path, CHOICE))
    tree, where = table.entries[WEIGHTS].tree, join(path, WEIGHTS)
    given = len(tree.items) if isinstance(tree, Items) else 1
    weights = reader.numbers(tree, where, (given,), "one for each value")
    if not choices or weights is None:
        return []
    fault = weights_fault(weights, len(choices))
    if fault is not None:
        reader.faults.add(tree.line, where, fault)
        return []
    return draw_weighted(choices, weights, count, rng)
