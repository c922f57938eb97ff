"""Parse JSON from files that may be damaged or foreign: what it returns is safe to use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MOST_NESTING = 40  # far more than any file of this project has; recursion must not end a command
MOST_DIGITS = 300  # of a whole number: more do not even become a float
LATEST = 1e11  # seconds since 1970: beyond it no calendar has dates
_HALF_LETTER = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that may be half of a surrogate pair


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text.

    Every whole number can become a float, texts can be encoded, and nesting has a bound.

    >>> parse_json('{"lr": 0.1}')
    {'lr': 0.1}

    Raises:
        ValueError: the text is not JSON, or not within these bounds; it says which, in a few words.
    """
    value = parse_flat_json(content)
    brackets = (b"[", b"{") if isinstance(content, bytes) else ("[", "{")
    if sum(map(content.count, brackets)) > MOST_NESTING:  # type: ignore[arg-type]  # of its own type
        _check_nesting(value)
    return value


def parse_flat_json(content: bytes | str) -> Any:
    """Return the value as `parse_json` does, without a look at its nesting.

    Raises:
        ValueError: as there.
    """
    text = content.decode() if isinstance(content, bytes) else content
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON from character {error.pos + 1} on") from None
    if _HALF_LETTER.search(text):
        _check_letters(value)
    return value


_TOO_DEEP = f"lists and tables are nested more than {MOST_NESTING} deep"


def text_in(form: Mapping[str, Any], name: str) -> str:
    """Return the text of a table.

    Raises:
        ValueError: it is missing, or no text.
    """
    value = form.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, got {value!r:.60}")
    return value


def whole_in(form: Mapping[str, Any], name: str, most: int) -> int:
    """Return the whole number of a table, from 0 to `most`.

    Raises:
        ValueError: it is missing, no whole number, or out of bounds.
    """
    value = form.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name}: expected a number from 0 to {most:,}, got {value!r:.60}")
    return value


def time_in(form: Mapping[str, Any], name: str) -> float:
    """Return the time of a table, in seconds since 1970 or of a duration.

    Raises:
        ValueError: it is missing, no number, or beyond any calendar.
    """
    value = form.get(name)
    if type(value) not in (int, float) or not 0 <= value <= LATEST:  # type: ignore[operator]  # a number
        raise ValueError(f"{name}: expected a time in seconds, got {value!r:.60}")
    return float(value)  # type: ignore[arg-type]  # a number, see above


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(text):,} digits: {text:.20}…")
    return int(text)


_DECODER = json.JSONDecoder(parse_int=_whole)


def _check_nesting(value: Any) -> None:
    """Refuse deep nesting, without recursion.

    Raises:
        ValueError: it is too deep.
    """
    level = [value]
    for _ in range(MOST_NESTING + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _check_letters(value: Any) -> None:
    """Refuse texts with half of a surrogate pair, which no file and no terminal takes.

    Raises:
        ValueError: there is one.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone surrogate)") from None
