"""From chosen runs to running jobs: plan under the grid's lock, write the batches, journal, submit, follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from anlp.claim import HeldError
from anlp.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED, SchedulerError, UserError
from anlp.record import Element, GridFolder, RunState, write_jsonl
from anlp.spec import RunSpec
from jobs.adoption import adopt
from jobs.container import Container
from jobs.endings import find_due, record_endings
from jobs.failures import FAILURES
from jobs.follow import follow
from jobs.image import prepare_image
from jobs.journal import Journal, new_tag
from jobs.packing import ALONE, Packing, make_elements
from jobs.plan import Plan, make_plan
from jobs.profiles import load_profile
from jobs.resources import Resources
from jobs.schedulers import choose
from jobs.schedulers.base import Batch, Job, Scheduler
from jobs.schedulers.local import LocalScheduler
from jobs.screen import count
from jobs.state import Query, Redo, RunStatus, read_states
from jobs.target import Target
from jobs.waves import Wave, make_waves, passed_models

NO_ASKS: Mapping[str, Resources] = {}
CHAIN_SAVES_NOTHING = "chain: changes nothing on this machine, where all runs share one start anyway"


def submit_specs(
    folder: GridFolder,
    specs: Sequence[RunSpec],
    target: Target,
    *,
    redo: Redo,
    asks: Mapping[str, Resources] = NO_ASKS,
    query: Query = choose.states,
) -> int:
    """Submits those of `specs` that are missing, and follows them where the scheduler is this machine.

    The plan is made under the grid's lock: what another submit took a moment ago is not taken again.

    Args:
        folder: the grid's.
        specs: the runs.
        target: where and how.
        redo: which earlier results are set aside.
        asks: what single runs ask for, by run id, instead of the target's resources.
        query: asks schedulers for states.

    Returns:
        0, 1 if a run failed or was lost, 130 if it was stopped.

    Raises:
        SchedulerError: the scheduler did not take the batch.
        UserError: another command holds the grid and does not finish, or its folder cannot be written.
    """
    name = choose.resolve(target.on, None if target.profile is None else load_profile(target.profile))
    target, container = _in_image(folder, target, asks, leaves_machine=name != choose.LOCAL)
    desk = _Desk(folder, target, container, redo, asks, query)
    pack = target.packing.pack
    scheduler = choose.choose(name, slots=target.slots, profile=target.profile, container=container, pack=pack)
    if isinstance(scheduler, LocalScheduler):
        return desk.run_here(specs, scheduler)
    return desk.hand_to_cluster(specs, scheduler)


@dataclass(frozen=True, slots=True)
class _Handed:
    """A batch that a scheduler took."""

    batch: Batch
    specs: tuple[RunSpec, ...]
    jobs: tuple[Job, ...]

    @property
    def accepted(self) -> int:
        """Elements taken; fewer than the batch has where a limit was reached."""
        return sum(job.size for job in self.jobs)


@dataclass(frozen=True, slots=True)
class _Desk:
    """One submission of runs of one grid, from the plan to the jobs."""

    folder: GridFolder
    target: Target
    container: Container | None
    redo: Redo
    asks: Mapping[str, Resources]
    query: Query
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "journal", Journal(self.folder))

    def hand_to_cluster(self, specs: Sequence[RunSpec], scheduler: Scheduler) -> int:
        """All waves under one lock; those behind the canaries wait in the scheduler, not here."""
        with writing_to(self.folder), _locked(self.journal):
            plan, history = self._plan(specs)
            if not plan.chosen:
                say_nothing_to_do(self.folder, plan)
                return EXIT_OK
            canaries: tuple[str, ...] = ()
            taken = 0
            for wave in self._waves(plan.chosen, history):
                after = () if wave.is_canary else canaries
                handed = self._hand_over(scheduler, wave, history, self.target.packing, after)
                _say_submitted(self.folder, scheduler, handed, wave)
                taken += len(wave.specs)
                if handed.accepted < handed.batch.size:
                    _say_left(len(plan.chosen) - taken)
                    break
                canaries += tuple(job.native_id for job in handed.jobs) if wave.is_canary else ()
        _say_taken_meanwhile(len(specs) - len(plan.chosen))
        print(f"  how they do: python -m jobs.status {self.folder.name}")
        return EXIT_OK

    def run_here(self, specs: Sequence[RunSpec], scheduler: LocalScheduler) -> int:
        """Wave by wave, each to its end; behind a canary that failed nothing is run."""
        if self.target.packing.chain > 1:
            print(f"{self.folder.name}: note: {CHAIN_SAVES_NOTHING}")
        history = read_states(self.folder, self.query) if self.target.canary else {}
        waves = self._waves(specs, history)
        canaries = [wave for wave in waves if wave.is_canary]
        others = waves[len(canaries) :]
        launchers = chain([scheduler], iter(self._make_launcher, None))
        code = self._run_all(canaries, launchers)
        if code:
            rest = sum(len(wave.specs) for wave in others)
            why = "a canary failed" if code == EXIT_RUNS_FAILED else "the canaries were stopped"
            print(f"{self.folder.name}: {why}, so the other {count(rest, 'run')} did not begin; any submit takes them")
            return code
        ended = self._run_all(others, launchers)
        if code is None and ended is None:
            history = read_states(self.folder, self.query)
            say_nothing_to_do(self.folder, make_plan(specs, history, self.redo))
        return ended or EXIT_OK

    def _run_all(self, waves: Sequence[Wave], launchers: Iterator[LocalScheduler]) -> int | None:
        """Their exit code: 1 if a run failed, 130 as soon as they were stopped; None where nothing was left to do."""
        codes = []
        for wave in waves:
            code = self._run(wave, launchers)
            if code is not None:
                codes.append(code)
            if code == EXIT_INTERRUPTED:
                break
        return max(codes, default=None)

    def _run(self, wave: Wave, launchers: Iterator[LocalScheduler]) -> int | None:
        """Follows a wave to its end, with what its machine ended repeated as often as the grid asks (`retries`)."""
        code = self._run_once(wave, launchers, again=False)
        if code != EXIT_RUNS_FAILED or not self.target.options.retries:
            return code
        while (again := self._run_once(wave, launchers, again=True)) is not None:
            if again == EXIT_INTERRUPTED:
                return again
        history = read_states(self.folder, self.query)
        failed = any(history[spec.run_id].state in FAILURES for spec in wave.specs if spec.run_id in history)
        return EXIT_RUNS_FAILED if failed else EXIT_OK

    def _run_once(self, wave: Wave, launchers: Iterator[LocalScheduler], *, again: bool) -> int | None:
        """Follows what is missing of a wave, or `again` what is due of it; None where there is nothing of the kind."""
        with writing_to(self.folder), _locked(self.journal):
            plan, history = self._plan(wave.specs)
            chosen = tuple(spec for spec in plan.chosen if spec.run_id in plan.due) if again else plan.chosen
            if not chosen:
                return None
            launcher = next(launchers)
            handed = self._hand_over(launcher, replace(wave, specs=chosen), history, ALONE, ())
        if again:
            what = "1 run is" if len(chosen) == 1 else f"{len(chosen)} runs are"
            why = f"their machine ended them, not they themselves (retries: {self.target.options.retries})"
            print(f"{self.folder.name}: {what} repeated: {why}")
        else:
            _say_taken_meanwhile(len(wave.specs) - len(chosen))
        return follow(launcher, self.journal, handed.batch, handed.specs, quiet=self.target.quiet)

    def _make_launcher(self) -> LocalScheduler:
        pack = self.target.packing.pack
        launcher = choose.choose(choose.LOCAL, slots=self.target.slots, container=self.container, pack=pack)
        if not isinstance(launcher, LocalScheduler):
            raise TypeError(f"{choose.LOCAL}: expected the local scheduler, got {type(launcher).__name__}")
        return launcher

    def _plan(self, specs: Sequence[RunSpec]) -> tuple[Plan, Mapping[str, RunStatus]]:
        """What is to be done now; how the rest ended goes on record, since schedulers forget it."""
        adopt(self.journal)
        history = read_states(self.folder, self.query)
        record_endings(self.journal, history.values())
        due = find_due(self.journal, history, self.target.options.retries)
        return make_plan(specs, history, self.redo, due), history

    def _waves(self, specs: Sequence[RunSpec], history: Mapping[str, RunStatus]) -> list[Wave]:
        passed = passed_models(history.values())
        return make_waves(specs, self.target.resources, self.asks, canary=self.target.canary, passed=passed)

    def _hand_over(
        self,
        scheduler: Scheduler,
        wave: Wave,
        history: Mapping[str, RunStatus],
        packing: Packing,
        after: tuple[str, ...],
    ) -> _Handed:
        packing = ALONE if wave.is_canary else packing.fit(len(wave.specs))
        options = replace(self.target.options, batch=new_tag())
        elements = make_elements(wave.specs, history, options, self.redo, packing, wave.resources.mem_mib)
        batch = replace(
            write_batch(self.folder, elements, options.batch),
            max_parallel=self.target.max_parallel,
            after=after,
            apart=wave.is_canary,
        )
        specs = tuple(spec for element in elements for spec in element.specs)
        jobs = _submit(scheduler, self.journal, batch, packing.ask(wave.resources), wave.resources, self.redo)
        return _Handed(batch, specs, tuple(jobs))


def _in_image(
    folder: GridFolder, target: Target, asks: Mapping[str, Resources], *, leaves_machine: bool
) -> tuple[Target, Container | None]:
    """The target with what runs should know of their image, and the image ready to be started."""
    if target.image is None:
        return replace(target, options=replace(target.options, container=None)), None
    with writing_to(folder):
        container, facts = prepare_image(
            target.image,
            runs=folder.path,
            data=Path(target.options.data_dir),
            has_gpus=any(resources.gpus for resources in (target.resources, *asks.values())),
            leaves_machine=leaves_machine,
            say=print,
        )
    return replace(target, options=replace(target.options, container=facts.for_options())), container


def write_batch(folder: GridFolder, elements: Iterable[Element], tag: str) -> Batch:
    """The batch file of a submission, one line per element; call it under the grid's lock."""
    folder.batches.mkdir(parents=True, exist_ok=True)
    numbers = (path.stem for path in folder.batches.glob("*.jsonl"))
    number = max((int(stem) for stem in numbers if stem.isdecimal()), default=0) + 1
    path = folder.batches / f"{number}.jsonl"
    lines = [element.to_json() for element in elements]
    write_jsonl(path, lines)
    return Batch(tag, folder.name, path, len(lines))


