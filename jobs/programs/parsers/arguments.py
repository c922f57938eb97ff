"""The arguments of a program as a grid names them, made from what its parser declares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from anlp.core.spec import Scalar

Style = Literal["value", "words", "store_true", "store_false", "optional_boolean", "positional"]
UNKNOWN: Final = object()  # a default that is no literal
_SWITCHES = ("store_true", "store_false", "store_const", "count", "optional_boolean")
_NUMBERS: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a program.

    Lists have no form in a grid. Where an argument takes several values, `kind` is str: the style
    `words` means that the text is split at blanks (`--hidden 64 64` for "64 64"); an argument that
    may be repeated (`action="append"`) gets its text as one value, once.
    """

    name: str  # its `dest`, as a grid names it (learning_rate)
    flag: str  # the longest long option ("--learning-rate"), "" for a positional one
    kind: type  # bool, int, float, str
    choices: tuple[Scalar, ...]  # () any
    default: Scalar | None  # None: unknown or none
    has_default: bool  # a literal scalar default is known
    is_required: bool
    style: Style
    line: int  # in the file, 0 unknown
    booleans: tuple[str, str] = ("True", "False")  # how `value` writes true and false


@dataclass(frozen=True, slots=True)
class Declaration:
    """One `add_argument` call as it was read from the file, or told by the parser itself."""

    options: tuple[str, ...]  # () for a positional argument
    dest: str
    action: str = "store"  # or append, extend, or one of `_SWITCHES`
    type_name: str = ""  # "" none given, int, float, str, bool, or "other"
    hint: type | None = None  # what a `type` other than these seems to make
    booleans: tuple[str, str] = ("True", "False")
    nargs: str | int | None = None
    default: Any = None  # a literal, or UNKNOWN
    choices: tuple[Any, ...] = ()
    is_required: bool = False
    line: int = 0


def arguments_of(declarations: Sequence[Declaration]) -> dict[str, Argument]:
    """Return the arguments by name, in the order of declaration.

    A name is the `dest`, but where different flags set one `dest` (`--adam`, `--sgd` by
    `store_const`) each has the name of its flag.
    """
    by_dest: dict[str, list[Declaration]] = {}
    for declaration in declarations:
        by_dest.setdefault(declaration.dest, []).append(declaration)
    found: dict[str, Argument] = {}
    for dest, group in by_dest.items():
        for argument in _of_one_dest(dest, group):
            found.setdefault(argument.name, argument)
    return found


def _of_one_dest(dest: str, group: Sequence[Declaration]) -> list[Argument]:
    made = [_argument(declaration) for declaration in group]
    if len({argument.flag for argument in made}) == 1:
        return [_merged(made)]
    pair = _boolean_pair(made)
    if pair is not None:
        return [pair]
    return [
        replace(argument, name=argument.flag.lstrip("-").replace("-", "_") or dest)
        for argument in made
    ]


def _boolean_pair(made: Sequence[Argument]) -> Argument | None:
    """Return `--x` and `--no-x` as one argument, None where the group is no such pair."""
    if len(made) != 2:
        return None
    positive, negative = sorted(made, key=lambda argument: argument.style, reverse=True)
    if (positive.style, negative.style) != ("store_true", "store_false"):
        return None
    if negative.flag != f"--no-{positive.flag.removeprefix('--')}":
        return None
    first = made[0]  # argparse takes the default of the first one
    return replace(
        positive,
        style="optional_boolean",
        default=first.default,
        has_default=first.has_default,
        is_required=False,
    )


def _merged(made: Sequence[Argument]) -> Argument:
    """Return one argument for several of one flag: of subcommands, or of branches of an `if`."""
    first = made[0]
    agree = all(
        (other.default, other.has_default) == (first.default, first.has_default) for other in made
    )
    return replace(
        first,
        choices=first.choices if all(other.choices == first.choices for other in made) else (),
        default=first.default if agree else None,
        has_default=first.has_default and agree,
        is_required=all(other.is_required for other in made),
    )


