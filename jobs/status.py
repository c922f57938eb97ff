"""`python -m jobs.status [GRID]`: counts runs by state, and shows the notable ones of a grid."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from anlp.console.command import GRID_HELP, add_filter, add_json, make_parser, run_command
from anlp.console.stdio import can_redraw
from anlp.core.errors import EXIT_OK
from anlp.records import circuit_breaker
from anlp.records.folders import GridFolder, find_grid, list_grids, runs_root
from anlp.records.results import RunState
from jobs.common.arguments import add_fresh
from jobs.common.terminal import Canvas, canvas_of, print_screen
from jobs.runs import cost
from jobs.runs.journal import Journal
from jobs.runs.logs import read_progress
from jobs.runs.polling import JobPoller, PollInterval
from jobs.runs.queries import narrow, read_grid
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause
from jobs.views.grids import grids_json, render_grids, summarise
from jobs.views.json_output import overview_json
from jobs.views.status import Overview, render_overview, shown_running

EXAMPLES = """\
  python -m jobs.status                  all grids, with the states of their runs
  python -m jobs.status mnist            counts, failures by cause, the best so far
  python -m jobs.status mnist --watch    refresh until nothing runs
  python -m jobs.status mnist --only 'model=cnn lr<=0.01'
  python -m jobs.status mnist --only state=failed,lost --all
  python -m jobs.status mnist --fresh    ask the scheduler, even if it was just asked
  python -m jobs.status mnist --json | jq .counts"""

CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of status."""
    parser = make_parser(
        "jobs.status",
        "Shows where the runs of a grid stand, or of all grids; changes nothing.",
        EXAMPLES,
    )
    parser.add_argument("grid", nargs="?", help=f"{GRID_HELP}; without it, all grids are listed")
    add_filter(parser)
    parser.add_argument(
        "-w", "--watch", action="store_true", help="refresh until nothing is queued or running"
    )
    add_json(parser, "counts, failures and runs")
    add_fresh(parser)
    parser.add_argument("-a", "--all", action="store_true", help="list every run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        UserError: something that the user can fix.
    """
    parser = make_arguments()
    args = parser.parse_args(argv)
    if args.json and args.watch:
        parser.error("--json and --watch exclude each other")
    if args.grid is None:
        if args.watch or args.only or args.all:
            parser.error("--watch, --only and --all are for one grid: name it")
        return _show_grids(args)
    folder = find_grid(args.grid)
    if args.watch:
        return _watch(folder, args)
    overview = _look(folder, args.only, fresh=args.fresh)
    overview = read_details(overview, every_run=args.all or args.json)
    if args.json:
        print(json.dumps(overview_json(overview), allow_nan=False))
    else:
        print_screen(render_overview(overview, canvas_of(sys.stdout), every_run=args.all))
    return EXIT_OK


def _show_grids(args: argparse.Namespace) -> int:
    """List all grids of the runs folder; a damaged or forbidden one does not hide the others."""
    lines = []
    for folder in list_grids():
        query = JobPoller.for_viewing(folder, fresh=args.fresh).states
        lines.append(summarise(folder, read_states(folder, query).values()))
    if args.json:
        print(json.dumps(grids_json(lines, runs_root(), time.time()), allow_nan=False))
    else:
        canvas = canvas_of(sys.stdout)
        print_screen(render_grids(lines, runs_root(), canvas, time.time()))
    return EXIT_OK


def _look(folder: GridFolder, only: str, *, fresh: bool) -> Overview:
    """Return the states of the runs, without what else the screen shows of them."""
    poller = JobPoller.for_viewing(folder, fresh=fresh)
    every = read_grid(folder, poller.states)
    chosen = narrow(every, only)
    return Overview(folder, tuple(every), tuple(chosen), only, time.time(), poller.reports)


def read_details(overview: Overview, *, every_run: bool) -> Overview:
    """Return the overview with what is shown beside the states, read from the disk.

    Args:
        overview: the states.
        every_run: whether the progress of every running run is shown, or that of the first few.
    """
    progress = {}
    for status in shown_running(overview, every_run=every_run):
        found = read_progress(status)
        if found is not None:
            progress[status.run_id] = found
    return replace(
        overview,
        progress=progress,
        held_back=_read_held_back(overview),
        cost=cost.read(overview.folder, overview.chosen),
    )


def _read_held_back(overview: Overview) -> str:
    """Return why the circuit breaker skipped interrupted runs; empty where it did not."""
    waited = [
        status.since or 0.0
        for status in overview.of(RunState.INTERRUPTED)
        if status.cause in (Cause.SKIPPED, Cause.CANCELLED)
    ]
    if not waited:
        return ""
    # by their submissions, not by the time of their end: a node has a clock of its own
    batches = [
        overview.folder.path / submission.batch
        for submission in Journal(overview.folder).submissions().values()
        if submission.time >= min(waited)
    ]
    return str(circuit_breaker.latest(batches) or "")


def _watch(folder: GridFolder, args: argparse.Namespace) -> int:
    """Refresh until nothing is active: in place on a terminal, elsewhere only what has changed."""
    canvas, shown, interval = canvas_of(sys.stdout), None, PollInterval()
    try:
        while True:
            overview = _look(folder, args.only, fresh=args.fresh)
            sight = overview.counts(), [report.outage for report in overview.reports]
            if can_redraw(sys.stdout) or sight != shown:
                _draw(read_details(overview, every_run=args.all), canvas, every_run=args.all)
            shown = sight
            if not any(status.state.is_active for status in overview.chosen):
                return EXIT_OK
            time.sleep(interval.wait_s(sight, overview.every))
    except KeyboardInterrupt:  # the usual way to end a screen that watches
        return EXIT_OK


def _draw(overview: Overview, canvas: Canvas, *, every_run: bool) -> None:
    text = render_overview(overview, canvas, every_run=every_run)
    if can_redraw(sys.stdout):
        hint = canvas.paint("Ctrl-C ends this view; the runs continue", "dim")
        text = f"{text}\n\n{hint}"
        print(CLEAR, end="")
    print_screen(text)


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main)


if __name__ == "__main__":
    sys.exit(cli())
