"""Make dataclasses of JSON objects from files: each field is checked against its type hint.

Knows the hints that the records use: text, numbers, truth, choices, tables and lists of these,
dataclasses, and what may be missing. Without pydantic, whose import is most of the start of a
program's run.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

Made = TypeVar("Made")
Check = Callable[[Any], Any]  # returns the value to use, raises ValueError


@dataclasses.dataclass(frozen=True, slots=True)
class Within:
    """Marks the bounds of a number, as in `Annotated[int, Within(0, 10)]`."""

    least: float
    most: float


NULL_IS_NAN = "null is NaN"  # marks a number whose null stands for NaN, which JSON has not


def make(kind: type[Made], form: Any) -> Made:
    """Return the dataclass that a JSON object describes; keys that it does not have are ignored.

    Raises:
        ValueError: a field is missing, or not of its type: `epochs: expected a number, got 'x'`.
    """
    if not isinstance(form, dict):
        raise ValueError(f"expected a table, got {form!r:.60}")
    values = {}
    for name, (check, is_needed) in _checks_of(kind).items():  # type: ignore[arg-type]  # a class has a hash
        if name in form:
            values[name] = _checked(name, check, form[name])
        elif is_needed:
            raise ValueError(f"the key {name!r} is missing")
    return kind(**values)


@cache
def _checks_of(kind: type) -> Mapping[str, tuple[Check, bool]]:
    """Return for each field what checks it, and whether it must be there."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        entry.name: (
            _check_for(hints[entry.name]),
            entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING,
        )
        for entry in dataclasses.fields(kind)
    }


def _checked(name: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        separator = ": " if str(error).startswith("expected") else "."
        raise ValueError(f"{name}{separator}{error}") from None


def _check_for(hint: Any) -> Check:
    """Return what checks values of a type hint."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is typing.Annotated:
        return _marked(_check_for(inner[0]), inner[1])
    if origin is typing.Literal:
        return _one_of(inner)
    if origin in (types.UnionType, typing.Union):
        return _or_null(_check_for(next(kind for kind in inner if kind is not type(None))))
    if origin is tuple:
        return _list_of(_check_for(inner[0]))
    if origin is not None:
        return _table_of(_check_for(inner[1]))
    if issubclass(hint, Enum):
        by_value = {member.value: member for member in hint}
        choose = _one_of(tuple(by_value))
        return lambda value: by_value[choose(value)]
    return lambda value: make(hint, value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r:.60}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r:.60}")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise ValueError(f"expected a whole number, got {value!r:.60}")
    return int(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r:.60}")
    return value


_PLAIN: Mapping[Any, Check] = {str: _text, float: _number, int: _whole, bool: _truth}


def _marked(check: Check, mark: Any) -> Check:
    if mark == NULL_IS_NAN:
        return lambda value: math.nan if value is None else check(value)

    def within(value: Any) -> Any:
        number = check(value)
        if not mark.least <= number <= mark.most:
            bounds = f"from {mark.least:,.0f} to {mark.most:,.0f}"
            raise ValueError(f"expected a number {bounds}, got {value!r:.60}")
        return number

    return within


def _one_of(values: tuple[Any, ...]) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"expected {' or '.join(map(str, values))}, got {value!r:.60}")
        return value

    return check


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _list_of(check: Check) -> Check:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list, got {value!r:.60}")
        return tuple(map(check, value))

    return check_all


def _table_of(check: Check) -> Check:
    def check_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"expected a table, got {value!r:.60}")
        return {name: _checked(name, check, item) for name, item in value.items()}

    return check_all
