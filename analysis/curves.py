"""`python -m analysis.curves GRID`: learning curves of all runs, coloured by one setting."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.frame import setting_columns, varying_settings
from analysis.names import known_name
from analysis.plots.curves import curves_info, draw_curves
from analysis.plots.paper import paper, save
from analysis.pull import load
from analysis.screen import add_grid, best_baseline, picture_path, say_notes, select_runs
from anlp.errors import UserError, run_command

WIDTH, HEIGHT = 7.0, 4.2  # inches


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Writes the chart and prints where it is.

    Raises:
        UserError: there is no such grid, no run has logged the metric, or the file cannot be written.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid)
    say_notes(loaded.notes)
    runs = select_runs(loaded.runs, options.only)
    if loaded.history.empty:
        raise UserError(f"no run of {loaded.grid} has logged an epoch yet")
    metric = known_name(options.metric, _curve_metrics(loaded.history), "--metric")
    by = known_name(options.by, setting_columns(runs), "--by: setting") if options.by else _usual_setting(runs)
    info = curves_info(runs, loaded.history, metric, by, chance=best_baseline(runs, metric), grid=loaded.grid)
    path = options.output or picture_path(loaded, "curves.png")
    with paper(WIDTH, HEIGHT) as figure:
        draw_curves(info, figure.add_subplot())
        save(figure, path)
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.curves", description=__doc__)
    add_grid(parser)
    parser.add_argument("--metric", default="val/acc", help="what was logged each epoch (%(default)s)")
    parser.add_argument(
        "--by", metavar="SETTING", help="colours the lines; default lr if it varies, else the first that does"
    )
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=".png, .svg or .pdf; default in the grid's folder"
    )
    return parser


def _curve_metrics(history: pd.DataFrame) -> list[str]:
    return [
        str(name) for name in history.columns if name != "epoch" and pd.api.types.is_numeric_dtype(history[str(name)])
    ]


def _usual_setting(runs: pd.DataFrame) -> str:
    varying = varying_settings(runs)
    return "lr" if "lr" in varying else next(iter(varying), "")


if __name__ == "__main__":
    sys.exit(cli())
