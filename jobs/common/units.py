"""Read and write amounts: durations, memory sizes, counts and settings as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GIB = 1024.0


def render_gib(mib: float) -> str:
    """`1.2 GiB`, `340 MiB`."""
    return f"{mib / GIB:.1f} GiB" if mib >= GIB else f"{mib:.0f} MiB"


def render_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`: as exact as an estimate deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def render_hours(hours: float, unit: str) -> str:
    """`0.34 GPU-hours`, `1.2 GPU-hours`, `340 CPU-hours`."""
    if hours < 0.01:
        return f"under 0.01 {unit}"
    return f"{hours:.2g} {unit}" if hours < 10 else f"{hours:,.0f} {unit}"


def render_time(minutes: float) -> str:
    """As `--time` takes it: `45s`, `5m`, `1h30m`, `2d`."""
    seconds = round(minutes * 60)
    units: Mapping[str, int] = {
        "d": seconds // 86400,
        "h": seconds // 3600 % 24,
        "m": seconds // 60 % 60,
        "s": seconds % 60,
    }
    return "".join(f"{number}{unit}" for unit, number in units.items() if number) or "0s"


def render_size(mib: float) -> str:
    """As `--mem` takes it: `512M`, `1.5G`, `16G`."""
    return f"{mib / 1024:g}G" if mib >= 1024 and mib % 256 == 0 else f"{mib:.0f}M"


MINUTES_PER = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}
MOST_MINUTES = (
    10 * 366 * 1440.0
)  # ten years: more is a slip of the finger, and no scheduler takes it
MIB_PER = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
MOST_MIB = 2.0**30  # a pebibyte


def parse_memory(text: str | int) -> int:
    """MiB from `8G`, `500M`, `1.5T`, `16GiB`; a bare number is MiB. Units are binary, as schedulers read them.

    Raises:
        ValueError: the text is no positive amount of memory.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", str(text), re.IGNORECASE)
    mib = float(match[1]) * MIB_PER[match[2].lower() or "m"] if match else 0.0
    if not 1 <= mib <= MOST_MIB:
        raise ValueError(f"expected an amount of memory such as 8G or 500M, got {text!r:.60}")
    return round(mib)


def parse_walltime(text: str | int | float) -> float:
    """Minutes from `90m`, `1h30m`, `2d`, `45s`, `01:30:00` (h:m:s) or `1-00:00:00` (d-h:m:s); a bare number is minutes.

    Raises:
        ValueError: the text is no positive time.
    """
    plain = str(text).strip().lower()
    minutes = _from_clock(plain) or _from_units(plain)
    if not minutes or not 0 < minutes <= MOST_MINUTES:
        raise ValueError(f"expected a time such as 30m, 1h30m or 01:30:00, got {text!r:.60}")
    return minutes


def _from_clock(text: str) -> float | None:
    match = re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9}):(\d{1,2}):(\d{1,2})", text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _from_units(text: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd]\s*)+", text):
        return None
    return sum(
        float(number) * MINUTES_PER[unit]
        for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    )


def render_walltime(minutes: float) -> str:
    """`h:mm:ss` from minutes, as people read it in plans."""
    seconds = round(minutes * 60)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def render_value(value: Any) -> str:
    """A setting or metric as a grid file has it: floats in their shortest form, `true` and `false`."""
    if not isinstance(value, float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def count(n: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def render_pairs(values: Mapping[str, Any]) -> str:
    """`lr=0.01 model=cnn`, as a filter takes it."""
    return " ".join(f"{name}={render_value(value)}" for name, value in values.items())


def render_age(seconds: float) -> str:
    """How long something took or lies back, in its two largest units: `42 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    total = max(0, round(seconds))
    units = [
        (total // 86400, "d"),
        (total // 3600 % 24, "h"),
        (total // 60 % 60, "min"),
        (total % 60, "s"),
    ]
    first = next((place for place, (number, _) in enumerate(units) if number), len(units) - 1)
    return (
        " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number) or "0 s"
    )
