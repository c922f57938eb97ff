"""Check the numbers that a text quotes against the runs: `python -m analysis.claims FILE`."""

from __future__ import annotations

import argparse
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cli.arguments import select_runs
from analysis.data.load import load
from analysis.stats.intervals import mean_interval
from analysis.text.metrics import is_share
from anlp.console.command import make_parser, run_command
from anlp.core.errors import EXIT_OK, SpecError, UserError, did_you_mean, known_name
from anlp.core.files import refuse_unreadable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORDS = ("file", "text", "grid", "metric", "only", "statistic")
KEYS = (*WORDS, "value", "tolerance")
EXIT_MISMATCH = 1
EXAMPLES = """\
  python -m analysis.claims docs/results/claims.toml
  ANLP_RUNS=/scratch/runs python -m analysis.claims paper/claims.toml"""
STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "half_width": lambda scores: mean_interval(scores).half_width,
    "half_width_z": lambda scores: mean_interval(scores, method="z").half_width,
    "sd": statistics.stdev,
    "median": statistics.median,
    "min": min,
    "max": max,
    "sum": sum,
}
COUNTS: Mapping[str, Callable[[pd.DataFrame], int]] = {
    "runs": len,
    "configurations": lambda runs: int(runs["config_id"].nunique()),
}
UNSCALED = frozenset({"sum"})


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
    def quoted(self) -> str:
        """Return the number as the text has it."""
        return f"{self.value:.10g}"

    @property
    def expression(self) -> str:
        """Say how the number follows from the runs."""
        runs = f"runs with {self.only}" if self.only else "all runs"
        what = f"number of {self.statistic}"
        if self.metric:
            what = f"{self.statistic} of {self.metric}"
        return f"{what} over {runs}, tolerance {self.tolerance:.3g}"

    def read_text(self) -> str | None:
        """Return the text with blanks and line breaks as one blank, None if it cannot be read."""
        try:
            return plain(self.file.read_text(errors="replace"))
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of checking a claim."""

    claim: Claim
    problem: str  # empty: it holds


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of claims."""
    parser = make_parser(
        "analysis.claims",
        "Check the numbers that a text quotes against the runs.",
        EXAMPLES,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="claims.toml: see docs/claims.md"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for every claim that does not hold, and how many do.

    Raises:
        UserError: the file of claims cannot be read or has a fault.
    """
    options = make_arguments().parse_args(argv)
    findings = [finding for file in options.files for finding in check_claims(file)]
    wrong = [finding for finding in findings if finding.problem]
    for finding in wrong:
        print(f"{finding.claim.place}: {finding.problem}", file=sys.stderr)
    print(f"{len(findings) - len(wrong)} of {len(findings)} claims hold")
    return EXIT_MISMATCH if wrong else EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def plain(text: str) -> str:
    """Return the text in one line, since a text may break its lines anywhere."""
    return " ".join(text.split())


def parse_claims(path: Path) -> list[Claim]:
    """Read the claims of a file, in order.

    Raises:
        UserError: it cannot be read, or is no TOML.
        SpecError: claims have faults; the message lists them all.
    """
    try:
        form = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        refuse_unreadable(path, error)
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is no TOML ({error})") from error
    entries = form.get("claim")
    if not isinstance(entries, list) or not entries or set(form) != {"claim"}:
        raise UserError(f"{path}: expected one table [[claim]] for each claim and nothing else")
    faults, claims = [], []
    for number, entry in enumerate(entries, 1):
        place = f"{path}: claim {number}"
        of_entry = _faults(entry)
        faults += [f"{place}: {fault}" for fault in of_entry]
        if not of_entry:
            claims.append(_claim(place, path.parent, entry))
    if faults:
        raise SpecError(faults)
    return claims


def _faults(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["expected a table of keys and values"]
    faults = [f"unknown key {key!r}{did_you_mean(key, KEYS)}" for key in entry if key not in KEYS]
    no_text = [key for key in WORDS if not isinstance(entry.get(key, ""), str)]
    faults += [f"{key}: expected a text" for key in no_text]
    no_number = [key for key in ("value", "tolerance") if not _is_number(entry.get(key, 0))]
    faults += [f"{key}: expected a number" for key in no_number]
    missing = [key for key in ("file", "text", "grid", "statistic") if not entry.get(key)]
    faults += [f"{key} is missing" for key in missing]
    if not faults and "value" not in entry and NUMBER.search(entry["text"]) is None:
        faults.append(f"text: expected a number in {entry['text']!r}, or a key `value`")
    return faults


def _claim(place: str, folder: Path, entry: Mapping[str, Any]) -> Claim:
    quoted = NUMBER.search(entry["text"])
    digits = quoted.group().replace(",", "") if quoted else ""
    value = float(entry.get("value", digits))
    tolerance = float(entry.get("tolerance", _half_digit(digits, value)))
    return Claim(
        place=place,
        file=folder / entry["file"],
        text=plain(entry["text"]),
        value=value,
        grid=entry["grid"],
        statistic=entry["statistic"],
        tolerance=tolerance,
        metric=entry.get("metric", ""),
        only=entry.get("only", ""),
    )


def _half_digit(digits: str, value: float) -> float:
    """Return half a unit of the last digit quoted; 0 where the value is not the one in the text.

    >>> _half_digit("96.5", 96.5)
    0.05
    """
    if not digits or float(digits) != value:
        return 0.0
    mantissa, _, exponent = digits.lower().partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_claims(file: Path) -> Iterator[Finding]:
    """Check each claim of a file.

    Raises:
        UserError: the file cannot be read or has a fault.
    """
    read = cache(lambda grid: load(grid, history=False).runs)
    for claim in parse_claims(file):
        yield Finding(claim, check(claim, read))


def check(claim: Claim, read: Callable[[str], pd.DataFrame]) -> str:
    """Say why a claim does not hold, nothing if it does.

    Args:
        claim: with the text that it is about.
        read: returns the runs of a grid.
    """
    text = claim.read_text()
    if text is None:
        return f"{claim.file} cannot be read"
    if claim.text not in text:
        return f"{claim.file} does not say {claim.text!r} any more"
    try:
        recomputed = recompute(claim, read(claim.grid))
    except UserError as error:
        return f"{claim.quoted} cannot be recomputed: {error}"
    if abs(recomputed - claim.value) <= claim.tolerance * (1 + 1e-9):
        return ""
    return (
        f"{claim.file} says {claim.quoted}, the runs of {claim.grid} give {recomputed:.7g} "
        f"({claim.expression})"
    )


def recompute(claim: Claim, runs: pd.DataFrame) -> float:
    """Return the number that the runs give, shares in percent as tables have them.

    Raises:
        UserError: a name is unknown, or there are too few runs.
    """
    chosen = select_runs(runs, claim.only)
    if claim.statistic in COUNTS:
        return float(COUNTS[claim.statistic](chosen))
    name = known_name(claim.statistic, [*STATISTICS, *COUNTS], "statistic")
    column = known_name(claim.metric, map(str, runs.columns), "metric")
    values = _scores(chosen, column)
    factor = 100.0 if is_share(column) and name not in UNSCALED else 1.0
    try:
        return factor * float(STATISTICS[name](values))
    except ValueError as error:  # of too few values
        raise UserError(f"{name} of {len(values)} values ({error})") from error


def _scores(runs: pd.DataFrame, column: str) -> list[float]:
    if not pd.api.types.is_numeric_dtype(runs[column]):
        raise UserError(f"{column} is no number")
    finished: Any = runs.loc[runs["outcome"] == "ok", column].astype(float)
    return [float(value) for value in finished[np.isfinite(finished)]]


if __name__ == "__main__":
    sys.exit(cli())
