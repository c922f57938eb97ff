"""Follows a submission that runs on this machine: journals what ends without a result, shows progress, sums up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from anlp.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED
from anlp.record import STATE_OF_OUTCOME, GridFolder, RunState, read_result
from anlp.spec import RunSpec
from jobs.journal import Ending, Journal
from jobs.progress import Screen
from jobs.schedulers.base import Batch, Cause
from jobs.schedulers.events import ElementEnded, Event, Summary
from jobs.schedulers.local import LocalScheduler
from jobs.state import HARMLESS


def follow(
    scheduler: LocalScheduler, journal: Journal, batch: Batch, specs: Sequence[RunSpec], *, quiet: bool = False
) -> int:
    """Runs what was submitted to the end.

    Returns:
        0, 1 if a run failed or was lost, 130 if it was stopped.

    Raises:
        SchedulerError: runs cannot be started on this machine.
    """
    with Screen(journal.folder, specs, quiet=quiet) as screen:

        def on_event(event: Event) -> None:
            if isinstance(event, ElementEnded):
                _journal_ending(journal, batch, specs[event.index], event)
            screen.on_event(event)

        summary = scheduler.follow(on_event, cancelled=lambda: journal.cancelled(batch.tag))
    counts = count_states(journal.folder, specs, summary)
    _print_summary(journal.folder, counts, stopped=summary.stopped_by is not None)
    if summary.stopped_by is not None:
        return EXIT_INTERRUPTED
    return EXIT_RUNS_FAILED if counts[RunState.FAILED] or counts[RunState.LOST] else EXIT_OK


def count_states(folder: GridFolder, specs: Sequence[RunSpec], summary: Summary) -> Counter[RunState]:
    """How many runs of a submission that came to its end are in each state."""
    return Counter(_state(folder, spec, summary.ended.get(index)) for index, spec in enumerate(specs))


def _state(folder: GridFolder, spec: RunSpec, ended: ElementEnded | None) -> RunState:
    if ended is None:
        return RunState.INTERRUPTED
    if ended.state.cause is not None:
        return RunState.INTERRUPTED if ended.state.cause in HARMLESS else RunState.LOST
    result = read_result(folder.run(spec.run_id))
    return RunState.RUNNING if result is None else STATE_OF_OUTCOME[result.outcome]  # another process is at it


def _journal_ending(journal: Journal, batch: Batch, spec: RunSpec, ended: ElementEnded) -> None:
    """Whatever ended without leaving a result is on record, with its cause."""
    cause, detail = ended.state.cause, ended.state.detail
    if cause is None and ended.exit_code == EXIT_RUNS_FAILED:
        if read_result(journal.folder.run(spec.run_id)) is not None:
            return
        cause, detail = Cause.EXIT, "exit code 1 without a result: could it not write to its folder?"
    if cause is not None:
        with journal.locked():
            journal.ended(batch.tag, ended.index, Ending(cause, detail))


def _print_summary(folder: GridFolder, counts: Counter[RunState], *, stopped: bool) -> None:
    parts = ", ".join(f"{counts[state]} {state.value}" for state in RunState if counts[state])
    print(f"{folder.name}: {parts}")
    if stopped:
        print("  stopped: the same command continues")
    if counts[RunState.FAILED] or counts[RunState.LOST]:
        print(f"  why: python -m jobs.status {folder.name}   again: python -m jobs.retry {folder.name}")
    if counts[RunState.DONE]:
        print(f"  table: python -m analysis.tables {folder.name}")
