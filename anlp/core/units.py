"""Amounts as text and back: counts, durations, hours of machine time, memory.

One look in every screen, table and message: `45 s`, `12 min`, `1 h 30 min`, `2 d 3 h`; `512 MiB`,
`1.5 GiB`. What people type as the value of an option keeps the form of the option: `--time 1h30m`,
`--mem 6G`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SECONDS_PER_HOUR = 3600.0
MIB_PER_GIB = 1024.0

MINUTES_PER: Mapping[str, float] = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}
MOST_MINUTES = 10 * 366 * 1440.0  # ten years: more is a typing error, and no scheduler accepts it
MIB_PER: Mapping[str, float] = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
MOST_MIB = 2.0**30  # a pebibyte

_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{1,9})-)?(\d{1,9}):(\d{1,2}):(\d{1,2})")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNIT = r"\s*(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_AMOUNTS = re.compile(rf"(?:\d+(?:\.\d+)?{_UNIT}(?![a-z])\s*)+")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def count(number: int, thing: str) -> str:
    """Render a number of things, with its plural.

    >>> count(1, "run"), count(0, "run"), count(2000, "run")
    ('1 run', '0 runs', '2,000 runs')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def render_duration(seconds: float) -> str:
    """Render how long something takes, or how long ago it was, in its two largest units.

    >>> [render_duration(seconds) for seconds in (0.2, 42, 185, 3600, 7800, 100 * 3600)]
    ['0 s', '42 s', '3 min 5 s', '1 h', '2 h 10 min', '4 d 4 h']
    """
    total = max(0, round(seconds))
    parts = [
        (total // 86400, "d"),
        (total // 3600 % 24, "h"),
        (total // 60 % 60, "min"),
        (total % 60, "s"),
    ]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    shown = [f"{number} {unit}" for number, unit in parts[:2] if number]
    return " ".join(shown) or "0 s"


def render_hours(hours: float, unit: str) -> str:
    """Render machine time: CPU-hours or GPU-hours.

    >>> render_hours(0.341, "GPU-hours"), render_hours(1.25, "GPU-hours")
    ('0.34 GPU-hours', '1.2 GPU-hours')
    >>> render_hours(3400, "CPU-hours"), render_hours(0.001, "CPU-hours")
    ('3,400 CPU-hours', 'under 0.01 CPU-hours')
    """
    if 0 < hours < 0.01:
        return f"under 0.01 {unit}"
    return f"{hours:.2g} {unit}" if hours < 10 else f"{hours:,.0f} {unit}"


def render_memory(mib: float) -> str:
    """Render an amount of memory given in MiB.

    >>> render_memory(340), render_memory(1536), render_memory(16 * 1024)
    ('340 MiB', '1.5 GiB', '16 GiB')
    """
    if mib < MIB_PER_GIB:
        return f"{mib:.0f} MiB"
    return f"{mib / MIB_PER_GIB:.1f}".removesuffix(".0") + " GiB"


BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def render_bytes(size: float) -> str:
    """Render a size in bytes.

    >>> render_bytes(0), render_bytes(1536), render_bytes(50 * 2**20)
    ('0 B', '1.5 KiB', '50 MiB')
    """
    unit = 0
    while size >= 1024 and unit < len(BYTE_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    number = f"{size:.1f}".removesuffix(".0") if size < 100 else f"{size:.0f}"
    return f"{number} {BYTE_UNITS[unit]}"


def render_usage(used_mib: float, limit_mib: float) -> str:
    """Render how much of a memory limit was used, both in the unit of the limit.

    >>> render_usage(2150, 2048), render_usage(103, 100)
    ('used 2.1 of 2.0 GiB', 'used 103 of 100 MiB')
    """
    if limit_mib < MIB_PER_GIB:
        return f"used {used_mib:.0f} of {limit_mib:.0f} MiB"
    return f"used {used_mib / MIB_PER_GIB:.1f} of {limit_mib / MIB_PER_GIB:.1f} GiB"


def render_time_option(minutes: float) -> str:
    """Render a time limit as `--time` takes it.

    >>> [render_time_option(minutes) for minutes in (0.75, 5, 90, 2880)]
    ['45s', '5m', '1h30m', '2d']
    """
    seconds = round(minutes * 60)
    parts = {
        "d": seconds // 86400,
        "h": seconds // 3600 % 24,
        "m": seconds // 60 % 60,
        "s": seconds % 60,
    }
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number) or "0s"


def render_memory_option(mib: float) -> str:
    """Render an amount of memory as `--mem` takes it.

    >>> [render_memory_option(mib) for mib in (512, 1536, 1500, 16 * 1024)]
    ['512M', '1.5G', '1500M', '16G']
    """
    if mib >= MIB_PER_GIB and mib % 256 == 0:
        return f"{mib / MIB_PER_GIB:g}G"
    return f"{mib:.0f}M"


def parse_memory(text: str | int) -> int:
    """Read an amount of memory, in MiB; a bare number is MiB. Units are binary.

    >>> parse_memory("8G"), parse_memory("500M"), parse_memory("16GiB"), parse_memory(2048)
    (8192, 500, 16384, 2048)

    Raises:
        ValueError: the text is no positive amount of memory.
    """
    match = _MEMORY.fullmatch(str(text))
    mib = float(match[1]) * MIB_PER[match[2].lower() or "m"] if match else 0.0
    if not 1 <= mib <= MOST_MIB:
        raise ValueError(f"expected an amount of memory such as 8G or 500M, got {text!r:.60}")
    return round(mib)


def parse_walltime(text: str | float) -> float:
    """Read a time limit, in minutes: units, `h:m:s` or `d-h:m:s`; a bare number is minutes.

    >>> [parse_walltime(text) for text in ("1h30m", "01:30:00", "1-00:00:00", 30)]
    [90.0, 90.0, 1440.0, 30.0]
    >>> [parse_walltime(text) for text in ("5min", "2 hours", "1 d 30 minutes")]
    [5.0, 120.0, 1470.0]

    Raises:
        ValueError: the text is no positive time.
    """
    plain = str(text).strip().lower()
    minutes = _from_clock(plain) or _from_units(plain)
    if not minutes or not 0 < minutes <= MOST_MINUTES:
        raise ValueError(f"expected a time such as 30m, 1h30m or 01:30:00, got {text!r:.60}")
    return minutes


def _from_clock(text: str) -> float | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _from_units(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _AMOUNTS.fullmatch(text):
        return None
    return sum(float(number) * MINUTES_PER[unit] for number, unit in _AMOUNT.findall(text))


LEAST_DIGITS = 4
MOST_DIGITS = 17  # of any float


def digits_apart(columns: Iterable[Iterable[Any]]) -> int:
    """Return how many significant digits tell the floats of each column apart, 4 at least.

    >>> digits_apart([[0.000575651277252, 0.1]]), digits_apart([[0.123456, 0.123457]])
    (4, 6)
    """
    digits = LEAST_DIGITS
    for column in columns:
        values = {value for value in column if isinstance(value, float)}
        while digits < MOST_DIGITS and len({f"{one:.{digits}g}" for one in values}) < len(values):
            digits += 1
    return digits


def shorten(value: Any, digits: int) -> Any:
    """Return a float with so many significant digits, and anything else as it is.

    >>> shorten(0.000575651277252, 4), shorten("cnn", 4), shorten(0.1 + 0.2, 0)
    (0.0005757, 'cnn', 0.30000000000000004)
    """
    return float(f"{value:.{digits}g}") if digits and isinstance(value, float) else value