def _argument(declaration: Declaration) -> Argument:
    kind = _kind(declaration)
    choices = () if _takes_words(declaration) else _choices(declaration, kind)
    default = _default(declaration, kind)
    if choices and default not in choices:
        default = None
    return Argument(
        name=declaration.dest,
        flag=_flag(declaration.options),
        kind=kind,
        choices=choices,
        default=default,
        has_default=default is not None,
        is_required=declaration.is_required,
        style=_style(declaration),
        line=declaration.line,
        booleans=_booleans(declaration, kind),
    )


def _flag(options: Sequence[str]) -> str:
    long = [option for option in options if option.startswith("--")]
    return max(long or options, key=len, default="")


def _style(declaration: Declaration) -> Style:
    if not declaration.options:
        return "positional"
    if declaration.action == "store_false":
        return "store_false"
    if declaration.action == "optional_boolean":
        return "optional_boolean"
    if declaration.action in _SWITCHES:
        return "store_true"
    return "words" if _takes_words(declaration) else "value"


def _takes_words(declaration: Declaration) -> bool:
    return declaration.nargs not in (None, "?", 1) and declaration.action not in _SWITCHES


def _kind(declaration: Declaration) -> type:
    if declaration.action in _SWITCHES:
        return bool
    if _takes_words(declaration):
        return str
    if declaration.type_name in _NUMBERS:
        return _NUMBERS[declaration.type_name]
    if declaration.choices:
        return _common_kind(declaration.choices)
    if declaration.hint is not None:
        return declaration.hint
    default = declaration.default
    if declaration.type_name == "" and isinstance(default, bool | int | float):
        return type(default)
    # a `type` of its own makes something else of the text; it may well refuse 0.5 where the
    # default is 1, but hardly 1 where the default is 0.5
    return type(default) if isinstance(default, bool | float) else str


def _common_kind(values: Sequence[Any]) -> type:
    kinds = {type(value) for value in values}
    if kinds in ({int}, {float}, {bool}):
        return kinds.pop()
    return float if kinds == {int, float} else str


def _choices(declaration: Declaration, kind: type) -> tuple[Scalar, ...]:
    found = [_converted(choice, kind) for choice in declaration.choices]
    known = tuple(choice for choice in found if choice is not None)
    return known if len(known) == len(found) else ()


def _default(declaration: Declaration, kind: type) -> Scalar | None:
    default = declaration.default
    if default is UNKNOWN or declaration.action in ("append", "extend"):
        return None
    if declaration.action in ("store_const", "count"):
        return False
    if declaration.action in ("store_true", "store_false"):
        return declaration.action == "store_false" if default is None else _converted(default, kind)
    if _takes_words(declaration) and isinstance(default, list | tuple):
        return _joined(default)
    return _converted(default, kind)


def _joined(values: Sequence[Any]) -> str | None:
    words = [str(value) for value in values if isinstance(value, bool | int | float | str)]
    is_plain = len(words) == len(values) and all(word and " " not in word for word in words)
    return " ".join(words) if words and is_plain else None


def _converted(value: Any, kind: type) -> Scalar | None:
    """Return a literal as its argument has it; None where it has another type or is not finite."""
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else None
    if kind is str:
        return str(value) if isinstance(value, str | int | float) else None
    if not isinstance(value, str | int | float) or (kind is int and isinstance(value, float)):
        return None
    try:
        number: int | float = int(value) if kind is int else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _booleans(declaration: Declaration, kind: type) -> tuple[str, str]:
    """Return how true and false are written.

    Without a `type`, or with `type=bool`, every text but the empty one is true.
    """
    if kind is bool and declaration.type_name in ("", "bool"):
        return "True", ""
    return declaration.booleans


def refusal(argument: Argument, value: Scalar) -> str:
    """Return why a program cannot be told a value, empty where it can.

    A switch has one position beside its default: `--amp` with the default true, by
    `action="store_true"`, cannot be switched off.
    """
    if argument.style not in ("store_true", "store_false"):
        return ""
    sets = argument.style == "store_true"
    if value is sets or argument.default is not sets:  # leaving the flag out says the opposite
        return ""
    return (
        f"{argument.flag} (action={argument.style!r}) can only set {argument.name} to "
        f"{str(sets).lower()}, which is its default, so {str(value).lower()} cannot be passed"
    )
