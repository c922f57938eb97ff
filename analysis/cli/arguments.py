"""What the commands of analysis share at their edge: filtering what was loaded, saying what was skipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.data.frames import fields
from analysis.data.load import Runs
from anlp.core.errors import UserError
from anlp.core.filters import parse_filter

NOTES_SHOWN = 5


def add_grid(parser: argparse.ArgumentParser) -> None:
    """The argument that every command begins with, `grid`: what `analysis.load` takes, `--from` before an address."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "grid",
        nargs="?",
        default=argparse.SUPPRESS,  # else its absence would overwrite what --from says
        help="name under runs/ (or $ANLP_RUNS), the grid's folder, or its YAML file",
    )
    group.add_argument(
        "--from",
        dest="grid",
        metavar="URL",
        help="wandb://entity/project[/group] instead of folders",
    )


def select_runs(runs: pd.DataFrame, only: str) -> pd.DataFrame:
    """The rows that pass the filter `only` (all for an empty one).

    Raises:
        UserError: the filter is malformed, names something that no run has, or leaves none.
    """
    if not only.strip():
        return runs
    chosen = parse_filter(only)
    chosen.check([*map(str, runs.columns), "id", "state"])
    rows = runs.to_dict("records")
    keep = [
        chosen.matches(fields({str(name): value for name, value in row.items()})) for row in rows
    ]
    if len(runs) and not any(keep):
        raise UserError(f"--only {only!r} leaves none of {len(runs)} runs")
    return runs[keep]


def say_notes(notes: Sequence[str]) -> None:
    """The first few notes on stderr, and how many more there are."""
    for note in notes[:NOTES_SHOWN]:
        print(note, file=sys.stderr)
    if len(notes) > NOTES_SHOWN:
        print(f"… and {len(notes) - NOTES_SHOWN} more such notes", file=sys.stderr)


def picture_path(loaded: Runs, name: str) -> Path:
    """Where a picture lies unless asked otherwise: in the grid's folder, relative to here where that is shorter."""
    path, here = loaded.folder / name, Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
