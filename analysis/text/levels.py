"""Levels of settings: their text and their order."""

from __future__ import annotations

import math
from typing import Any

NOTHING = "–"


def is_missing(value: Any) -> bool:
    """Return whether the value is None or NaN.

    >>> is_missing(None), is_missing(float("nan")), is_missing(0), is_missing("nan")
    (True, True, False, False)
    """
    return value is None or (isinstance(value, float) and math.isnan(value))


def none_if_nan(value: float) -> float | None:
    """Return the number, None for NaN: neither JSON nor a table has NaN."""
    return None if math.isnan(value) else value


def render_level(level: Any) -> str:
    """Write a setting's value as people do; a value without effect is a dash.

    >>> render_level(0.1), render_level(1e-05), render_level(True), render_level(None)
    ('0.1', '1e-05', 'true', '–')
    """
    if is_missing(level):
        return NOTHING
    if isinstance(level, bool):
        return str(level).lower()
    if not isinstance(level, float):
        return str(level).replace("\n", " ")
    short = f"{level:.6g}"
    return short if math.isclose(float(short), level, rel_tol=1e-9) else repr(level)


def level_key(level: Any) -> tuple[int, float, str]:
    """Return the sort key of levels of mixed types: numbers, then text, then missing.

    >>> sorted(["b", None, 2, 0.5, "a"], key=level_key)
    [0.5, 2, 'a', 'b', None]
    """
    if is_missing(level):
        return 2, 0.0, ""
    if isinstance(level, str):
        return 1, 0.0, level
    return 0, float(level), ""
