"""Tell which settings explain a metric: `python -m analysis.importance GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.cli.arguments import add_grid, choose_metric, say_notes, select_runs
from analysis.cli.output import add_format, chosen_format, write_or_print
from analysis.data.load import load, why_no_runs
from analysis.effects.design import build_design
from analysis.effects.explain import Importance, explain
from analysis.effects.render import render_csv, render_json, render_text
from anlp.console.command import add_filter, make_parser, run_command
from anlp.core.errors import EXIT_OK, UserError

MANY = 1000  # configurations, of which forests take some seconds
SUFFIXES = {"text": ".txt", "json": ".json", "csv": ".csv"}
EXAMPLES = """\
  python -m analysis.importance mnist
  python -m analysis.importance mnist --metric test/acc --only model=cnn
  python -m analysis.importance mnist --no-clip --no-forest --json"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of importance."""
    parser = make_parser(
        "analysis.importance",
        "Tell how much of a metric's variance each setting explains, alone and with others, and "
        "how much is seeds.",
        EXAMPLES,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric",
        default="",
        metavar="METRIC",
        help="what is explained (default: what the runs monitor, else val/acc)",
    )
    add_filter(parser)
    parser.add_argument(
        "--no-clip",
        dest="clip",
        action="store_false",
        help="runs below chance level keep their score",
    )
    parser.add_argument("--ranks", action="store_true", help="explain ranks instead of scores")
    parser.add_argument(
        "--no-forest", dest="forest", action="store_false", help="no random forests for comparison"
    )
    add_format(parser, SUFFIXES, "text", "json", "csv")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the importance of every setting of a grid.

    Raises:
        UserError: there is no such grid, no finished run, or nothing varies.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError(f"no runs to explain: {why_no_runs(loaded)}")
    runs = select_runs(loaded.runs, options.only)
    metric = choose_metric(runs, options.metric)
    design = build_design(runs, metric, clip=options.clip, ranks=options.ranks)
    if options.forest and len(design.means) > MANY:
        print(f"growing forests over {len(design.means):,} configurations …", file=sys.stderr)
    importance = explain(design, with_forest=options.forest)
    text = _render(importance, chosen_format(options, SUFFIXES, "text"), loaded.grid)
    write_or_print(text, options.out)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _render(importance: Importance, form: str, grid: str) -> str:
    if form == "json":
        return render_json(importance, grid)
    if form == "csv":
        return render_csv(importance)
    return render_text(importance, grid)


if __name__ == "__main__":
    sys.exit(cli())
