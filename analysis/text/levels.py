"""Levels of settings: their text and their order."""

from __future__ import annotations

import math
from typing import Any

NOTHING = "–"


def render_level(level: Any) -> str:
    """A setting's value as people write it; a value without effect is a dash."""
    if level is None or level != level:
        return NOTHING
    if isinstance(level, bool):
        return str(level).lower()
    if not isinstance(level, float):
        return str(level).replace("\n", " ")
    short = f"{level:.6g}"
    return short if math.isclose(float(short), level, rel_tol=1e-9) else repr(level)


def level_key(level: Any) -> tuple[int, float, str]:
    """Sort key of levels of mixed types: numbers, then text, then missing."""
    if level is None or level != level:
        return 2, 0.0, ""
    return (1, 0.0, level) if isinstance(level, str) else (0, float(level), "")
