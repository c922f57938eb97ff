"""The filter language of every command: `model=cnn lr<=0.01 state=failed,lost seed<3 id=3fa9`."""

from __future__ import annotations

import numbers
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anlp.core.errors import SpecError, did_you_mean
from anlp.core.units import LEAST_DIGITS

MOST_SHOWN = 12  # significant digits of a drawn number, and of a shortened one
ID = "id"  # the one name whose values are matched by their beginning

_TERM = re.compile(
    r"""\s*(?P<name>[^\s=!<>~"',]+)\s*
        (?P<operator>!=|<=|>=|==|=|<|>|~)\s*
        (?P<value>(?:"[^"]*"|'[^']*'|[^\s"'])+)""",
    re.VERBOSE,
)
_ALTERNATIVE = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""")
_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one name.

    `wanted` are the alternatives as text, for `~` one regular expression.
    """

    name: str
    operator: str
    wanted: tuple[str, ...]
    is_exact: bool = False  # whether a number of 4 digits or more must be equal to the last digit

    def matches(self, value: Any) -> bool:
        """Tell whether `value` fulfils the condition; None (no value) fulfils `!=` only."""
        if self.operator == "!=":
            return not any(self._is(value, text) for text in self.wanted)
        if value is None:
            return False
        if self.operator == "=":
            return any(self._is(value, text) for text in self.wanted)
        if self.operator == "~":
            return re.search(self.wanted[0], _text(value)) is not None
        return _is_number(value) and bool(_ORDERINGS[self.operator](value, float(self.wanted[0])))

    def _is(self, value: Any, text: str) -> bool:
        if self.name == ID:
            return isinstance(value, str) and value.startswith(text)
        if _is_number(value):
            return bool(_number(text) == value) or (not self.is_exact and _is_shown(value, text))
        return value is not None and _text(value) == text


@dataclass(frozen=True, slots=True)
class Filter:
    """Terms that must all hold; no terms: everything matches."""

    text: str
    terms: tuple[Term, ...]

    @property
    def names(self) -> frozenset[str]:
        """Return the names it asks about."""
        return frozenset(term.name for term in self.terms)

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Tell whether all terms hold for `values`; a name that is not among them has no value."""
        return all(term.matches(values.get(term.name)) for term in self.terms)

    def check(self, known: Iterable[str]) -> None:
        """Check that every name is among `known`.

        Raises:
            SpecError: one fault per name that is not.
        """
        names = frozenset(known)
        unknown = [term.name for term in self.terms if term.name not in names]
        if unknown:
            raise SpecError(
                [
                    f"filter {self.text!r}: unknown name {name!r}{did_you_mean(name, names)}"
                    for name in unknown
                ]
            )


def parse_filter(text: str, *, is_exact: bool = False) -> Filter:
    """Parse a filter: terms apart by blanks, alternatives by commas, blanks in quotes.

    All terms must hold.

    Operators: `=` and `!=` (text with its case, numbers as numbers), `<` `<=` `>` `>=` (numbers),
    `~` (regular expression, found anywhere in the value). `id=` takes the beginning of an id.

    Args:
        text: of the filter.
        is_exact: whether numbers must be equal to the last digit; otherwise one with 4 significant
            digits or more fits those that screens show so.

    Raises:
        SpecError: the text is no filter, a bound is no number, or a regular expression is wrong.
    """
    terms: list[Term] = []
    faults: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TERM.match(text, position)
        if match is None:
            found = text[position:].strip()
            faults.append(f"filter {text!r}: expected NAME=VALUE such as model=cnn, got {found!r}")
            break
        position = match.end()
        term = _term(match["name"], match["operator"], match["value"], is_exact=is_exact)
        faults += [f"filter {text!r}: {match[0].strip()!r}: {fault}" for fault in _faults(term)]
        terms.append(term)
    if faults:
        raise SpecError(faults)
    return Filter(text, tuple(terms))


def _term(name: str, symbol: str, value: str, *, is_exact: bool) -> Term:
    alternatives = [value] if symbol == "~" else _ALTERNATIVE.findall(value)
    wanted = tuple(_unquoted(part) for part in alternatives)
    return Term(name, "=" if symbol == "==" else symbol, wanted, is_exact)


def _unquoted(text: str) -> str:
    return re.sub(r"""(["'])(.*?)\1""", r"\2", text)


def _faults(term: Term) -> list[str]:
    if not term.wanted:
        return ["expected a value, got ','"]
    if term.operator == "~":
        try:
            re.compile(term.wanted[0])
        except re.error as error:
            return [f"expected a regular expression, got {term.wanted[0]!r} ({error})"]
    if term.operator in _ORDERINGS and (len(term.wanted) != 1 or _number(term.wanted[0]) is None):
        return [f"expected one number after {term.operator}, got {','.join(term.wanted)!r}"]
    return []


def _is_shown(value: Any, text: str) -> bool:
    """Return whether a text is a float as screens show it, with 4 significant digits or more."""
    mantissa = text.lower().partition("e")[0].lstrip("+-")
    digits = len(mantissa.replace(".", "").lstrip("0"))
    if not isinstance(value, float) or not MOST_SHOWN >= digits >= LEAST_DIGITS:
        return False
    return _number(text) == float(f"{value:.{digits}g}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """Return a value as text; an enum that is text counts as its text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str.__str__(value) if isinstance(value, str) else str(value)
