"""`python -m jobs.cancel GRID`: stops queued and running runs; any submit continues them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anlp.console.command import add_filter, add_grid, add_json, add_yes, make_parser, run_command
from anlp.console.verbs import command_name
from anlp.core.errors import EXIT_OK, EXIT_RUNS_FAILED
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
    """Return the command line of cancel."""
    parser = make_parser(
        "jobs.cancel",
        "Stops queued and running runs. They keep their checkpoints: any submit continues them.",
        EXAMPLES,
    )
    add_grid(parser)
    add_filter(parser)
    add_json(parser, "the ids of the runs that were asked to stop")
    add_yes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 1 where jobs may not have been stopped.

    Raises:
        UserError: something that the user can fix.
    """
    args = make_arguments().parse_args(argv)
    folder = find_grid(args.grid)
    poller = JobPoller.for_changing(folder)
    runs = read_grid(folder, poller.states)
    active = [status for status in narrow(runs, args.only) if _is_in_queue(status)]
    request = StopRequest()
    if active and _is_agreed(folder, active, _mates(active, runs), yes=args.yes):
        request = cancel_runs(folder, {status.run_id for status in active}, poller)
        text = _render(folder, active, request)
    elif active:
        text = "nothing was cancelled"
    else:
        which = "matching run" if args.only else "run"
        text = f"{folder.name}: nothing to cancel: no {which} is queued or running"
    if args.json:
        ids = [status.run_id for status in request.stopped]
        text = json.dumps({"grid": folder.name, "stopped": ids})
    print(text)
    return EXIT_RUNS_FAILED if request.unheeded else EXIT_OK


def _is_agreed(
    folder: GridFolder, active: Sequence[RunStatus], mates: Sequence[RunStatus], *, yes: bool
) -> bool:
    if mates and not ask_yes_no(f"Stop {_tally(mates)} as well, in the same jobs?", yes=yes):
        return False
    if len(active) <= MANY_RUNS:
        return True
    return ask_yes_no(f"Stop {_tally(active)} of {folder.name}?", yes=yes)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The runs that schedulers were asked to stop."""

    stopped: Sequence[RunStatus] = ()
    unheeded: Sequence[RunStatus] = ()  # their scheduler shows no sign that it heard


def _render(folder: GridFolder, active: Sequence[RunStatus], request: StopRequest) -> str:
    both = [*request.stopped, *request.unheeded]
    lines = [
        f"{folder.name}: asked {_tally(request.stopped)} to stop{_ended_meanwhile(active, both)}"
    ]
    if request.unheeded:
        handles = [status.handle for status in request.unheeded if status.handle]
        names = ", ".join(sorted({handle.scheduler for handle in handles}))
        lines.append(
            f"  {_tally(request.unheeded)} more: {names} shows no sign that it heard; "
            "run this command again in a minute"
        )
    lines.append(
        "  submit the grid again to continue them; where they stand: "
        f"{command_name('jobs.status')} {folder.name}"
    )
    return "\n".join(lines)


def cancel_runs(folder: GridFolder, run_ids: Iterable[str], poller: JobPoller) -> StopRequest:
    """Ask the schedulers to stop the jobs of `run_ids`, after writing so to the journal.

    Returns:
        The active runs that this stops: those that were named and have not ended meanwhile, and
        those that share a job with one of them.
    """
    with Journal(folder).held() as journal:
        reconcile(journal)
        asked = asked_runs(folder, journal.submissions())
        states = read_states(folder, poller.states)
        record_endings(journal, states.values())
        active = [status for status in states.values() if _is_in_queue(status)]
        wanted = set(run_ids)
        elements = {_element(asked[status.run_id]) for status in active if status.run_id in wanted}
        named = [status for status in active if _element(asked[status.run_id]) in elements]
        journal.cancel(_by_tag(elements))
        handles = list(dict.fromkeys(status.handle for status in named if status.handle))
        poller.forget(handles)
        left = registry.cancel(handles)
    return StopRequest(
        [status for status in named if status.handle not in left],
        [status for status in named if status.handle in left],
    )


def _mates(named: Sequence[RunStatus], runs: Iterable[RunStatus]) -> list[RunStatus]:
    """Return the active runs that share a job with the named ones."""
    ids = {status.run_id for status in named}
    shared = {status.handle for status in named if status.in_job > 1}
    found = []
    for status in runs:
        shares_job = status.in_job > 1 and status.handle in shared
        if status.state.is_active and shares_job and status.run_id not in ids:
            found.append(status)
    return found


def _is_in_queue(status: RunStatus) -> bool:
    """Return whether a run has a place: also one that waits there for what did not end well."""
    return status.state.is_active or status.waits_in_vain


def _state_in_queue(status: RunStatus) -> RunState:
    return RunState.QUEUED if status.waits_in_vain else status.state


def _element(run: Asked) -> tuple[str, int]:
    return run.submission.tag, run.index


def _by_tag(elements: Iterable[tuple[str, int]]) -> Mapping[str, list[int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for tag, index in sorted(elements):
        indices[tag].append(index)
    return indices


def _tally(statuses: Sequence[RunStatus]) -> str:
    """Render a number of runs: `3 queued and 2 running runs`."""
    parts = []
    for state in (RunState.QUEUED, RunState.RUNNING):
        number = sum(_state_in_queue(status) is state for status in statuses)
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
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=True)


if __name__ == "__main__":
    sys.exit(cli())
