"""`python -m analysis.importance GRID`: which settings explain a metric, alone and together, and how much is seeds.

python -m analysis.importance mnist
python -m analysis.importance mnist --metric test/acc --only model=cnn
python -m analysis.importance mnist --no-clip --no-forest --json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.data.frames import metric_columns
from analysis.data.load import load
from analysis.data.metric_choice import usual_metric
from analysis.effects.design import build_design
from analysis.effects.explain import explain
from analysis.effects.render import render_csv, render_json, render_text
from anlp.core.errors import UserError, known_name, run_command

MANY = 1000  # configurations, of which forests take some seconds


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Prints the importance of every setting of a grid.

    Raises:
        UserError: there is no such grid, no finished run, or nothing varies.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError("no runs to explain: nothing of this grid has started yet")
    runs = select_runs(loaded.runs, options.only)
    metric = (
        known_name(options.metric, metric_columns(runs), "--metric")
        if options.metric
        else usual_metric(runs)
    )
    design = build_design(runs, metric, clip=options.clip, ranks=options.ranks)
    if options.forest and len(design.means) > MANY:
        print(f"growing forests over {len(design.means):,} configurations …", file=sys.stderr)
    importance = explain(design, with_forest=options.forest)
    if options.csv:
        sys.stdout.write(render_csv(importance))
    else:
        sys.stdout.write((render_json if options.json else render_text)(importance, loaded.grid))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.importance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric", default="", help="what is explained (val/acc; else what runs monitor)"
    )
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    parser.add_argument(
        "--no-clip",
        dest="clip",
        action="store_false",
        help="runs worse than the baseline keep their score",
    )
    parser.add_argument("--ranks", action="store_true", help="of ranks instead of scores")
    parser.add_argument(
        "--no-forest", dest="forest", action="store_false", help="no random forests for comparison"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for machines")
    form.add_argument("--csv", action="store_true", help="a row per setting")
    return parser


if __name__ == "__main__":
    sys.exit(cli())
