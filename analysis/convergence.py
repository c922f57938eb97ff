"""Judge every run of a grid: `python -m analysis.convergence GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analysis.cli.arguments import add_grid, say_notes, select_runs, share
from analysis.cli.output import add_format, chosen_format, write_or_print
from analysis.data.load import load, why_no_runs
from analysis.verdicts.breakdown import Breakdown, build_breakdown
from analysis.verdicts.judge import judge_runs
from analysis.verdicts.render import ROWS_SHOWN, render_csv, render_json, render_text
from anlp.console.command import add_filter, make_parser, run_command, whole_number
from anlp.core.errors import EXIT_OK, UserError

MANY = 2000  # runs that take about a second to judge
SUFFIXES = {"text": ".txt", "json": ".json", "csv": ".csv"}
EXAMPLES = """\
  python -m analysis.convergence mnist
  python -m analysis.convergence mnist --only 'verdict=stuck,diverged' --all
  python -m analysis.convergence mnist --csv > verdicts.csv
  python -m analysis.convergence mnist -o verdicts.json"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of convergence."""
    parser = make_parser(
        "analysis.convergence",
        "Tell which runs converged, overfit or failed, with evidence, and which settings failures "
        "go with.",
        EXAMPLES,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help="what runs are judged by (default: val/acc, else val/r2, else val/spearman)",
    )
    add_filter(parser, "runs (also by verdict=stuck)")
    parser.add_argument(
        "--all", action="store_true", help=f"list every run, not {ROWS_SHOWN} of each group"
    )
    parser.add_argument(
        "--chance",
        type=share("0.1"),
        metavar="ACC",
        help="accuracy at chance level, where no run says it",
    )
    parser.add_argument(
        "--samples",
        type=whole_number(1, 1_000_000_000),
        metavar="N",
        help="size of the validation set, where no run says it",
    )
    add_format(parser, SUFFIXES, "text", "json", "csv")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdicts of a grid.

    Raises:
        UserError: there is no such grid, no run, or the chance level is unknown.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError(f"no runs to judge: {why_no_runs(loaded)}")
    if options.metric:
        _check_logged(options.metric, loaded.history)
    if len(loaded.runs) > MANY:
        print(f"judging {len(loaded.runs):,} runs …", file=sys.stderr)
    judged = judge_runs(
        loaded.runs, loaded.history, options.metric, level=options.chance, samples=options.samples
    )
    judged = replace(judged, runs=select_runs(judged.runs, options.only))
    breakdown = build_breakdown(judged, loaded.grid)
    form = chosen_format(options, SUFFIXES, "text")
    write_or_print(_render(breakdown, form, None if options.all else ROWS_SHOWN), options.out)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _check_logged(metric: str, history: pd.DataFrame) -> None:
    if metric not in history:
        logged = [str(name) for name in history if str(name).startswith("val/")]
        raise UserError(
            f"--metric: no run has logged {metric!r} (of the validation set there is: "
            f"{', '.join(logged) or 'nothing'})"
        )


def _render(breakdown: Breakdown, form: str, rows: int | None) -> str:
    if form == "json":
        return render_json(breakdown)
    if form == "csv":
        return render_csv(breakdown)
    return render_text(breakdown, rows=rows)


if __name__ == "__main__":
    sys.exit(cli())
