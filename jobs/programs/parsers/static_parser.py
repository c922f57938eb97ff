"""Read the arguments of a program from its `add_argument` calls, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs.programs.parsers.arguments import UNKNOWN, Declaration
from jobs.programs.parsers.call_types import read_type
from jobs.programs.parsers.literals import Literals, NotLiteralError
from jobs.programs.parsers.source import ARGPARSE, Source, text_of

_BOOLEAN_OPTIONAL = f"{ARGPARSE}.BooleanOptionalAction"
_NOT_ARGUMENTS = ("help", "version", "parsers")
_ACTIONS = (
    "store",
    "store_const",
    "store_true",
    "store_false",
    "append",
    "append_const",
    "count",
    "extend",
)
# functions of other modules that get a parser and add nothing to it
_HARMLESS = ("print", "isinstance", "vars", "str", "repr", "id", "type", "len", "autocomplete")
_STRICT = ("parse_args", "parse_intermixed_args")
_LAX = ("parse_known_args", "parse_known_intermixed_args")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the source of a program says about its arguments."""

    declarations: tuple[Declaration, ...]
    missing: str  # why this may not be all, for people; "" it is
    is_lax: bool  # the program takes names that its parser does not know
    has_subcommands: bool


def read_source(source: Source) -> Reading:
    """Return the declarations of every parser that the file makes."""
    return _Reader(source).read()


class _Reader:
    """One pass over a file; `missing` collects what only running the program can tell."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.literals = Literals(source.tree)
        self.missing: list[str] = []
        self.found: list[Declaration] = []

    def read(self) -> Reading:
        """Read the calls in the order of the file."""
        for call in self.source.foreign_parsers():
            self._miss(call, f"its parser is made by {text_of(call.func)}")
        methods = set()
        for call in self.source.live_calls():
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            methods.add(name)
            if name == "add_argument":
                self._add(call)
            elif name != "set_defaults":
                self._check_others(call)
        self._set_defaults()
        is_lax = bool(methods & set(_LAX)) and not methods & set(_STRICT)
        missing = self.missing[0] if self.missing else ""
        return Reading(tuple(self.found), missing, is_lax, "add_subparsers" in methods)

    def _miss(self, node: ast.expr, why: str) -> None:
        self.missing.append(f"{why} (line {node.lineno})")

    def _check_others(self, call: ast.Call) -> None:
        """Note where a function of another module gets a parser, to which it may add arguments."""
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        for value in values:
            if not self.source.is_parser(value):
                continue
            name = text_of(call.func).rpartition(".")[2]
            if name not in _HARMLESS and not self.source.is_local_callable(call.func):
                self._miss(call, f"{text_of(call.func)}() of another module gets the parser")
        for keyword in call.keywords:
            if keyword.arg == "parents" and not self._are_local(keyword.value):
                self._miss(call, "its parser has a parent of another module")

    def _are_local(self, parents: ast.expr) -> bool:
        if not isinstance(parents, ast.List | ast.Tuple):
            return False
        made = [item.func for item in parents.elts if isinstance(item, ast.Call)]
        named = [item for item in parents.elts if not isinstance(item, ast.Call)]
        return all(map(self.source.is_local_callable, made)) and all(
            map(self.source.is_parser, named)
        )

    def _add(self, call: ast.Call) -> None:
        try:
            names = [self.literals.text(name) for name in call.args]
            given = dict(self._keywords(call))
        except NotLiteralError:
            self._miss(call, "the name of an argument is computed")
            return
        declaration = self._declaration(names, given, call)
        if declaration is not None:
            self.found.append(declaration)

    def _keywords(self, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """Yield the keywords of a call, also those of a literal dictionary that `**` unpacks."""
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword.value
            else:
                yield from self.literals.items(keyword.value)

    def _declaration(
        self, names: list[str], given: Mapping[str, ast.expr], call: ast.Call
    ) -> Declaration | None:
        action, is_custom = self._action(given.get("action"))
        options = tuple(name for name in names if name.startswith("-"))
        dest = self._literal(given, "dest") or _dest(names, options)
        if action in _NOT_ARGUMENTS or not isinstance(dest, str) or not dest:
            return None
        nargs = self._literal(given, "nargs")
        if action == "append_const":
            action = "store_const"
        if is_custom and nargs == 0:
            action = "store_const"
        type_name, hint, booleans = read_type(given.get("type"), self.source)
        choices = self._literal(given, "choices")
        is_required = self._literal(given, "required") is True
        if not options:
            is_required = nargs not in ("?", "*")
        return Declaration(
            options=options,
            dest=dest,
            action=action,
            type_name=type_name,
            hint=hint,
            booleans=booleans,
            nargs=nargs if isinstance(nargs, str | int) else None,
            default=self._default(given.get("default")),
            choices=tuple(choices) if isinstance(choices, list | dict) else (),
            is_required=is_required and not self.source.is_conditional(call),
            line=call.lineno,
        )

    def _literal(self, given: Mapping[str, ast.expr], name: str) -> Any:
        node = given.get(name)
        if node is None:
            return None
        if self.source.resolve(node) == f"{ARGPARSE}.REMAINDER":
            return "..."
        try:
            return self.literals.value(node)
        except NotLiteralError:
            return None

    def _default(self, node: ast.expr | None) -> Any:
        if node is None:
            return None
        try:
            return self.literals.value(node)
        except NotLiteralError:
            return UNKNOWN  # argparse.SUPPRESS too: then the program has no value of its own

    def _action(self, node: ast.expr | None) -> tuple[str, bool]:
        """Return the action by name, and whether it is a class of the program's own."""
        if node is None:
            return "store", False
        if self.source.resolve(node) == _BOOLEAN_OPTIONAL:
            return "optional_boolean", False
        try:
            name = self.literals.value(node)
        except NotLiteralError:
            return "store", True
        if name in (*_ACTIONS, *_NOT_ARGUMENTS):
            return str(name), False
        return "store", True

    def _set_defaults(self) -> None:
        """Apply `set_defaults`: it replaces the default of what is declared above it.

        Below it, it is the default of what has none. Defaults that come from a file or a function
        (`set_defaults(**config)`) may be of any argument, so that none is known.
        """
        for call in self.source.live_calls():
            if not isinstance(call.func, ast.Attribute) or call.func.attr != "set_defaults":
                continue
            for keyword in call.keywords:
                value = self._default(keyword.value)
                self._set_default(keyword.arg, value, call)

    def _set_default(self, name: str | None, value: Any, call: ast.Call) -> None:
        if name is None and isinstance(value, dict):
            for key, each in value.items():
                self._set_default(str(key), UNKNOWN if each is NotLiteralError else each, call)
            return
        if self.source.is_conditional(call):
            value = UNKNOWN
        for index, declaration in enumerate(self.found):
            is_set = declaration.line < call.lineno or declaration.default is None
            if name is None or (declaration.dest == name and is_set):
                self.found[index] = replace(declaration, default=UNKNOWN if name is None else value)


def _dest(names: list[str], options: tuple[str, ...]) -> str:
    """Return the `dest` that argparse derives from the names of an argument."""
    if not options:
        return names[0] if names else ""
    long = [option for option in options if option.startswith("--")]
    return (long or list(options))[0].lstrip("-").replace("-", "_")
