"""A submission on this machine: wave by wave, each followed to its end, with what the machine ended repeated."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain

from anlp.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED
from anlp.core.lease import HeldError
from anlp.core.spec import RunSpec
from anlp.records import circuit_breaker
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import STATE_OF_OUTCOME, RunState, read_result
from jobs.common.units import count
from jobs.config.packing import ALONE
from jobs.runs.failures import FAILURES
from jobs.runs.journal import LOCK_PATIENCE_S, ExitRecord, Journal
from jobs.runs.plan import make_plan
from jobs.runs.status import HARMLESS, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Cause
from jobs.schedulers.local.events import ElementEnded, Event, Summary, Tick
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.submission.batching import SubmissionStage
from jobs.submission.submitter import Submitter
from jobs.views.plan import say_nothing_to_do, say_taken_meanwhile
from jobs.views.progress import ProgressScreen

CHAIN_SAVES_NOTHING = (
    "chain: changes nothing on this machine, where all runs share one start anyway"
)


@dataclass(frozen=True, slots=True)
class ForegroundRun:
    """Runs what a desk hands over; this process stays until all of it has ended."""

    desk: Submitter

    def run(self, specs: Sequence[RunSpec], scheduler: LocalScheduler) -> int:
        """Wave by wave, each to its end; behind a canary that failed nothing is run.

        Returns:
            0, 1 if a run failed or was lost, 130 if it was stopped.
        """
        if self.desk.target.packing.chain > 1:
            print(f"{self.desk.folder.name}: note: {CHAIN_SAVES_NOTHING}")
        history = read_states(self.desk.folder, self.desk.query) if self.desk.target.canary else {}
        waves = self.desk.waves(specs, history)
        canaries = [wave for wave in waves if wave.is_canary]
        others = waves[len(canaries) :]
        launchers = chain([scheduler], iter(self._make_launcher, None))
        code = self._run_all(canaries, launchers)
        if code:
            rest = sum(len(wave.specs) for wave in others)
            why = "a canary failed" if code == EXIT_RUNS_FAILED else "the canaries were stopped"
            left = f"the other {count(rest, 'run')} did not begin; any submit takes them"
            print(f"{self.desk.folder.name}: {why}, so {left}")
            return code
        ended = self._run_all(others, launchers)
        if code is None and ended is None:
            history = read_states(self.desk.folder, self.desk.query)
            say_nothing_to_do(self.desk.folder, make_plan(specs, history, self.desk.redo))
        return ended or EXIT_OK

    def _run_all(
        self, waves: Sequence[SubmissionStage], launchers: Iterator[LocalScheduler]
    ) -> int | None:
        """Their exit code: 1 if a run failed, 130 as soon as they were stopped; None where nothing was left to do."""
        codes = []
        for wave in waves:
            code = self._run_wave(wave, launchers)
            if code is not None:
                codes.append(code)
            if code == EXIT_INTERRUPTED:
                break
        return max(codes, default=None)

    def _run_wave(self, wave: SubmissionStage, launchers: Iterator[LocalScheduler]) -> int | None:
        """Follows a wave to its end, with what its machine ended repeated as often as the grid asks (`retries`)."""
        code = self._run_once(wave, launchers, again=False)
        if code != EXIT_RUNS_FAILED or not self.desk.target.options.retries:
            return code
        while (again := self._run_once(wave, launchers, again=True)) is not None:
            if again == EXIT_INTERRUPTED:
                return again
        history = read_states(self.desk.folder, self.desk.query)
        failed = any(
            history[spec.run_id].state in FAILURES for spec in wave.specs if spec.run_id in history
        )
        return EXIT_RUNS_FAILED if failed else EXIT_OK

    def _run_once(
        self, wave: SubmissionStage, launchers: Iterator[LocalScheduler], *, again: bool
    ) -> int | None:
        """Follows what is missing of a wave, or `again` what is due of it; None where there is nothing of the kind."""
        with self.desk.held():
            plan, history = self.desk.plan(wave.specs)
            chosen = (
                tuple(spec for spec in plan.chosen if spec.run_id in plan.due)
                if again
                else plan.chosen
            )
            if not chosen:
                return None
            launcher = next(launchers)
            handed = self.desk.hand_over(launcher, replace(wave, specs=chosen), history, ALONE)
        if again:
            what = "1 run is" if len(chosen) == 1 else f"{len(chosen)} runs are"
            why = f"their machine ended them, not they themselves (retries: {self.desk.target.options.retries})"
            print(f"{self.desk.folder.name}: {what} repeated: {why}")
        else:
            say_taken_meanwhile(len(wave.specs) - len(chosen))
        return follow(
            launcher, self.desk.journal, handed.batch, handed.specs, quiet=self.desk.target.quiet
        )

    def _make_launcher(self) -> LocalScheduler:
        pack = self.desk.target.packing.pack
        launcher = registry.get_scheduler(
            registry.LOCAL, slots=self.desk.target.slots, container=self.desk.container, pack=pack
        )
        if not isinstance(launcher, LocalScheduler):
            raise TypeError(
                f"{registry.LOCAL}: expected the local scheduler, got {type(launcher).__name__}"
            )
        return launcher


def follow(
    scheduler: LocalScheduler,
    journal: Journal,
    batch: Batch,
    specs: Sequence[RunSpec],
    *,
    quiet: bool = False,
) -> int:
    """Runs what was submitted to the end.

    Returns:
        0, 1 if a run failed, was lost or could not write, 130 if it was stopped.

    Raises:
        SchedulerError: runs cannot be started on this machine.
    """
    endings = ExitRecorder(journal, batch, specs)
    with ProgressScreen(journal.folder, specs, quiet=quiet) as screen:

        def on_event(event: Event) -> None:
            endings.on_event(event)
            screen.on_event(event)

        try:
            summary = scheduler.follow(on_event, cancelled=lambda: journal.cancelled(batch.tag))
        finally:
            endings.write_rest()
    counts = count_states(journal.folder, specs, summary)
    _print_summary(journal.folder, counts, stopped=summary.stopped_by is not None)
    if tripped := circuit_breaker.read(batch.path):
        print(
            f"  held back: {tripped}; once that is mended, any submit of this grid takes the rest"
        )
    if summary.stopped_by is not None:
        return EXIT_INTERRUPTED
    if no_room := sum(ended.state.cause is Cause.DISK_FULL for ended in summary.ended.values()):
        print(
            f"  {count(no_room, 'run')} could not write to a folder: make room, then any submit of this grid goes on"
        )
    return (
        EXIT_RUNS_FAILED if counts[RunState.FAILED] or counts[RunState.LOST] or no_room else EXIT_OK
    )


class ExitRecorder:
    """Puts on record whatever ended without a result, many elements at a time: each writing costs a lock and a sync.

    The journal may be held by another command or its disk be full: then it is tried again, and following goes on.
    """

    def __init__(self, journal: Journal, batch: Batch, specs: Sequence[RunSpec]) -> None:
        self._journal = journal
        self._batch = batch
        self._specs = specs
        self._waiting: dict[int, ExitRecord] = {}

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
            print(
                f"{self._journal.folder.journal}: {said}they count as interrupted", file=sys.stderr
            )

    def _write(self, *, patience_s: float) -> None:
        if self._waiting:
            with self._journal.locked(patience_s):
                self._journal.all_ended(self._batch.tag, self._waiting)
                self._waiting = {}


def ending_of(ended: ElementEnded, folder: RunFolder) -> ExitRecord | None:
    """How an element ended without a result; None where there is one, or another process is at it."""
    if ended.state.cause is not None:
        return ExitRecord(ended.state.cause, ended.state.detail)
    if ended.exit_code in (EXIT_OK, EXIT_RUNS_FAILED) and read_result(folder) is None:
        detail = f"exit code {ended.exit_code} without a result: could it not write to its folder?"
        return ExitRecord(Cause.EXIT, detail)
    return None


def count_states(
    folder: GridFolder, specs: Sequence[RunSpec], summary: Summary
) -> Counter[RunState]:
    """How many runs of a submission that came to its end are in each state."""
    return Counter(
        _state(folder.run(spec.run_id), summary.ended.get(index))
        for index, spec in enumerate(specs)
    )


def _state(folder: RunFolder, ended: ElementEnded | None) -> RunState:
    if ended is None:
        return RunState.INTERRUPTED
    ending = ending_of(ended, folder)
    if ending is not None:
        return RunState.INTERRUPTED if ending.cause in HARMLESS else RunState.LOST
    result = read_result(folder)
    return (
        RunState.RUNNING if result is None else STATE_OF_OUTCOME[result.outcome]
    )  # another process is at it


def _print_summary(folder: GridFolder, counts: Counter[RunState], *, stopped: bool) -> None:
    parts = ", ".join(f"{counts[state]} {state.value}" for state in RunState if counts[state])
    print(f"{folder.name}: {parts}")
    if stopped:
        print("  stopped: any submit of this grid continues")
    if counts[RunState.FAILED] or counts[RunState.LOST]:
        print(
            f"  why: python -m jobs.status {folder.name}   again: python -m jobs.retry {folder.name}"
        )
    if counts[RunState.RUNNING]:
        print("  running: another process is at them; submit again when it has ended")
    if counts[RunState.DONE]:
        print(f"  table: python -m analysis.tables {folder.name}")
