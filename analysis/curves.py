"""`python -m analysis.curves GRID`: learning curves of all runs, coloured by one setting.

python -m analysis.curves mnist --by lr
python -m analysis.curves mnist --metric train/loss --scale log --by optimizer --style bands
python -m analysis.curves mnist --by configuration --only 'model=cnn lr=0.01' --smooth 5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.cli.charts import add_output, write_chart
from analysis.data.load import load
from analysis.plots.curves import curves_chart
from anlp.core.errors import run_command

CURVE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "metric": {
        "default": "",
        "metavar": "METRIC",
        "help": "what was logged each epoch; default val/acc",
    },
    "by": {
        "default": "",
        "metavar": "SETTING",
        "help": "colours the lines, a setting or `configuration`; default lr if it varies, else the first that does",
    },
    "style": {
        "choices": ("lines", "medians", "bands", "both"),
        "help": "runs, medians with bands, or both; default by their number",
    },
    "smooth": {
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "a running mean over N epochs, said in the title",
    },
    "scale": {"choices": ("linear", "log"), "default": "linear", "help": "of the y axis"},
}


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
    loaded = replace(loaded, runs=select_runs(loaded.runs, options.only))
    given = {name: getattr(options, name) for name in ("metric", "by", "style", "smooth", "scale")}
    chart = curves_chart(loaded, **{name: value for name, value in given.items() if value})
    write_chart(chart, options, loaded, "curves")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    for name in ("metric", "by", "style", "smooth", "scale"):
        parser.add_argument(f"--{name}", **CURVE_OPTIONS[name])
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(cli())
