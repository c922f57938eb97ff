"""`python -m jobs.cancel GRID`: stops queued and running runs; any submit continues them."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anlp.core.command import add_filter, add_grid, add_yes, make_parser
from anlp.core.errors import EXIT_OK, run_command
from anlp.records.folders import GridFolder, find_grid
from anlp.records.results import RunState
from jobs.common.terminal import ask_yes_no
from jobs.runs.attempts import record_endings
from jobs.runs.batches import Asked, asked_runs
from jobs.runs.journal import Journal
from jobs.runs.polling import JobPoller
from jobs.runs.queries import MANY_RUNS, narrow, read_grid
from jobs.runs.recovery import reconcile
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers import registry

EXAMPLES = """\
  python -m jobs.cancel mnist                      everything that is queued or running
  python -m jobs.cancel mnist --only 'model=cnn'   only these
  python -m jobs.cancel mnist --only state=queued  let what runs come to its end
  python -m jobs.cancel mnist --only id=3fa9       one run"""


def make_arguments() -> argparse.ArgumentParser:
    """The command line of cancel."""
    parser = make_parser(
        "jobs.cancel",
        "Stops queued and running runs. They keep their checkpoints: any submit continues them.",
        EXAMPLES,
    )
    add_grid(parser)
    add_filter(parser)
    add_yes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        UserError: something that the user can fix.
    """
    args = make_arguments().parse_args(argv)
    folder = find_grid(args.grid)
    inquiry = JobPoller.for_changing(folder)
    runs = read_grid(folder, inquiry.states)
    active = [status for status in narrow(runs, args.only) if status.state.is_active]
    if not active:
        which = "matching run" if args.only else "run"
        print(f"{folder.name}: nothing to cancel: no {which} is queued or running")
        return EXIT_OK
    mates = _mates(active, runs)
    if mates and not ask_yes_no(f"Stop {_tally(mates)} as well, in the same jobs?", yes=args.yes):
        print("nothing was cancelled")
        return EXIT_OK
    if len(active) > MANY_RUNS and not ask_yes_no(
        f"Stop {_tally(active)} of {folder.name}?", yes=args.yes
    ):
        print("nothing was cancelled")
        return EXIT_OK
    stopped = cancel_runs(folder, {status.run_id for status in active}, inquiry)
    print(f"{folder.name}: asked {_tally(stopped)} to stop{_ended_meanwhile(active, stopped)}")
    print(
        "  submit the grid again to continue them; where they stand: "
        f"python -m jobs.status {folder.name}"
    )
    return EXIT_OK


def cancel_runs(folder: GridFolder, run_ids: Iterable[str], inquiry: JobPoller) -> list[RunStatus]:
    """Ask the schedulers to stop the jobs of `run_ids`, after writing so to the journal.

    Returns:
        The active runs that this stops: those that were named and have not ended meanwhile, and
        those that share a job with one of them.
    """
    with Journal(folder).held() as journal:
        reconcile(journal)
        asked = asked_runs(folder, journal.submissions())
        states = read_states(folder, inquiry.states)
        record_endings(journal, states.values())
        active = [status for status in states.values() if status.state.is_active]
        wanted = set(run_ids)
        elements = {_element(asked[status.run_id]) for status in active if status.run_id in wanted}
        stopped = [status for status in active if _element(asked[status.run_id]) in elements]
        journal.cancel(_by_tag(elements))
        handles = list(dict.fromkeys(status.handle for status in stopped if status.handle))
        inquiry.forget(handles)
        registry.cancel(handles)
    return stopped


def _mates(named: Sequence[RunStatus], runs: Iterable[RunStatus]) -> list[RunStatus]:
    """Active runs that share a job with those that are named, and are not among them."""
    ids = {status.run_id for status in named}
    shared = {status.handle for status in named if status.in_job > 1}
    found = []
    for status in runs:
        shares_job = status.in_job > 1 and status.handle in shared
        if status.state.is_active and shares_job and status.run_id not in ids:
            found.append(status)
    return found


def _element(run: Asked) -> tuple[str, int]:
    return run.submission.tag, run.index


def _by_tag(elements: Iterable[tuple[str, int]]) -> Mapping[str, list[int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for tag, index in sorted(elements):
        indices[tag].append(index)
    return indices


def _tally(statuses: Sequence[RunStatus]) -> str:
    """`3 queued and 2 running runs`."""
    parts = []
    for state in (RunState.QUEUED, RunState.RUNNING):
        number = sum(status.state is state for status in statuses)
        if number:
            parts.append(f"{number} {state.value}")
    return f"{' and '.join(parts) or 'no'} {'run' if len(statuses) == 1 else 'runs'}"


def _ended_meanwhile(asked: Sequence[RunStatus], stopped: Sequence[RunStatus]) -> str:
    named = {status.run_id for status in asked}
    ended = len(named - {status.run_id for status in stopped})
    along = len([status for status in stopped if status.run_id not in named])
    notes = []
    if ended:
        notes.append(f"{ended} ended meanwhile")
    if along:
        notes.append(f"{along} share a job with them")
    return f" ({'; '.join(notes)})" if notes else ""


def cli() -> int:
    """The exit code of the command."""
    return run_command(main, outlives_reader=True)


if __name__ == "__main__":
    sys.exit(cli())
