"""What a job asks of a machine, in one unit each, parsed once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MINUTES_PER = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}
MOST_MINUTES = 10 * 366 * 1440.0  # ten years: more is a slip of the finger, and no scheduler takes it
MIB_PER = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
MOST_MIB = 2.0**30  # a pebibyte


@dataclass(frozen=True, slots=True)
class Resources:
    """Per element. Not part of a run's id: where a run ran is not what it was. None: the backend's default."""

    gpus: int = 0
    cpus: int = 1
    mem_mib: int | None = None
    walltime_min: float | None = None
    queue: str | None = None  # Slurm: partition
    account: str | None = None
    qos: str | None = None
    gpu_type: str | None = None
    constraint: str | None = None  # node features
    exclude: str | None = None  # nodes not to use
    nodes: int = 1
    extra: tuple[str, ...] = ()  # options passed to the scheduler as they are


def resources_from_json(form: Mapping[str, Any]) -> Resources:
    """Inverse of `dataclasses.asdict` through JSON; fields that this version does not know are left aside."""
    known = {field.name: form[field.name] for field in fields(Resources) if field.name in form}
    return Resources(**{**known, "extra": tuple(form.get("extra", ()))})


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
    return sum(float(number) * MINUTES_PER[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text))


def render_walltime(minutes: float) -> str:
    """`h:mm:ss` from minutes, as people read it in plans."""
    seconds = round(minutes * 60)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
