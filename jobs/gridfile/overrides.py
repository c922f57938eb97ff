"""Reads settings of the command line, `--set lr=0.01,0.001`, and puts them over the file's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anlp.core.spec import Scalar
from jobs.config.yaml_tree import Faults, Items, parse_leaf
from jobs.gridfile.blocks import Axis, Block, When
from jobs.gridfile.parse_axes import row_axis
from jobs.gridfile.parser import GridParser
from jobs.gridfile.sampling import ROWS
from jobs.gridfile.settings import Setting, Vocabulary

_CALL = re.compile(r"\s*([a-z]+)\s*\((.*)\)\s*")


@dataclass(frozen=True, slots=True)
class Override:
    """The values that one setting takes instead of those in the file."""

    text: str  # as given, for faults
    name: str
    values: tuple[Scalar, ...]


def read_overrides(
    texts: Sequence[str], words: Vocabulary, faults: Faults, option: str = "--set"
) -> list[Override]:
    """Return the overrides of the command line.

    Faults are noted as `--set lr=fast: expected a number > 0, got 'fast'`.
    """
    found: dict[str, Override] = {}
    for text in texts:
        own = Faults("")
        override = _read(GridParser(words, own), text)
        if override is not None and override.name in found:
            own.add(
                0, "", f"{override.name} is given twice; write one list such as {override.name}=A,B"
            )
        for _, fault in own.found:
            faults.add_plain(f"{option} {text}: {_without_place(fault)}")
        if override is not None:
            found[override.name] = override
    return list(found.values())


def _without_place(fault: str) -> str:
    """Return a fault without the `:line: path:` of a file."""
    return re.sub(r"^:0: (?:\.: |\.\S*: )?", "", fault)


def _read(reader: GridParser, text: str) -> Override | None:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        reader.faults.add(0, "", "expected NAME=VALUE or NAME=VALUE,VALUE, such as lr=0.01,0.001")
    elif name in ("seed", "seeds"):
        reader.faults.add(0, "", "seeds are given with --seeds 5 or --seeds 1,2,3")
    elif name not in reader.words.settings:
        reader.faults.add(0, "", reader.words.unknown(name))
    else:
        values = _values(reader, reader.words.settings[name], value)
        return Override(text, name, tuple(dict.fromkeys(values))) if values else None
    return None


def _values(reader: GridParser, setting: Setting, text: str) -> list[Scalar]:
    call = _CALL.fullmatch(text)
    if call and call[1] in ROWS:
        return row_axis(reader, setting, call[1], _list(call[2]), ".")
    found = [reader.value(setting, leaf, ".") for leaf in _list(text).items]
    return [] if None in found else [value for value in found if value is not None]


def _list(text: str) -> Items:
    return Items(tuple(parse_leaf(part.strip()) for part in text.split(",")), 0)


def read_seeds(text: str, words: Vocabulary, faults: Faults) -> tuple[int, ...]:
    """Return the seeds of `--seeds 5` (a count) or `--seeds 1,2,3` (`7,` is the seed 7)."""
    own = Faults("")
    listed = _list(text.rstrip().removesuffix(","))
    tree = listed if "," in text else listed.items[0]
    seeds = GridParser(words, own).seeds(tree, ".")
    for _, fault in own.found:
        faults.add_plain(f"--seeds {text}: {re.sub(r'^:0: [^:]*: ', '', fault)}")
    return seeds


def override_block(block: Block, override: Override, faults: Faults) -> Block:
    """Return `block` with the override where the setting is given, else for the whole block."""
    conditional = any(override.name in _named(when) for when in block.whens)
    everywhere = not conditional or _stands_outside_when(block, override.name)
    includes = _override_includes(block, override, everywhere)
    whens = tuple(_override_when(when, override, faults) for when in block.whens)
    fixed, axes = block.fixed, block.axes
    if everywhere:
        fixed, axes = _replaced(fixed, axes, override, faults)
    return replace(block, fixed=fixed, axes=axes, whens=whens, includes=includes)


def _stands_outside_when(block: Block, name: str) -> bool:
    return name in block.fixed or any(name in axis.names for axis in block.axes)


def _override_when(when: When, override: Override, faults: Faults) -> When:
    if override.name not in _named(when):
        return when
    fixed, axes = _replaced(when.fixed, when.axes, override, faults)
    return replace(when, fixed=fixed, axes=axes)


def _replaced(
    fixed: Mapping[str, Scalar], axes: tuple[Axis, ...], override: Override, faults: Faults
) -> tuple[dict[str, Scalar], tuple[Axis, ...]]:
    """Fix one value, unless there is an axis; make an axis of several, last if it is new."""
    single = _axis_of(override)
    if not any(override.name in axis.names for axis in axes):
        if len(override.values) == 1:
            return {**fixed, override.name: override.values[0]}, axes
        others = {name: value for name, value in fixed.items() if name != override.name}
        return others, (*axes, single)
    found: list[Axis] = []
    for axis in axes:
        if override.name not in axis.names:
            found.append(axis)
        elif axis.kind == "zip" and len(axis.names) > 1:
            found.append(_zipped(axis, override, faults))
        else:
            found += [*_without(axis, override.name), replace(single, line=axis.line)]
    return dict(fixed), tuple(found)


def _axis_of(override: Override) -> Axis:
    return Axis((override.name,), tuple((value,) for value in override.values), "grid", 0)


def _without(axis: Axis, name: str) -> list[Axis]:
    """Return a random axis without one of its settings; nothing if that was all."""
    keep = [index for index, other in enumerate(axis.names) if other != name]
    if not keep:
        return []
    points = tuple(tuple(point[index] for index in keep) for point in axis.points)
    return [replace(axis, names=tuple(axis.names[index] for index in keep), points=points)]


def _zipped(axis: Axis, override: Override, faults: Faults) -> Axis:
    if len(override.values) != len(axis.points):
        others = ", ".join(name for name in axis.names if name != override.name)
        faults.add_plain(
            f"--set {override.text}: expected {len(axis.points)} values, as {override.name} moves "
            f"together with {others} ({faults.source}:{axis.line}), got {len(override.values)}"
        )
        return axis
    column = axis.names.index(override.name)
    rows = zip(axis.points, override.values, strict=True)
    points = tuple((*point[:column], value, *point[column + 1 :]) for point, value in rows)
    return replace(axis, points=points)


def _override_includes(
    block: Block, override: Override, everywhere: bool
) -> tuple[Mapping[str, Scalar], ...]:
    """Return the extra points, overridden with the block or where they name the setting."""
    found: list[Mapping[str, Scalar]] = []
    for point in block.includes:
        if everywhere or override.name in point:
            found += [{**point, override.name: value} for value in override.values]
        else:
            found.append(point)
    return tuple(found)


def _named(when: When) -> set[str]:
    return {*when.fixed, *(name for axis in when.axes for name in axis.names)}
