"""`python -m jobs.retry GRID`: submits failed and lost runs again, from what the grid's own folder knows of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from anlp.errors import EXIT_OK, run_command
from anlp.record import RunState
from anlp.settings import spec_from_json
from jobs.cli import confirm, make_parser, open_grid
from jobs.failures import FAILURES, group_failures
from jobs.launch import submit_specs
from jobs.screen import count
from jobs.selection import MANY_RUNS, narrow, read_grid
from jobs.state import RunStatus
from jobs.target import add_target_arguments, last_target, override

EXAMPLES = """\
  python -m jobs.retry mnist                         every failed or lost run
  python -m jobs.retry mnist --only state=lost --mem 16G
  python -m jobs.retry mnist --only 'batch_size=4096' -n"""


def make_arguments() -> argparse.ArgumentParser:
    """The command line of retry."""
    parser = make_parser(
        "jobs.retry",
        "Submits failed and lost runs again, as they were submitted last; they continue from their checkpoints.",
        EXAMPLES,
    )
    parser.add_argument("grid", help="the grid's name, its YAML file or its folder")
    parser.add_argument("--only", metavar="FILTER", help="only runs that match, such as 'state=lost model=cnn'")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show which runs, submit nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="agree to every question")
    add_target_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, or 1 if a run failed again.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    args = make_arguments().parse_args(argv)
    folder = open_grid(args.grid)
    every = read_grid(folder)
    statuses = narrow(every, args.only)
    broken = [status for status in statuses if status.state in FAILURES]
    print(f"{folder.name}: {_summary(statuses, broken)}")
    for group in group_failures(every, broken):
        print(f"  {group.render()}")
    if not broken or args.dry_run:
        return EXIT_OK
    if len(broken) > MANY_RUNS and not confirm(f"Submit these {len(broken)} runs again?", yes=args.yes):
        print("nothing was submitted")
        return EXIT_OK
    target = override(last_target(folder), args)
    return submit_specs(folder, [spec_from_json(status.form) for status in broken], target, redo="failed")


def _summary(statuses: Sequence[RunStatus], broken: Sequence[RunStatus]) -> str:
    stopped = sum(status.state is RunState.INTERRUPTED for status in statuses)
    note = f"; {stopped} interrupted: any submit of the grid continues them" if stopped else ""
    return f"{count(len(broken), 'run')} to repeat{note}" if broken else f"no run failed or was lost{note}"


def cli() -> None:
    """Entry point of the command."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    cli()
