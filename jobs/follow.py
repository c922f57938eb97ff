"""Follows a submission that runs on this machine: journals what ends without a result, shows progress, sums up."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from anlp import breaker
from anlp.claim import HeldError
from anlp.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED
from anlp.record import STATE_OF_OUTCOME, GridFolder, RunFolder, RunState, read_result
from anlp.spec import RunSpec
from jobs.journal import LOCK_PATIENCE_S, Ending, Journal
from jobs.progress import Screen
from jobs.schedulers.base import Batch, Cause
from jobs.schedulers.events import ElementEnded, Event, Summary, Tick
from jobs.schedulers.local import LocalScheduler
from jobs.screen import count
from jobs.state import HARMLESS


def follow(
    scheduler: LocalScheduler, journal: Journal, batch: Batch, specs: Sequence[RunSpec], *, quiet: bool = False
) -> int:
    """Runs what was submitted to the end.

    Returns:
        0, 1 if a run failed, was lost or could not write, 130 if it was stopped.

    Raises:
        SchedulerError: runs cannot be started on this machine.
    """
    endings = Endings(journal, batch, specs)
    with Screen(journal.folder, specs, quiet=quiet) as screen:

        def on_event(event: Event) -> None:
            endings.on_event(event)
            screen.on_event(event)

        try:
            summary = scheduler.follow(on_event, cancelled=lambda: journal.cancelled(batch.tag))
        finally:
            endings.write_rest()
    counts = count_states(journal.folder, specs, summary)
    _print_summary(journal.folder, counts, stopped=summary.stopped_by is not None)
    if tripped := breaker.read(batch.path):
        print(f"  held back: {tripped}; once that is mended, any submit of this grid takes the rest")
    if summary.stopped_by is not None:
        return EXIT_INTERRUPTED
    if no_room := sum(ended.state.cause is Cause.NO_ROOM for ended in summary.ended.values()):
        print(f"  {count(no_room, 'run')} could not write to a folder: make room, then any submit of this grid goes on")
    return EXIT_RUNS_FAILED if counts[RunState.FAILED] or counts[RunState.LOST] or no_room else EXIT_OK


class Endings:
    """Puts on record whatever ended without a result, many elements at a time: each writing costs a lock and a sync.

    The journal may be held by another command or its disk be full: then it is tried again, and following goes on.
    """

    def __init__(self, journal: Journal, batch: Batch, specs: Sequence[RunSpec]) -> None:
        self._journal = journal
        self._batch = batch
        self._specs = specs
        self._waiting: dict[int, Ending] = {}

    def on_event(self, event: Event) -> None:
        """Remembers an element that ended; writes what is remembered when there is time."""
        if isinstance(event, ElementEnded):
            ending = ending_of(event, self._journal.folder.run(self._specs[event.index].run_id))
            if ending is not None:
                self._waiting[event.index] = ending
        elif isinstance(event, Tick):
            with suppress(HeldError, OSError):
                self._write(patience_s=0.0)

    def write_rest(self) -> None:
        """Writes what is left; says so where that is not possible."""
        try:
            self._write(patience_s=LOCK_PATIENCE_S)
        except (HeldError, OSError) as error:
            said = f"{len(self._waiting)} ended without a result, and that could not be written down ({error}); "
            print(f"{self._journal.folder.journal}: {said}they count as interrupted", file=sys.stderr)

    def _write(self, *, patience_s: float) -> None:
        if self._waiting:
            with self._journal.locked(patience_s):
                self._journal.all_ended(self._batch.tag, self._waiting)
                self._waiting = {}


def ending_of(ended: ElementEnded, folder: RunFolder) -> Ending | None:
    """How an element ended without a result; None where there is one, or another process is at it."""
    if ended.state.cause is not None:
        return Ending(ended.state.cause, ended.state.detail)
    if ended.exit_code in (EXIT_OK, EXIT_RUNS_FAILED) and read_result(folder) is None:
        detail = f"exit code {ended.exit_code} without a result: could it not write to its folder?"
        return Ending(Cause.EXIT, detail)
    return None


def count_states(folder: GridFolder, specs: Sequence[RunSpec], summary: Summary) -> Counter[RunState]:
    """How many runs of a submission that came to its end are in each state."""
    return Counter(_state(folder.run(spec.run_id), summary.ended.get(index)) for index, spec in enumerate(specs))


def _state(folder: RunFolder, ended: ElementEnded | None) -> RunState:
    if ended is None:
        return RunState.INTERRUPTED
    ending = ending_of(ended, folder)
    if ending is not None:
        return RunState.INTERRUPTED if ending.cause in HARMLESS else RunState.LOST
    result = read_result(folder)
    return RunState.RUNNING if result is None else STATE_OF_OUTCOME[result.outcome]  # another process is at it


def _print_summary(folder: GridFolder, counts: Counter[RunState], *, stopped: bool) -> None:
    parts = ", ".join(f"{counts[state]} {state.value}" for state in RunState if counts[state])
    print(f"{folder.name}: {parts}")
    if stopped:
        print("  stopped: any submit of this grid continues")
    if counts[RunState.FAILED] or counts[RunState.LOST]:
        print(f"  why: python -m jobs.status {folder.name}   again: python -m jobs.retry {folder.name}")
    if counts[RunState.RUNNING]:
        print("  running: another process is at them; submit again when it has ended")
    if counts[RunState.DONE]:
        print(f"  table: python -m analysis.tables {folder.name}")
