"""Carries out a submission on this machine: stage by stage, each to its end, with retries."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from anlp.console.verbs import command_name
from anlp.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED
from anlp.core.files import describe_fault
from anlp.core.lease import HeldError
from anlp.core.spec import RunSpec
from anlp.core.units import count
from anlp.records import circuit_breaker
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import RunState
from anlp.records.wandb_offline import project_url
from jobs.runs.failures import FAILURES
from jobs.runs.journal import LOCK_PATIENCE_S, ExitRecord, Journal
from jobs.runs.plan import make_plan
from jobs.runs.status import read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Cause
from jobs.schedulers.local.events import ElementEnded, Event, Summary, Tick
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.submission.batching import SubmissionStage
from jobs.submission.submitter import SubmittedBatch, Submitter
from jobs.views.plan import say_nothing_to_do, say_taken_meanwhile
from jobs.views.progress import ProgressScreen, standing_of

CHAIN_SAVES_NOTHING = (
    "chain: changes nothing on this machine, where all runs share one start anyway"
)


LauncherFactory = Callable[[], LocalScheduler]


@dataclass(frozen=True, slots=True)
class ForegroundRun:
    """Carries out runs on this machine; this process stays until all of them have ended."""

    submitter: Submitter

    def run(self, specs: Sequence[RunSpec], scheduler: LocalScheduler) -> int:
        """Run stage by stage, each to its end; after a canary that failed, run nothing.

        Args:
            specs: the runs.
            scheduler: carries out the first stage; later ones get a new one each.

        Returns:
            0, 1 if a run failed or was lost, 130 if it was stopped.
        """
        submitter = self.submitter
        if submitter.target.packing.chain > 1:
            print(f"{submitter.folder.name}: note: {CHAIN_SAVES_NOTHING}")
        history = read_states(submitter.folder, submitter.query) if submitter.target.canary else {}
        stages = submitter.stages(specs, history)
        canaries = [stage for stage in stages if stage.is_canary]
        others = stages[len(canaries) :]
        make_launcher = self._launchers_after(scheduler)
        code = self._run_stages(canaries, make_launcher)
        if code:
            self._say_not_begun(others, code)
            return code
        ended = self._run_stages(others, make_launcher)
        if code is None and ended is None:
            history = read_states(submitter.folder, submitter.query)
            say_nothing_to_do(submitter.folder, make_plan(specs, history, submitter.redo))
        return ended or EXIT_OK

    def _launchers_after(self, first: LocalScheduler) -> LauncherFactory:
        """Return a factory that gives `first`, then a new launcher each time."""
        unused = [first]

        def make_launcher() -> LocalScheduler:
            return unused.pop() if unused else self._new_launcher()

        return make_launcher

    def _say_not_begun(self, stages: Sequence[SubmissionStage], code: int) -> None:
        runs = count(sum(len(stage.specs) for stage in stages), "run")
        why = "a canary failed" if code == EXIT_RUNS_FAILED else "the canaries were stopped"
        print(
            f"{self.submitter.folder.name}: {why}, so the other {runs} did not begin; "
            "any submit takes them"
        )

    def _run_stages(
        self, stages: Sequence[SubmissionStage], make_launcher: LauncherFactory
    ) -> int | None:
        """Exit code: 1 if a run failed, 130 once stopped; None where nothing was left to do."""
        codes = []
        for stage in stages:
            code = self._run_stage(stage, make_launcher)
            if code is not None:
                codes.append(code)
            if code == EXIT_INTERRUPTED:
                break
        return max(codes, default=None)

    def _run_stage(self, stage: SubmissionStage, make_launcher: LauncherFactory) -> int | None:
        """Run a stage to its end, and repeat as often as the grid asks what its machine ended."""
        code = self._run_missing(stage, make_launcher)
        if code != EXIT_RUNS_FAILED or not self.submitter.target.options.retries:
            return code
        while (again := self._run_due(stage, make_launcher)) is not None:
            if again == EXIT_INTERRUPTED:
                return again
        history = read_states(self.submitter.folder, self.submitter.query)
        for spec in stage.specs:
            if spec.run_id in history and history[spec.run_id].state in FAILURES:
                return EXIT_RUNS_FAILED
        return EXIT_OK

    def _run_missing(self, stage: SubmissionStage, make_launcher: LauncherFactory) -> int | None:
        """Run what is missing of a stage; None where nothing is."""
        with self.submitter.held():
            plan, history = self.submitter.plan(stage.specs)
            if not plan.chosen:
                return None
            launcher = make_launcher()
            chosen = replace(stage, specs=plan.chosen)
            submitted = self.submitter.submit_stage(launcher, chosen, history)
        say_taken_meanwhile(len(stage.specs) - len(plan.chosen))
        return self._follow(launcher, submitted)

    def _run_due(self, stage: SubmissionStage, make_launcher: LauncherFactory) -> int | None:
        """Repeat the lost runs of a stage that are due (`retries`); None where none is."""
        with self.submitter.held():
            plan, history = self.submitter.plan(stage.specs)
            due = tuple(spec for spec in plan.chosen if spec.run_id in plan.due)
            if not due:
                return None
            launcher = make_launcher()
            submitted = self.submitter.submit_stage(launcher, replace(stage, specs=due), history)
        what = "1 run is" if len(due) == 1 else f"{len(due)} runs are"
        why = (
            "their machine ended them, not they themselves "
            f"(retries: {self.submitter.target.options.retries})"
        )
        print(f"{self.submitter.folder.name}: {what} repeated: {why}")
        return self._follow(launcher, submitted)

    def _follow(self, launcher: LocalScheduler, submitted: SubmittedBatch) -> int:
        quiet = self.submitter.target.quiet
        return follow(
            launcher, self.submitter.journal, submitted.batch, submitted.specs, quiet=quiet
        )

    def _new_launcher(self) -> LocalScheduler:
        target = self.submitter.target
        launcher = registry.get_scheduler(
            registry.LOCAL,
            slots=target.slots,
            container=self.submitter.container,
            pack=target.packing.pack,
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
    """Run what was submitted to the end.

    Returns:
        0, 1 if a run failed, was lost or could not write, 130 if it was stopped.

    Raises:
        SchedulerError: runs cannot be started on this machine.
    """
    endings = ExitRecorder(journal, batch, specs)
    with ProgressScreen(journal.folder, specs, batch.tag, quiet=quiet) as screen:

        def on_event(event: Event) -> None:
            endings.on_event(event)
            screen.on_event(event)

        try:
            summary = scheduler.follow(on_event, cancelled=lambda: journal.cancelled(batch.tag))
        finally:
            endings.write_rest()
    counts = count_states(journal.folder, specs, summary, batch.tag)
    _print_summary(journal.folder, counts, stopped=summary.stopped_by is not None)
    if tripped := circuit_breaker.read(batch.path):
        print(f"  held back: {tripped}; fix that, and any submit of this grid takes the rest")
    if summary.stopped_by is not None:
        return EXIT_INTERRUPTED
    stuck = _without_folder(journal.folder, specs, summary, batch.tag)
    for why in dict.fromkeys(stuck):
        print(
            f"  {count(stuck.count(why), 'run')}: {why}; any submit of this grid goes on from there"
        )
    if counts[RunState.FAILED] or counts[RunState.LOST] or stuck:
        return EXIT_RUNS_FAILED
    return EXIT_OK


def _without_folder(
    folder: GridFolder, specs: Sequence[RunSpec], summary: Summary, tag: str
) -> list[str]:
    """Return why each run was interrupted that could not write a file or lost its folder."""
    found = []
    for index, ended in summary.ended.items():
        if ended.state.cause in (Cause.DISK_FULL, Cause.REMOVED):
            standing, _ = standing_of(ended, folder.run(specs[index].run_id), tag)
            if standing.state is RunState.INTERRUPTED:
                found.append(standing.why)
    return found


class ExitRecorder:
    """Records what ended without a result, many elements at once: a write takes a lock and a sync.

    Where another command holds the journal, or its disk is full, it tries again later.
    """

    def __init__(self, journal: Journal, batch: Batch, specs: Sequence[RunSpec]) -> None:
        self._journal = journal
        self._batch = batch
        self._specs = specs
        self._waiting: dict[int, ExitRecord] = {}

    def on_event(self, event: Event) -> None:
        """Remember an element that ended; write what is remembered when there is time."""
        if isinstance(event, ElementEnded):
            run_id = self._specs[event.index].run_id
            ending = ending_of(event, self._journal.folder.run(run_id), self._batch.tag)
            if ending is not None:
                self._waiting[event.index] = ending
        elif isinstance(event, Tick):
            with suppress(HeldError, OSError):
                self._write(patience_s=0.0)

    def write_rest(self) -> None:
        """Write what is left; say so where that is not possible."""
        try:
            self._write(patience_s=LOCK_PATIENCE_S)
        except (HeldError, OSError) as error:
            print(
                f"{self._journal.folder.journal}: {len(self._waiting)} ended without a result, "
                f"and that could not be written down ({_reason(error)}); they count as interrupted",
                file=sys.stderr,
            )

    def _write(self, *, patience_s: float) -> None:
        if self._waiting:
            with self._journal.locked(patience_s):
                self._journal.all_ended(self._batch.tag, self._waiting)
                self._waiting = {}


def _reason(error: HeldError | OSError) -> str:
    return describe_fault(error) if isinstance(error, OSError) else str(error)


def ending_of(ended: ElementEnded, folder: RunFolder, tag: str) -> ExitRecord | None:
    """Return how an element ended without a result; None with one, or if it runs elsewhere."""
    standing, _ = standing_of(ended, folder, tag)
    if standing.cause is None:
        return None
    return ExitRecord(standing.cause, standing.detail)


def count_states(
    folder: GridFolder, specs: Sequence[RunSpec], summary: Summary, tag: str
) -> Counter[RunState]:
    """Return how many runs of a submission that came to its end are in each state."""
    return Counter(
        standing_of(summary.ended.get(index), folder.run(spec.run_id), tag)[0].state
        for index, spec in enumerate(specs)
    )


def _print_summary(folder: GridFolder, counts: Counter[RunState], *, stopped: bool) -> None:
    parts = ", ".join(f"{counts[state]} {state.value}" for state in RunState if counts[state])
    print(f"{folder.name}: {parts}")
    if stopped:
        print("  stopped: any submit of this grid continues")
    if counts[RunState.FAILED] or counts[RunState.LOST]:
        name = folder.name
        why, again = command_name("jobs.status"), command_name("jobs.retry")
        print(f"  why: {why} {name}   again: {again} {name}")
    if counts[RunState.RUNNING]:
        print("  running: another process is at them; submit again when it has ended")
    if counts[RunState.DONE]:
        print(f"  table: {command_name('analysis.tables')} {folder.name}")
    if url := project_url(folder):
        print(f"  wandb: {url}")