def _submit(
    scheduler: Scheduler, journal: Journal, batch: Batch, resources: Resources, each: Resources, redo: Redo
) -> list[Job]:
    """Submits between two lines of the journal, so that no job is ever without one; the jobs that were accepted.

    Where an answer was lost, the journal stays open: the next command asks the scheduler what it really took (`adopt`).
    """
    jobs: list[Job] = []

    def accepted(job: Job) -> None:
        journal.accepted(batch.tag, job)
        jobs.append(job)

    journal.intend(batch, scheduler.name, redo, resources, each)
    try:
        scheduler.submit(batch, resources, accepted)
    except SchedulerError as error:
        if error.transient:
            raise SchedulerError(
                f"{error}\nWhether it took the jobs is not known: submit again later; that asks first and doubles none",
                transient=True,
            ) from error
        journal.refused(batch.tag, str(error))
        raise
    except OSError:  # the journal cannot be written: nobody would follow local jobs, and those of a cluster are found
        if isinstance(scheduler, LocalScheduler):
            scheduler.close()
        raise
    journal.answered(batch.tag)
    return jobs


def _say_submitted(folder: GridFolder, scheduler: Scheduler, handed: _Handed, wave: Wave) -> None:
    runs, jobs = len(handed.specs), handed.batch.size
    of = f"{handed.accepted} of {jobs}"
    what = f"{of} runs" if runs == jobs else f"{of} jobs with {runs} runs"
    role = ", the canaries" if wave.is_canary else ", once the canaries have passed" if handed.batch.after else ""
    print(f"{folder.name}: {what} are with {scheduler.name}{role}")
    for note in scheduler.notes:
        print(f"  note: {note}")


