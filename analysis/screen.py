"""What the commands of analysis share at their edge: filtering what was loaded, saying what was skipped."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd

from analysis.frame import fields
from anlp.errors import UserError
from anlp.select import parse_filter

NOTES_SHOWN = 5


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
    keep = [chosen.matches(fields({str(name): value for name, value in row.items()})) for row in rows]
    if len(runs) and not any(keep):
        raise UserError(f"--only {only!r} leaves none of {len(runs)} runs")
    return runs[keep]


def say_notes(notes: Sequence[str]) -> None:
    """The first few notes on stderr, and how many more there are."""
    for note in notes[:NOTES_SHOWN]:
        print(note, file=sys.stderr)
    if len(notes) > NOTES_SHOWN:
        print(f"… and {len(notes) - NOTES_SHOWN} more such notes", file=sys.stderr)
