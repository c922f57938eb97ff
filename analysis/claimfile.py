"""A file of claims: which numbers a text quotes, and how they follow from runs."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.errors import SpecError, UserError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORDS = ("file", "text", "grid", "metric", "only", "statistic")
KEYS = (*WORDS, "value", "tolerance")


@dataclass(frozen=True, slots=True)
class Claim:
    """One number of a text."""

    place: str  # of the claim, for messages
    file: Path  # the text
    text: str  # what it says, number included
    value: float
    grid: str
    statistic: str
    tolerance: float
    metric: str = ""
    only: str = ""  # the filter that runs pass

    @property
    def said(self) -> str:
        """The number as quoted."""
        return f"{self.value:.10g}"

    @property
    def expression(self) -> str:
        """How the number follows, in words."""
        runs = f"runs with {self.only}" if self.only else "all runs"
        what = f"{self.statistic} of {self.metric}" if self.metric else f"number of {self.statistic}"
        return f"{what} over {runs}, tolerance {self.tolerance:.3g}"

    def read_text(self) -> str | None:
        """The text with every blank and line break as one blank, None where it cannot be read."""
        try:
            return plain(self.file.read_text(errors="replace"))
        except OSError:
            return None


def plain(text: str) -> str:
    """A text may break its lines anywhere."""
    return " ".join(text.split())


def parse_claims(path: Path) -> list[Claim]:
    """The claims of a file, in order.

    Raises:
        UserError: it cannot be read, or is no TOML.
        SpecError: claims have faults; all of them are told.
    """
    try:
        form = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is no TOML ({error})") from error
    entries = form.get("claim")
    if not isinstance(entries, list) or not entries or set(form) != {"claim"}:
        raise UserError(f"{path}: expected one table [[claim]] for each claim and nothing else")
    faults, claims = [], []
    for number, entry in enumerate(entries, 1):
        place = f"{path}: claim {number}"
        found = _faults(entry)
        faults += [f"{place}: {fault}" for fault in found]
        claims += [] if found else [_claim(place, path.parent, entry)]
    if faults:
        raise SpecError(faults)
    return claims


def _faults(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["expected a table of keys and values"]
    found = [f"unknown key {key!r}{did_you_mean(key, KEYS)}" for key in entry if key not in KEYS]
    found += [f"{key}: expected a text" for key in WORDS if not isinstance(entry.get(key, ""), str)]
    found += [f"{key}: expected a number" for key in ("value", "tolerance") if not _is_number(entry.get(key, 0))]
    found += [f"{key} is missing" for key in ("file", "text", "grid", "statistic") if not entry.get(key)]
    if not found and "value" not in entry and NUMBER.search(entry["text"]) is None:
        found.append(f"text: expected a number in {entry['text']!r}, or a key `value`")
    return found


def _claim(place: str, folder: Path, entry: Mapping[str, Any]) -> Claim:
    quoted = NUMBER.search(entry["text"])
    digits = quoted.group().replace(",", "") if quoted else ""
    value = float(entry.get("value", digits))
    tolerance = float(entry["tolerance"]) if "tolerance" in entry else _half_digit(digits, value)
    words = {name: entry.get(name, "") for name in ("metric", "only")}
    text = plain(entry["text"])
    return Claim(place, folder / entry["file"], text, value, entry["grid"], entry["statistic"], tolerance, **words)


def _half_digit(digits: str, value: float) -> float:
    """Half a unit of the last digit that was quoted; nothing where the value is not the one in the text."""
    if not digits or float(digits) != value:
        return 0.0
    mantissa, _, exponent = digits.lower().partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
