"""`python -m jobs.cancel GRID`: stops runs that are queued or running; what they saved stays, any submit continues."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anlp.core.command import make_parser
from anlp.core.errors import EXIT_OK, run_command
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.common.terminal import ask_yes_no
from jobs.runs.attempts import record_endings
from jobs.runs.journal import lock_grid
from jobs.runs.locate import open_grid
from jobs.runs.polling import JobPoller
from jobs.runs.queries import MANY_RUNS, narrow, read_grid
from jobs.runs.recovery import reconcile
from jobs.runs.status import Asked, RunStatus, asked_runs, read_states
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
    parser.add_argument("grid", help="the grid's name, its YAML file or its folder")
    parser.add_argument(
        "--only", metavar="FILTER", help="only runs that match, such as 'model=cnn lr<=0.01'"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="agree to every question")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    args = make_arguments().parse_args(argv)
    folder = open_grid(args.grid)
    inquiry = JobPoller(folder, fresh=True, tolerant=False)
    runs = read_grid(folder, inquiry.states)
    active = [status for status in narrow(runs, args.only) if status.state.is_active]
    if not active:
        print(
            f"{folder.name}: nothing to cancel: no {'matching ' if args.only else ''}run is queued or running"
        )
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
        f"  submit the grid again to continue them; where they stand: python -m jobs.status {folder.name}"
    )
    return EXIT_OK


def cancel_runs(folder: GridFolder, run_ids: Iterable[str], inquiry: JobPoller) -> list[RunStatus]:
    """Asks for the jobs of `run_ids` to be stopped, after writing so to the journal; the next command asks about them.

    Returns:
        The active runs that this stops: those that were named and have not ended meanwhile, and those that share a
        job with one of them.
    """
    with lock_grid(folder) as journal:
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
    ids, jobs = (
        {status.run_id for status in named},
        {status.handle for status in named if status.in_job > 1},
    )
    return [
        status
        for status in runs
        if status.state.is_active
        and status.in_job > 1
        and status.handle in jobs
        and status.run_id not in ids
    ]


def _element(run: Asked) -> tuple[str, int]:
    return run.submission.tag, run.index


def _by_tag(elements: Iterable[tuple[str, int]]) -> Mapping[str, list[int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for tag, index in sorted(elements):
        indices[tag].append(index)
    return indices


def _tally(statuses: Sequence[RunStatus]) -> str:
    """`3 queued and 2 running runs`."""
    counts = {
        state: sum(status.state is state for status in statuses)
        for state in (RunState.QUEUED, RunState.RUNNING)
    }
    parts = [f"{number} {state.value}" for state, number in counts.items() if number]
    return f"{' and '.join(parts) or 'no'} run{'s' * (len(statuses) != 1)}"


def _ended_meanwhile(asked: Sequence[RunStatus], stopped: Sequence[RunStatus]) -> str:
    named = {status.run_id for status in asked}
    ended = len(named - {status.run_id for status in stopped})
    along = len([status for status in stopped if status.run_id not in named])
    notes = [f"{ended} ended meanwhile"] * bool(ended) + [f"{along} share a job with them"] * bool(
        along
    )
    return f" ({'; '.join(notes)})" if notes else ""


def cli() -> None:
    """Entry point of the command."""
    sys.exit(run_command(main, outlives_reader=True))


if __name__ == "__main__":
    cli()
