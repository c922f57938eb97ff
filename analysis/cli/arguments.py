"""Arguments that the commands of analysis share, and what they do with the loaded runs."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.data.frames import fields, metric_columns
from analysis.data.load import Runs
from analysis.data.metric_choice import usual_metric
from anlp.core.errors import UserError, known_name
from anlp.core.filters import parse_filter

NOTES_SHOWN = 5


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add `grid`: a name, a file, a folder, or an address of wandb, also behind `--from`."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "grid",
        nargs="?",
        default=argparse.SUPPRESS,  # else its absence would overwrite what --from says
        help="the grid's name, its YAML file or its folder",
    )
    group.add_argument(
        "--from",
        dest="grid",
        metavar="URL",
        help="wandb://entity/project[/group] instead of folders",
    )


def share(example: str) -> Callable[[str], float]:
    """Return a function that reads an argument which is a number between 0 and 1.

    >>> share("0.95")("0.5")
    0.5
    """

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number < 1:
            raise argparse.ArgumentTypeError(
                f"expected a number between 0 and 1 such as {example}, got {text!r:.60}"
            )
        return number

    return parse


def add_margin(parser: argparse._ActionsContainer) -> None:
    """Add `--margin`, in the unit in which the metric is shown."""
    parser.add_argument(
        "--margin",
        type=_margin,
        metavar="M",
        help="differences from the best below this do not matter: points of a share, else the "
        "metric's own unit (default: what the metric can resolve)",
    )


def _margin(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(
            f"expected a difference of 0 or more such as 0.2, got {text!r:.60}"
        )
    return number


def select_runs(runs: pd.DataFrame, only: str) -> pd.DataFrame:
    """Return the rows that pass the filter `only` (all for an empty one).

    Raises:
        UserError: the filter is malformed, names something that no run has, or leaves none.
    """
    if not only.strip():
        return runs
    chosen = parse_filter(only)
    chosen.check([*map(str, runs.columns), "id", "state"])
    names = [str(name) for name in runs.columns]
    rows = runs.itertuples(index=False, name=None)
    keep = [chosen.matches(fields(dict(zip(names, row, strict=True)))) for row in rows]
    if len(runs) and not any(keep):
        raise UserError(f"--only {only!r} leaves none of {len(runs)} runs")
    return runs[keep]


def select_loaded(loaded: Runs, only: str) -> Runs:
    """Return the loaded runs that pass the filter `only`, with their histories and provenance.

    Raises:
        UserError: see `select_runs`.
    """
    runs = select_runs(loaded.runs, only)
    if len(runs) == len(loaded.runs):
        return loaded
    kept = set(runs["run_id"])
    history = loaded.history[loaded.history["run_id"].isin(kept)]
    provenance = loaded.provenance
    if provenance:
        texts = zip(loaded.runs["run_id"], loaded.provenance, strict=True)
        provenance = tuple(text for run_id, text in texts if run_id in kept)
    return replace(loaded, runs=runs, history=history, provenance=provenance)


def choose_metric(runs: pd.DataFrame, asked: str) -> str:
    """Return the metric that `--metric` asks for, or the usual one of these runs.

    Raises:
        UserError: no run has it, or no run has finished with a metric.
    """
    if asked:
        return known_name(asked, metric_columns(runs), "--metric")
    return usual_metric(runs)


def say_notes(notes: Sequence[str]) -> None:
    """Print the first few notes on stderr, and how many more there are."""
    for note in notes[:NOTES_SHOWN]:
        print(note, file=sys.stderr)
    if len(notes) > NOTES_SHOWN:
        print(f"… and {len(notes) - NOTES_SHOWN} more such notes", file=sys.stderr)


def default_path(loaded: Runs, name: str) -> Path:
    """Return the path of a file in the grid's folder, relative to here where that is shorter."""
    path, here = loaded.folder / name, Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
