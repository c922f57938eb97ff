"""`python -m analysis.parallel GRID`: parallel coordinates of all runs, or of those better than a bound."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.cli.arguments import add_grid, picture_path, say_notes, select_runs
from analysis.cli.charts import add_output, write_chart
from analysis.data.baselines import chance_level
from analysis.data.frames import metric_columns
from analysis.data.load import Runs, load
from analysis.data.metric_choice import usual_metric
from analysis.plots.chart import Chart
from analysis.plots.parallel import importance_order, parallel_chart
from analysis.web.page import render_page
from analysis.web.selection import PageInfo, page_info
from anlp.core.errors import UserError, known_name, run_command
from anlp.core.files import write_whole

PAGES = (".html", ".htm")
EXAMPLES = """\
  python -m analysis.parallel mnist                    runs/mnist/parallel.png
  python -m analysis.parallel mnist --above baseline   the better runs on the same axes
  python -m analysis.parallel mnist --both             all runs, and the better ones beside
  python -m analysis.parallel mnist --html             runs/mnist/mnist-parallel.html, to open in a browser"""


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
    metric = (
        known_name(options.metric, metric_columns(runs), "--metric")
        if options.metric
        else usual_metric(runs)
    )
    bound = _bound(runs, options.above, metric)
    if options.html:
        path = options.out or picture_path(loaded, f"{loaded.grid}-parallel.html")
        _write_page(path, _page(runs, metric, options.above, bound, loaded.grid))
        print(path)
        return 0
    chosen = replace(loaded, runs=runs)
    write_chart(
        parallel_chart(chosen, metric=metric, above=None if options.both else bound),
        options,
        loaded,
        "parallel",
    )
    if options.both:
        limit = chance_level(runs, metric) if bound is None else bound
        if limit is None:
            raise UserError(f"--both: there is no baseline in {metric}; give a number with --above")
        _write_better(parallel_chart(chosen, metric=metric, above=limit), options, loaded)
    return 0


def _write_better(chart: Chart, options: argparse.Namespace, loaded: Runs) -> None:
    """Beside the chart of all runs."""
    out: Path | None = options.out
    beside = argparse.Namespace(
        **{**vars(options), "out": out and out.with_stem(f"{out.stem}-better")}
    )
    write_chart(chart, beside, loaded, "parallel-better")


def _page(
    runs: pd.DataFrame, metric: str, above: str | None, bound: float | None, grid: str
) -> PageInfo:
    """The page begins with all runs, or with those that `--above` asks for; the others are a button away."""
    name = "baseline" if above in (None, "baseline") else ""
    known = chance_level(runs, metric) if bound is None else bound
    order = importance_order(runs, metric)
    return page_info(
        runs,
        metric,
        bound=known,
        bound_name=name,
        starts_better=bound is not None,
        grid=grid,
        order=order,
    )


def _write_page(path: Path, info: PageInfo) -> None:
    if path.suffix.lower() not in PAGES:
        raise UserError(
            f"{path}: --html writes a page, expected a file that ends in {' or '.join(PAGES)}"
        )
    if not info.run_ids:
        raise UserError("nothing to show: there are no runs")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, render_page(info).encode("utf-8", errors="replace"))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.parallel",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    parser.add_argument(
        "--metric",
        default="",
        help="the last axis and the colour (val/acc; else what runs monitor)",
    )
    parser.add_argument(
        "--above", metavar="BOUND", help="only runs better than this number, or than the `baseline`"
    )
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    parser.add_argument(
        "--html", action="store_true", help="one self-contained interactive page instead"
    )
    parser.add_argument(
        "--both",
        action="store_true",
        help="all runs, and those better than --above or the baseline",
    )
    add_output(parser)
    return parser


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