def _say_left(runs: int) -> None:
    if runs:
        print(f"  {count(runs, 'more run')} of this grid wait for the next submit")


def _say_taken_meanwhile(runs: int) -> None:
    if runs:
        print(f"{runs} of these runs were taken by another submit meanwhile")


@contextmanager
def writing_to(folder: GridFolder) -> Iterator[None]:
    """Turns what a full, read-only or forbidden disk says into words.

    Raises:
        UserError: a file of the grid cannot be written.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(
            f"{folder.path}: cannot be written ({why}); make room, or set ANLP_RUNS to another folder"
        ) from error


@contextmanager
def _locked(journal: Journal) -> Iterator[None]:
    try:
        with journal.locked():
            yield
    except HeldError as error:
        name = journal.folder.name
        raise UserError(f"{name}: another command is submitting this grid ({error}); try again") from None


def say_nothing_to_do(folder: GridFolder, plan: Plan) -> None:
    """Why there is nothing to submit, and what can be done about it."""
    counts = plan.counts()
    print(f"nothing to submit: {', '.join(f'{count} {state.value}' for state, count in counts.items())}")
    if any(state.is_active for state in counts):
        print(f"  another submit is at the queued and running ones: python -m jobs.status {folder.name} --watch")
    if RunState.FAILED in counts or RunState.LOST in counts:
        print(f"  failed and lost runs are repeated by --retry; why they ended: python -m jobs.status {folder.name}")
