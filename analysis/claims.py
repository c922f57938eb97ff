"""`python -m analysis.claims FILE`: numbers that a text quotes, recomputed from the runs; a mismatch fails."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.claimfile import Claim, parse_claims
from analysis.metrics import is_share
from analysis.names import known_name
from analysis.pull import load
from analysis.screen import select_runs
from analysis.stats import mean_interval
from anlp.errors import EXIT_OK, UserError, run_command

EXIT_MISMATCH = 1
EXAMPLES = """\
examples:
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
class Finding:
    """What came of a claim."""

    claim: Claim
    problem: str  # empty: it holds


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Prints a line for every claim that does not hold, and how many do.

    Raises:
        UserError: the file of claims cannot be read or has a fault.
    """
    options = _parser().parse_args(argv)
    findings = [finding for file in options.files for finding in check_claims(file)]
    wrong = [finding for finding in findings if finding.problem]
    for finding in wrong:
        print(f"{finding.claim.place}: {finding.problem}", file=sys.stderr)
    print(f"{len(findings) - len(wrong)} of {len(findings)} claims hold")
    return EXIT_MISMATCH if wrong else EXIT_OK


def check_claims(file: Path) -> Iterator[Finding]:
    """Each claim of a file with what is wrong with it.

    Raises:
        UserError: the file cannot be read or has a fault.
    """
    read = cache(lambda grid: load(grid, history=False).runs)
    for claim in parse_claims(file):
        yield Finding(claim, check(claim, read))


def check(claim: Claim, read: Callable[[str], pd.DataFrame]) -> str:
    """Why a claim does not hold, empty if it does.

    Args:
        claim: with the text that it is about.
        read: gives the runs of a grid.
    """
    text = claim.read_text()
    if text is None:
        return f"{claim.file} cannot be read"
    if claim.text not in text:
        return f"{claim.file} does not say {claim.text!r} any more"
    try:
        found = recompute(claim, read(claim.grid))
    except UserError as error:
        return f"{claim.said} cannot be recomputed: {error}"
    if abs(found - claim.value) <= claim.tolerance * (1 + 1e-9):
        return ""
    return f"{claim.file} says {claim.said}, the runs of {claim.grid} give {found:.7g} ({claim.expression})"


def recompute(claim: Claim, runs: pd.DataFrame) -> float:
    """The number that the runs give, shares in percent as tables have them.

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.claims",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="claims.toml: see docs/claims.md")
    return parser


if __name__ == "__main__":
    sys.exit(cli())
