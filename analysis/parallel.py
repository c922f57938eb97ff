"""Draw parallel coordinates of a grid's runs: `python -m analysis.parallel GRID`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.cli.arguments import (
    add_grid,
    choose_metric,
    default_path,
    say_notes,
    select_loaded,
)
from analysis.cli.charts import add_output, write_chart
from analysis.data.baselines import chance_level
from analysis.data.load import Runs, load
from analysis.plots.chart import Chart
from analysis.plots.parallel import importance_order, parallel_chart
from analysis.text.output import write_file
from analysis.web.page import render_page
from analysis.web.selection import PageInfo, page_info
from anlp.console.command import add_filter, make_parser, run_command
from anlp.core.errors import EXIT_OK, UserError

PAGES = (".html", ".htm")
EXAMPLES = """\
  python -m analysis.parallel mnist                    runs/mnist/parallel.png
  python -m analysis.parallel mnist --above baseline   the better runs on the same axes
  python -m analysis.parallel mnist --both             all runs, and the better ones beside
  python -m analysis.parallel mnist --html             a page to open in a browser"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of parallel."""
    parser = make_parser(
        "analysis.parallel",
        "Draw parallel coordinates of all runs, or of those better than a bound.",
        EXAMPLES,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric",
        default="",
        metavar="METRIC",
        help="the last axis and the colour (default: what the runs monitor, else val/acc)",
    )
    parser.add_argument(
        "--above", metavar="BOUND", help="only runs better than this number, or than the `baseline`"
    )
    add_filter(parser)
    parser.add_argument(
        "--html",
        action="store_true",
        help="one self-contained interactive page instead (runs/GRID/GRID-parallel.html)",
    )
    parser.add_argument(
        "--both",
        action="store_true",
        help="all runs, and those better than --above or the baseline",
    )
    add_output(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the chart and print where it is.

    Raises:
        UserError: there is no such grid, no run has the metric, or the file cannot be written.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    chosen = select_loaded(loaded, options.only)
    runs = chosen.runs
    metric = choose_metric(runs, options.metric)
    bound = _bound(runs, options.above, metric)
    if options.html:
        path = options.out or default_path(loaded, f"{loaded.grid}-parallel.html")
        _write_page(path, _page(runs, metric, options.above, bound, loaded.grid))
        print(path)
        return EXIT_OK
    above = None if options.both else bound
    write_chart(parallel_chart(chosen, metric=metric, above=above), options, loaded, "parallel")
    if options.both:
        limit = chance_level(runs, metric) if bound is None else bound
        if limit is None:
            raise UserError(f"--both: there is no baseline in {metric}; give a number with --above")
        _write_better(parallel_chart(chosen, metric=metric, above=limit), options, loaded)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _write_better(chart: Chart, options: argparse.Namespace, loaded: Runs) -> None:
    """Write the chart of the better runs beside the chart of all runs."""
    out: Path | None = options.out
    if out is not None:
        out = out.with_stem(f"{out.stem}-better")
    beside = argparse.Namespace(**{**vars(options), "out": out})
    write_chart(chart, beside, loaded, "parallel-better")


def _page(
    runs: pd.DataFrame, metric: str, above: str | None, bound: float | None, grid: str
) -> PageInfo:
    """Return the page; it begins with all runs, or with those that `--above` asks for."""
    return page_info(
        runs,
        metric,
        bound=chance_level(runs, metric) if bound is None else bound,
        bound_name="baseline" if above in (None, "baseline") else "",
        starts_better=bound is not None,
        grid=grid,
        order=importance_order(runs, metric),
    )


def _write_page(path: Path, info: PageInfo) -> None:
    if path.suffix.lower() not in PAGES:
        raise UserError(
            f"{path}: --html writes a page, expected a file that ends in {' or '.join(PAGES)}"
        )
    if not info.run_ids:
        raise UserError("nothing to show: there are no runs")
    write_file(path, render_page(info).encode("utf-8", errors="replace"))


def _bound(runs: pd.DataFrame, text: str | None, metric: str) -> float | None:
    if text is None:
        return None
    if text == "baseline":
        baseline = chance_level(runs, metric)
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
