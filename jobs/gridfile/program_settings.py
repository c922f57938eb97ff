"""The settings of the user's own program: of its parser, declared in the grid file, or free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt

from anlp.core.errors import did_you_mean
from anlp.core.spec import Scalar
from anlp.programs.command import BY_FLAG, macros_in
from anlp.tasks.user_code import RESERVED, OpenSettings, is_setting_name
from jobs.config.fields import Key, one_of
from jobs.config.yaml_tree import Items, Leaf, Table, Tree, join, show
from jobs.gridfile.settings import Setting, Vocabulary, free_setting, make_setting
from jobs.gridfile.top_keys import TopReader
from jobs.programs.parsers.arguments import refusal
from jobs.programs.parsers.reading import Argument, ProgramArguments

SEED_NAMES = ("seed", "random_seed", "random_state", "manual_seed")
_KINDS: Mapping[str, type] = {"float": float, "int": int, "bool": bool, "str": str}
_BOUNDS: Mapping[str, Callable[[float], BaseMetadata]] = {
    "min": Ge,
    "max": Le,
    "above": Gt,
    "below": Lt,
}
_SETTING_KEYS = ("type", "default", "choices", *_BOUNDS)


class Names(dict[str, Setting]):
    """Settings by name; `learning-rate` finds `learning_rate`, and new names where all are taken.

    Args:
        known: those that the program's parser or the grid file declares.
        is_open: whether others may exist.
    """

    def __init__(self, known: Mapping[str, Setting], *, is_open: bool) -> None:
        super().__init__(known)
        self.is_open = is_open

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __missing__(self, name: str) -> Setting:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def _find(self, name: object) -> Setting | None:
        if not isinstance(name, str):
            return None
        for known in (name, name.replace("-", "_")):
            if super().__contains__(known):
                return super().__getitem__(known)
        if self.is_open and is_setting_name(name):
            self[name] = free_setting(name)
            return self[name]
        return None


@dataclass(frozen=True, slots=True)
class DeclaredSettings:
    """Settings that the grid file declares."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    is_given: bool = False


def read_declared(reader: TopReader) -> DeclaredSettings:
    """Return what `settings:` of the grid file declares."""
    table = reader.table("settings", ())
    if table is None:
        return DeclaredSettings()
    settings: dict[str, Setting] = {}
    defaults: dict[str, Scalar] = {}
    for name, entry in table.entries.items():
        path = join("settings", name)
        if not is_setting_name(name):
            reader.faults.add(entry.line, path, bad_name(name))
            continue
        setting = _declared_setting(reader, name, entry.tree, path)
        if setting is None:
            continue
        settings[name] = setting
        if isinstance(entry.tree, Table) and "default" in entry.tree.entries:
            default = reader.parsed(
                entry.tree.entries["default"].tree,
                join(path, "default"),
                Key("", setting.check),
                None,
            )
            if default is not None:
                defaults[name] = default
    required = tuple(name for name in settings if name not in defaults)
    return DeclaredSettings(settings, defaults, required, is_given=True)


def _declared_setting(reader: TopReader, name: str, tree: Tree, path: str) -> Setting | None:
    kinds = one_of(*_KINDS)
    if isinstance(tree, Leaf):  # `lr: float`
        kind = reader.parsed(tree, path, Key("", kinds), "")
        return make_setting(name, _KINDS[kind]) if kind else None
    if not isinstance(tree, Table):
        reader.faults.add(
            tree.line,
            path,
            f"expected a type or a mapping with {', '.join(_SETTING_KEYS)}, got {show(tree)}",
        )
        return None
    for key, entry in tree.entries.items():
        if key not in _SETTING_KEYS:
            reader.faults.add(
                entry.line, path, f"unknown key {key!r}{did_you_mean(key, _SETTING_KEYS)}"
            )
    if "choices" in tree.entries:
        return _choice_setting(reader, name, tree.entries["choices"].tree, join(path, "choices"))
    if "type" not in tree.entries:
        reader.faults.add(tree.line, path, f"expected the key 'type' ({', '.join(_KINDS)})")
        return None
    kind = reader.parsed(tree.entries["type"].tree, join(path, "type"), Key("", kinds), "")
    if not kind:
        return None
    bounds = []
    for key, bound in _BOUNDS.items():
        if key in tree.entries:
            leaf = tree.entries[key].tree
            value = leaf.value if isinstance(leaf, Leaf) else None
            if isinstance(value, bool) or not isinstance(value, int | float):
                path_of_key = join(path, key)
                reader.faults.add(leaf.line, path_of_key, f"expected a number, got {show(leaf)}")
            else:
                bounds.append(bound(value))
    return make_setting(name, _KINDS[kind], bounds)


def _choice_setting(reader: TopReader, name: str, tree: Tree, path: str) -> Setting | None:
    items = tree.items if isinstance(tree, Items) else ()
    leaves = [item for item in items if isinstance(item, Leaf)]
    choices = [leaf.value for leaf in leaves if leaf.value is not None]
    kinds = {type(choice) for choice in choices}
    if not choices or len(kinds) != 1 or float in kinds:
        reader.faults.add(
            tree.line, path, f"expected a list of texts or of whole numbers, got {show(tree)}"
        )
        return None
    return make_setting(name, Literal[tuple(choices)])


def vocabulary_of_program(
    arguments: ProgramArguments, declared: DeclaredSettings, command: Sequence[str]
) -> Vocabulary:
    """Return the settings by name: the grid file's declarations over those of the parser.

    Args:
        arguments: of the program's parser.
        declared: in the grid file.
        command: the template; what it does not pass by a flag takes any value.
    """
    settings: dict[str, Setting] = {}
    defaults: dict[str, Scalar] = {}
    required = []
    for name, argument in arguments.arguments.items():
        if not is_setting_name(name) or name in SEED_NAMES:
            continue
        settings[name] = _setting_of(argument)
        if argument.has_default and argument.default is not None:
            defaults[name] = argument.default
        elif argument.is_required:
            required.append(name)
    settings |= declared.settings
    defaults |= declared.defaults
    for name in _passed_by_flag(settings, command):
        if name in arguments.arguments:
            refuse = partial(refusal, arguments.arguments[name])
            settings[name] = replace(settings[name], refuse=refuse)
    required = [name for name in required if name not in defaults] + [
        name for name in declared.required if name not in required and name not in defaults
    ]
    is_open = not arguments.is_complete and not declared.is_given
    names = Names(settings, is_open=is_open)
    return Vocabulary("", OpenSettings, names, defaults, tuple(required))


def _passed_by_flag(names: Iterable[str], command: Sequence[str]) -> list[str]:
    """Return the settings that a command passes by the flags of the program's parser."""
    if not passes_by_flag(command):
        return []
    macros = {macro for word in command for macro in macros_in(word)}
    return [name for name in names if name not in macros]


def passes_by_flag(command: Sequence[str]) -> bool:
    """Tell whether a command passes settings by the flags of the program's parser."""
    return any(macro in BY_FLAG for word in command for macro in macros_in(word))


def _setting_of(argument: Argument) -> Setting:
    if argument.choices and float not in {type(choice) for choice in argument.choices}:
        return make_setting(argument.name, Literal[argument.choices])
    return make_setting(argument.name, argument.kind)


def bad_name(name: str) -> str:
    """Return why no setting can have this name."""
    if name in RESERVED:
        return f"{name!r} is a name of the suite; pass it in `command` instead"
    return f"{name!r} is no name of a setting"
