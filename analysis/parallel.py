"""`python -m analysis.parallel GRID`: parallel coordinates of all runs, or of those better than a bound."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.frame import metric_columns
from analysis.names import known_name
from analysis.plots.paper import paper, save
from analysis.plots.parallel import draw_parallel, parallel_info, size_inches
from analysis.pull import load
from analysis.screen import add_grid, best_baseline, picture_path, say_notes, select_runs
from anlp.errors import UserError, run_command


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Writes the chart and prints where it is.

    Raises:
        UserError: there is no such grid, no run has the metric, or the file cannot be written.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    runs = select_runs(loaded.runs, options.only)
    metric = known_name(options.metric, metric_columns(runs), "--metric")
    info = parallel_info(runs, metric, above=_bound(runs, options.above, metric), grid=loaded.grid)
    if not len(info.lines):
        raise UserError(f"nothing to draw: {info.title} ({info.subtitle})")
    path = options.output or picture_path(loaded, "parallel.png")
    with paper(*size_inches(info)) as figure:
        draw_parallel(info, figure.add_subplot())
        save(figure, path)
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.parallel", description=__doc__)
    add_grid(parser)
    parser.add_argument("--metric", default="val/acc", help="the last axis and the colour (%(default)s)")
    parser.add_argument("--above", metavar="BOUND", help="only runs better than this number, or than the `baseline`")
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=".png, .svg or .pdf; default in the grid's folder"
    )
    return parser


def _bound(runs: pd.DataFrame, text: str | None, metric: str) -> float | None:
    if text is None:
        return None
    if text == "baseline":
        baseline = best_baseline(runs, metric)
        if baseline is None:
            raise UserError(f"--above baseline: there is no baseline in {metric}; give a number")
        return baseline
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise UserError(f"--above: expected a number such as 0.95, or baseline, got {text!r}")
    return bound


if __name__ == "__main__":
    sys.exit(cli())
