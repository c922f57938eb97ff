"""`python -m analysis.convergence GRID`: what became of every run, with evidence, and which settings failures go with.

python -m analysis.convergence mnist
python -m analysis.convergence mnist --only 'verdict=stuck,diverged' --all
python -m analysis.convergence mnist --csv > verdicts.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.data.load import load
from analysis.verdicts.breakdown import build_breakdown
from analysis.verdicts.judge import judge_runs
from analysis.verdicts.render import ROWS_SHOWN, render_csv, render_json, render_text
from anlp.core.errors import UserError, run_command

MANY = 2000  # runs that take about a second to judge


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Prints the verdicts of a grid.

    Raises:
        UserError: there is no such grid, no run, or nothing says what chance is.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError("no runs to judge: nothing of this grid has started yet")
    if options.metric and options.metric not in loaded.history:
        logged = (
            ", ".join(str(name) for name in loaded.history if str(name).startswith("val/"))
            or "nothing"
        )
        raise UserError(
            f"--metric: no run has logged {options.metric!r} (of the validation set there is: {logged})"
        )
    if len(loaded.runs) > MANY:
        print(f"judging {len(loaded.runs):,} runs …", file=sys.stderr)
    judged = judge_runs(
        loaded.runs, loaded.history, options.metric, level=options.chance, samples=options.samples
    )
    judged = replace(judged, runs=select_runs(judged.runs, options.only))
    breakdown = build_breakdown(judged, loaded.grid)
    if options.json or options.csv:
        sys.stdout.write((render_json if options.json else render_csv)(breakdown))
    else:
        sys.stdout.write(render_text(breakdown, rows=None if options.all else ROWS_SHOWN))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.convergence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help="what runs are judged by; default val/acc, else val/r2, else val/spearman",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="FILTER",
        help="e.g. 'model=cnn verdict=stuck'; verdicts are judged before",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"every run in the lists, not {ROWS_SHOWN} of each"
    )
    parser.add_argument(
        "--chance",
        type=_share,
        metavar="ACC",
        help="accuracy of knowing nothing, if no run says it",
    )
    parser.add_argument(
        "--samples", type=_count, metavar="N", help="size of the validation set, likewise"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for machines")
    form.add_argument("--csv", action="store_true", help="a row per run")
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(
            f"expected an accuracy between 0 and 1 such as 0.1, got {text}"
        )
    return share


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(cli())
