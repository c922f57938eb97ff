"""`python -m jobs.logs RUN`: shows the log of a run, or one for each kind of failure."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anlp.console.command import (
    add_filter,
    add_json,
    make_parser,
    run_command,
    whole_number,
)
from anlp.console.printable import only_colours
from anlp.console.verbs import command_name
from anlp.core import lease
from anlp.core.errors import EXIT_OK, UserError
from anlp.records.folders import GridFolder, RunFolder, find_grid, list_grids, runs_root
from jobs.common.arguments import add_fresh
from jobs.runs.failures import FailureGroup, describe, group_failures
from jobs.runs.logs import LINE_END, MOST_BYTES, last_job_output, last_words, tail
from jobs.runs.polling import JobPoller, PollInterval
from jobs.runs.queries import locate_run, narrow, read_grid
from jobs.runs.status import RunStatus, read_states

MODULE = "jobs.logs"
LINES = 50
LINES_FAILED = 20
POLL_S = 0.25

EXAMPLES = """\
  python -m jobs.logs 3fa9             the last 50 lines of the run whose id begins with 3fa9
  python -m jobs.logs mnist 3fa9 -f    and what it writes until it ends
  python -m jobs.logs mnist --failed   the last 20 lines of one run of each kind of failure"""


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of logs."""
    parser = make_parser(
        MODULE, "Shows the log of a run, or of one run of each kind of failure.", EXAMPLES
    )
    parser.usage = (
        "%(prog)s [-h] [-f | --json] [-n N] [--fresh] [GRID] RUN\n"
        "       %(prog)s [--json] [-n N] [--fresh] [--only FILTER] [GRID] --failed"
    )
    parser.add_argument(
        "names", nargs="*", metavar="[GRID] RUN", help="a run by the beginning of its id"
    )
    parser.add_argument(
        "--failed", action="store_true", help="failed and lost runs of the grid, one of each kind"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument(
        "-n",
        "--lines",
        type=whole_number(1),
        metavar="N",
        help=f"last N lines ({LINES}; --failed: {LINES_FAILED})",
    )
    add_filter(parser, "with --failed: failed runs")
    add_json(parser, "each run's id, state, log file and last lines")
    add_fresh(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        UserError: something that the user can fix.
    """
    parser = make_arguments()
    args = parser.parse_args(argv)
    if args.follow and (args.failed or args.json):
        parser.error("--follow excludes --failed and --json")
    if args.only and not args.failed:
        parser.error("--only goes with --failed")
    if args.failed and len(args.names) < 2:
        return _show_failed(_only_grid(args.names), args)
    if args.failed or len(args.names) not in (1, 2):
        parser.error("expected GRID RUN, RUN, or GRID --failed")
    target = locate_run(args.names, command_name(MODULE), fresh=args.fresh)
    _say_reports(target.poller)
    if args.follow:
        return _follow(target.folder, target.status, args.lines or LINES)
    if args.json:
        print(json.dumps(_run_json(target.status, args.lines or LINES), indent=1))
        return EXIT_OK
    _print_lines(_last_words(target.status, args.lines or LINES))
    return EXIT_OK


def _run_json(status: RunStatus, lines: int) -> dict[str, Any]:
    return {
        "id": status.run_id,
        "state": status.state.value,
        "log": str(status.folder.log),
        "lines": _last_words(status, lines),
    }


def _say_reports(poller: JobPoller) -> None:
    """Print on stderr, apart from the log, that a scheduler is down or was asked a while ago."""
    for report in poller.reports:
        for line in report.render(time.time()):
            print(line, file=sys.stderr)


def _only_grid(names: Sequence[str]) -> GridFolder:
    """Return the grid that was named; without a name the only one there is."""
    if names:
        return find_grid(names[0])
    known = list_grids()
    if len(known) == 1:
        return known[0]
    names = ", ".join(folder.name for folder in known)
    listed = f"grids: {names}" if known else f"none in {runs_root()}"
    raise UserError(f"--failed: say of which grid: {command_name(MODULE)} GRID --failed ({listed})")


def _show_failed(folder: GridFolder, args: argparse.Namespace) -> int:
    lines = args.lines or LINES_FAILED
    poller = JobPoller.for_viewing(folder, fresh=args.fresh)
    statuses = read_grid(folder, poller.states)
    groups = group_failures(statuses, narrow(statuses, args.only))
    _say_reports(poller)
    if args.json:
        print(json.dumps([_group_json(group, lines) for group in groups], indent=1))
        return EXIT_OK
    if not groups:
        print(f"{folder.name}: no run failed or was lost")
    for group in groups:
        first, *alike = group.runs
        print(f"== {group.render()}")
        print(f"-- {first.run_id}: {first.folder.log}")
        _print_lines(_last_words(first, lines))
        if alike:
            print(f"-- {len(alike)} alike: {' '.join(status.run_id for status in alike)}")
        print()
    return EXIT_OK


def _group_json(group: FailureGroup, lines: int) -> dict[str, Any]:
    first, *alike = group.runs
    ids = [status.run_id for status in alike]
    return {"title": group.render(), **_run_json(first, lines), "alike": ids}


def _print_lines(lines: Sequence[str]) -> None:
    """Print lines of a log: their colours reach the terminal, nothing else that steers it does."""
    print("\n".join(map(only_colours, lines)))


def _last_words(status: RunStatus, lines: int) -> list[str]:
    """Return the end of a run's log; without one the reason, and the job's last output."""
    return last_words(status, lines) or [_why_empty(status), *last_job_output(status, lines)]


def _why_empty(status: RunStatus) -> str:
    reason = describe(status)
    if not reason and status.cause:
        reason = status.cause.value
    state = f"{status.state.value} ({reason})" if reason else status.state.value
    return f"{status.run_id} is {state} and has written nothing"


def _follow(folder: GridFolder, status: RunStatus, lines: int) -> int:
    """Print the end of the log, then what is added, until the run is neither queued nor running."""
    path = status.folder.log
    follower = _Follower(path, path.stat().st_size if path.exists() else 0)
    _print_lines(
        tail(path, lines) or [f"{status.run_id} is {status.state.value}; its log is empty so far"]
    )
    sys.stdout.flush()
    for latest in _while_active(folder, status):
        status = latest
        follower.print_added()
    follower.print_added()  # what came between the last look and the end
    why = describe(status)
    print(f"-- {status.run_id} is {status.state.value}{f': {why}' if why else ''}")
    return EXIT_OK


def _while_active(folder: GridFolder, status: RunStatus) -> Iterator[RunStatus]:
    """Yield often while the run's process lives; ask a scheduler only at its polling interval."""
    pace, due = PollInterval(), float("-inf")
    while True:
        if not _is_alive(status.folder) and time.monotonic() >= due:
            status = read_states(folder, JobPoller.for_viewing(folder).states)[status.run_id]
            due = time.monotonic() + pace.wait_s(status.state, [status])
        yield status
        if not status.state.is_active:
            return
        time.sleep(POLL_S)


def _is_alive(folder: RunFolder) -> bool:
    current = lease.latest(folder.attempts)
    return current is not None and lease.is_alive(current)


class _Follower:
    """Prints what a log gains; of a burst, its end."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._position = position
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def print_added(self) -> None:
        """Print what the file has gained since the last call."""
        try:
            with self._path.open("rb") as file:
                skipped = max(0, file.seek(0, os.SEEK_END) - self._position - MOST_BYTES)
                file.seek(self._position + skipped)
                added = file.read(MOST_BYTES)
        except OSError:
            return
        self._position += skipped + len(added)
        if skipped:
            print(f"… {skipped:,} bytes are left out")
        text = LINE_END.sub("\n", self._decoder.decode(added))
        sys.stdout.write("\n".join(map(only_colours, text.split("\n"))))
        sys.stdout.flush()


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main)


if __name__ == "__main__":
    sys.exit(cli())
