"""`python -m jobs.status GRID`: how many runs are in which state, and the rows that are worth a look."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from anlp.core.command import make_parser
from anlp.core.errors import EXIT_OK, run_command
from anlp.records.folders import GridFolder
from jobs.common.arguments import add_fresh
from jobs.common.terminal import Canvas, canvas_of
from jobs.runs.locate import open_grid
from jobs.runs.polling import JobPoller, PollInterval
from jobs.runs.queries import narrow, read_grid
from jobs.views.json_output import overview_json
from jobs.views.status import Overview, render_overview

EXAMPLES = """\
  python -m jobs.status mnist                              counts, failures by cause, the best so far
  python -m jobs.status mnist --watch                      again and again until nothing runs
  python -m jobs.status mnist --only 'model=cnn lr<=0.01'  these runs only
  python -m jobs.status mnist --only state=failed,lost --all
  python -m jobs.status mnist --fresh                      ask the scheduler, whoever asked it a moment ago
  python -m jobs.status mnist --json | jq .counts"""

CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def make_arguments() -> argparse.ArgumentParser:
    """The command line of status."""
    parser = make_parser(
        "jobs.status", "Shows where the runs of a grid stand; changes nothing.", EXAMPLES
    )
    parser.add_argument("grid", help="the grid's name, its YAML file or its folder")
    parser.add_argument(
        "--only", metavar="FILTER", help="only runs that match, such as 'model=cnn lr<=0.01'"
    )
    parser.add_argument(
        "-w", "--watch", action="store_true", help="refresh until nothing is queued or running"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON value (docs/looking-after-runs.md says its form)",
    )
    add_fresh(parser)
    parser.add_argument("-a", "--all", action="store_true", help="list every run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    parser = make_arguments()
    args = parser.parse_args(argv)
    if args.json and args.watch:
        parser.error("--json and --watch exclude each other")
    folder = open_grid(args.grid)
    if args.watch:
        return _watch(folder, args.only, every_run=args.all, fresh=args.fresh)
    overview = _look(folder, args.only, fresh=args.fresh)
    if args.json:
        print(json.dumps(overview_json(overview), allow_nan=False))
    else:
        print(render_overview(overview, canvas_of(sys.stdout), every_run=args.all))
    return EXIT_OK


def _look(folder: GridFolder, only: str | None, *, fresh: bool) -> Overview:
    inquiry = JobPoller(folder, fresh=fresh)
    every = read_grid(folder, inquiry.states)
    return Overview(
        folder, tuple(every), tuple(narrow(every, only)), only, time.time(), inquiry.accounts
    )


def _watch(folder: GridFolder, only: str | None, *, every_run: bool, fresh: bool) -> int:
    """Refreshes in place on a terminal; elsewhere writes the screen again when a count or an outage has changed."""
    canvas, shown, pace = canvas_of(sys.stdout), None, PollInterval()
    try:
        while True:
            overview = _look(folder, only, fresh=fresh)
            sight = overview.counts(), [account.outage for account in overview.accounts]
            if sys.stdout.isatty():
                _redraw(overview, canvas, every_run=every_run)
            elif sight != shown:
                print(render_overview(overview, canvas, every_run=every_run), flush=True)
            shown = sight
            if not any(status.state.is_active for status in overview.chosen):
                return EXIT_OK
            time.sleep(pace.wait_s(sight, overview.every))
    except KeyboardInterrupt:  # the usual way out of a screen that watches
        return EXIT_OK


def _redraw(overview: Overview, canvas: Canvas, *, every_run: bool) -> None:
    text = render_overview(overview, canvas, every_run=every_run)
    print(
        CLEAR + text,
        f"\n{canvas.paint('Ctrl-C ends this view; the runs go on', 'dim')}",
        sep="\n",
        flush=True,
    )


def cli() -> None:
    """Entry point of the command."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    cli()
