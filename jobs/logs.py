"""`python -m jobs.logs RUN`: what a run wrote, live if asked; with --failed one log for each kind of failure."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from anlp import claim
from anlp.errors import EXIT_OK, UserError, run_command
from anlp.record import GridFolder, RunFolder
from jobs.cli import make_parser, open_grid, runs_root
from jobs.failures import describe, group_failures
from jobs.logfile import last_words, tail
from jobs.schedulers import choose
from jobs.selection import find_target, grids, positive, read_grid, refresh_s
from jobs.state import RunStatus, read_states

COMMAND = "python -m jobs.logs"
LINES = 50
LINES_FAILED = 20
POLL_S = 0.25

EXAMPLES = """\
  python -m jobs.logs 3fa9             the last 50 lines of the run whose id begins with 3fa9
  python -m jobs.logs mnist 3fa9 -f    and whatever it writes until it ends
  python -m jobs.logs mnist --failed   the last 20 lines of one run of each kind of failure"""


def make_arguments() -> argparse.ArgumentParser:
    """The command line of logs."""
    parser = make_parser("jobs.logs", "Shows the log of a run, or of one run of each kind of failure.", EXAMPLES)
    parser.usage = "%(prog)s [-h] [-f] [-n N] [GRID] RUN\n       %(prog)s [-n N] [GRID] --failed"
    parser.add_argument("names", nargs="*", metavar="[GRID] RUN", help="a run by the beginning of its id")
    parser.add_argument("--failed", action="store_true", help="failed and lost runs of the grid, one of each kind")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument(
        "-n", "--lines", type=positive, metavar="N", help=f"last N lines ({LINES}; --failed: {LINES_FAILED})"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    parser = make_arguments()
    args = parser.parse_args(argv)
    if args.failed and args.follow:
        parser.error("--failed and --follow exclude each other")
    if args.failed and len(args.names) < 2:
        return _show_failed(_only_grid(args.names), args.lines or LINES_FAILED)
    if args.failed or len(args.names) not in (1, 2):
        parser.error("expected GRID RUN, RUN, or GRID --failed")
    folder, statuses, status = find_target(args.names, COMMAND)
    if args.follow:
        return _follow(folder, status, args.lines or LINES, refresh_s(statuses))
    lines = last_words(status, args.lines or LINES)
    print("\n".join(lines) if lines else _why_empty(status))
    return EXIT_OK


def _only_grid(names: Sequence[str]) -> GridFolder:
    """The grid that was named; without a name the only one there is."""
    if names:
        return open_grid(names[0])
    known = grids()
    if len(known) == 1:
        return known[0]
    listed = f"grids: {', '.join(folder.name for folder in known)}" if known else f"none in {runs_root()}"
    raise UserError(f"--failed: say of which grid: {COMMAND} GRID --failed ({listed})")


def _show_failed(folder: GridFolder, lines: int) -> int:
    groups = group_failures(read_grid(folder))
    if not groups:
        print(f"{folder.name}: no run failed or was lost")
    for group in groups:
        first, *alike = group.runs
        print(f"== {group.render()}")
        print(f"-- {first.run_id}: {first.folder.log}")
        print("\n".join(last_words(first, lines)) or _why_empty(first))
        if alike:
            print(f"-- {len(alike)} alike: {' '.join(status.run_id for status in alike)}")
        print()
    return EXIT_OK


def _why_empty(status: RunStatus) -> str:
    reason = describe(status) or (status.cause.value if status.cause else "")
    return f"{status.run_id} is {status.state.value}{f' ({reason})' if reason else ''} and has written nothing"


def _follow(folder: GridFolder, status: RunStatus, lines: int, every_s: float) -> int:
    """Prints the end of the log, then what is added, until the run is neither queued nor running."""
    path = status.folder.log
    position = path.stat().st_size if path.exists() else 0
    print(
        "\n".join(tail(path, lines)) or f"{status.run_id} is {status.state.value}; its log is empty so far", flush=True
    )
    for _ in _while_active(folder, status.run_id, every_s):
        position = _print_added(path, position)
    _print_added(path, position)  # what came between the last look and the end
    ended = read_states(folder, choose.states)[status.run_id]
    print(f"-- {ended.run_id} is {ended.state.value}" + (f": {describe(ended)}" if describe(ended) else ""))
    return EXIT_OK


def _while_active(folder: GridFolder, run_id: str, every_s: float) -> Iterator[None]:
    """Comes back often while the run's process lives; its scheduler is asked only every `every_s` seconds."""
    asked = float("-inf")
    while True:
        if not _is_alive(folder.run(run_id)) and time.monotonic() - asked >= every_s:
            if not read_states(folder, choose.states)[run_id].state.is_active:
                return
            asked = time.monotonic()
        yield
        time.sleep(POLL_S)


def _is_alive(folder: RunFolder) -> bool:
    current = claim.latest(folder.attempts)
    return current is not None and claim.is_alive(current)


def _print_added(path: Path, position: int) -> int:
    """Prints what a file has gained behind `position`; returns its new end."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            added = file.read()
    except OSError:
        return position
    sys.stdout.write(added.decode(errors="replace"))
    sys.stdout.flush()
    return position + len(added)


def cli() -> None:
    """Entry point of the command."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    cli()
