"""Renders scalars as a grid file has them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from jobs.config.yaml_tree import parse_leaf

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+*-]*")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def yaml_key(name: str) -> str:
    """Render the key of a table."""
    return name if _KEY.fullmatch(name) else json.dumps(name)


def yaml_list(values: Sequence[Any]) -> str:
    """Render scalars as a YAML list."""
    return f"[{', '.join(map(yaml_scalar, values))}]"


def yaml_scalar(value: Any) -> str:
    """Render a scalar so that a grid file has the same value: text in quotes where it needs them.

    >>> [yaml_scalar(value) for value in (True, 1e-5, "adam", "1e-5", "a: b", "${args}")]
    ['true', '1e-05', 'adam', '"1e-5"', '"a: b"', '"${args}"']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    is_plain = _PLAIN.fullmatch(value) and isinstance(parse_leaf(value).value, str)
    return value if is_plain else json.dumps(value, ensure_ascii=False)
