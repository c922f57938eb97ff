"""Draw learning curves of all runs, coloured by a setting: `python -m analysis.curves GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.cli.arguments import add_grid, say_notes, select_loaded
from analysis.cli.charts import add_output, write_chart
from analysis.data.load import load
from analysis.plots.curves import curves_chart
from anlp.console.command import add_filter, make_parser, run_command
from anlp.core.errors import EXIT_OK

EXAMPLES = """\
  python -m analysis.curves mnist --by lr
  python -m analysis.curves mnist --metric train/loss --scale log --by optimizer --style bands
  python -m analysis.curves mnist --by configuration --only 'model=cnn lr=0.01' --smooth 5"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of curves."""
    parser = make_parser(
        "analysis.curves", "Draw learning curves of all runs, coloured by one setting.", EXAMPLES
    )
    add_grid(parser)
    parser.add_argument(
        "--metric", default="", metavar="METRIC", help="logged each epoch (default: val/acc)"
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="SETTING",
        help="colours the lines: a setting or `configuration` (default: lr if it varies, else the "
        "first that does)",
    )
    parser.add_argument(
        "--style",
        choices=("lines", "medians", "bands", "both"),
        help="runs, medians with bands, or both (default: by their number)",
    )
    parser.add_argument(
        "--smooth",
        type=int,
        default=0,
        metavar="N",
        help="a running mean over N epochs, said in the title",
    )
    parser.add_argument(
        "--scale", choices=("linear", "log"), default="linear", help="of the y axis"
    )
    add_filter(parser)
    add_output(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the chart and print where it is.

    Raises:
        UserError: there is no such grid, no run has logged the metric, or a file cannot be written.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid)
    say_notes(loaded.notes)
    loaded = select_loaded(loaded, options.only)
    given = {name: getattr(options, name) for name in ("metric", "by", "style", "smooth", "scale")}
    chart = curves_chart(loaded, **{name: value for name, value in given.items() if value})
    write_chart(chart, options, loaded, "curves")
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


if __name__ == "__main__":
    sys.exit(cli())
