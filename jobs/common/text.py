"""Settings as text, in the form that grid files and filters take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anlp.console.printable import plain
from anlp.core.units import shorten


def render_value(value: Any) -> str:
    """Render a setting or metric as a grid file has it.

    >>> render_value(1e-5), render_value(0.1), render_value(True), render_value("cnn")
    ('1e-05', '0.1', 'true', 'cnn')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return plain(str(value))
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def render_pairs(values: Mapping[str, Any], digits: int = 0) -> str:
    """Render settings as a filter takes them.

    >>> render_pairs({"lr": 0.01, "model": "cnn"}), render_pairs({"lr": 0.000575651277252}, 4)
    ('lr=0.01 model=cnn', 'lr=0.0005757')

    Args:
        values: by name.
        digits: significant digits of floats; 0: all.
    """
    return " ".join(
        f"{name}={render_value(shorten(value, digits))}" for name, value in values.items()
    )
