"""Submits planned runs: writes batches, records them in the journal, gives them to a scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from anlp.core.errors import SchedulerError
from anlp.core.files import make_folder
from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from jobs.config.packing import ALONE, Packing
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.runs.attempts import find_auto_retries, record_endings
from jobs.runs.batches import Redo
from jobs.runs.journal import Journal, new_tag
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import Plan, make_plan
from jobs.runs.recovery import reconcile
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Job, Scheduler
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.submission.batching import SubmissionStage, make_elements, make_stages, passed_models


@dataclass(frozen=True, slots=True)
class SubmittedBatch:
    """A batch that a scheduler took."""

    batch: Batch
    specs: tuple[RunSpec, ...]
    jobs: tuple[Job, ...]

    @property
    def accepted(self) -> int:
        """Elements taken; fewer than the batch has where a limit was reached."""
        return sum(job.size for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Submitter:
    """Plans and submits the runs of one submission of one grid.

    Args:
        folder: the grid's.
        target: where and how.
        container: the image that runs are started in, ready; None: none.
        redo: which earlier results are set aside.
        asks: what single runs ask for, by run id, instead of the target's resources.
        query: asks schedulers for states.
    """

    folder: GridFolder
    target: SubmitOptions
    container: Container | None
    redo: Redo
    asks: Mapping[str, Resources]
    query: Query

    @property
    def journal(self) -> Journal:
        """Return the grid's journal."""
        return Journal(self.folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the grid against every other command that changes it.

        Raises:
            UserError: another command holds it, or its folder cannot be written.
        """
        with self.journal.held():
            yield

    def plan(self, specs: Sequence[RunSpec]) -> tuple[Plan, Mapping[str, RunStatus]]:
        """Return the plan for these runs, and their states; call it while the grid is held.

        It records how earlier jobs ended, since schedulers forget that, and takes those off the
        queue that wait for a job which did not end well.

        Raises:
            SchedulerError: a scheduler does not take them off its queue.
        """
        reconcile(self.journal)
        history = _release(read_states(self.folder, self.query))
        record_endings(self.journal, history.values())
        due = find_auto_retries(self.journal, history, self.target.options.retries)
        return make_plan(specs, history, self.redo, due), history

    def stages(
        self, specs: Sequence[RunSpec], history: Mapping[str, RunStatus]
    ) -> list[SubmissionStage]:
        """Return the stages of these runs, in order; models with a passed canary need none."""
        passed = passed_models(history.values())
        return make_stages(
            specs, self.target.resources, self.asks, canary=self.target.canary, passed=passed
        )

    def submit_stage(
        self,
        scheduler: Scheduler,
        stage: SubmissionStage,
        history: Mapping[str, RunStatus],
        after: tuple[str, ...] = (),
    ) -> SubmittedBatch:
        """Write the batch of a stage and submit it; call it while the grid is held.

        Raises:
            SchedulerError: the scheduler did not take it.
        """
        packing = self._packing(scheduler, stage)
        options = replace(self.target.options, batch=new_tag())
        elements = make_elements(
            stage.specs, history, options, self.redo, packing, stage.resources.mem_mib
        )
        cluster = scheduler.cluster()
        batch = replace(
            write_batch(self.folder, elements, options.batch),
            max_parallel=self.target.max_parallel,
            after=after,
            apart=stage.is_canary,
            cluster=cluster,
        )
        specs = tuple(spec for element in elements for spec in element.specs)
        job = packing.ask(stage.resources)
        self.journal.intend(
            batch,
            scheduler.name,
            self.redo,
            job,
            stage.resources,
            self.target.profile,
        )
        jobs = _submit(scheduler, self.journal, batch, job)
        return SubmittedBatch(batch, specs, tuple(jobs))

    def _packing(self, scheduler: Scheduler, stage: SubmissionStage) -> Packing:
        """Return how many runs share a job; on this machine the scheduler packs runs by itself."""
        if stage.is_canary or isinstance(scheduler, LocalScheduler):
            return ALONE
        return self.target.packing.fit(len(stage.specs))


def _release(history: Mapping[str, RunStatus]) -> Mapping[str, RunStatus]:
    """Take off the queue what waits in vain, and return the states without such places.

    Raises:
        SchedulerError: a scheduler shows no sign that it heard.
    """
    waiting = [status.handle for status in history.values() if status.waits_in_vain]
    handles = list(dict.fromkeys(handle for handle in waiting if handle is not None))
    if not handles:
        return history
    if left := registry.cancel(handles):
        raise SchedulerError(
            f"{len(left)} jobs wait for one that has ended, and could not be taken off the queue; "
            "submit again in a minute",
            transient=True,
        )
    return {run_id: replace(status, waits_in_vain=False) for run_id, status in history.items()}


def write_batch(folder: GridFolder, elements: Iterable[Element], tag: str) -> Batch:
    """Write the batch file of a submission, a line per element; call it under the grid's lock."""
    make_folder(folder.batches)
    numbers = (path.stem for path in folder.batches.glob("*.jsonl"))
    number = max((int(stem) for stem in numbers if stem.isdecimal()), default=0) + 1
    path = folder.batches / f"{number}.jsonl"
    lines = [element.to_json() for element in elements]
    write_jsonl(path, lines)
    return Batch(tag, folder.name, path, len(lines))


def _submit(
    scheduler: Scheduler, journal: Journal, batch: Batch, resources: Resources
) -> list[Job]:
    """Submit after the journal's intent and before its answer, so that each job has its line.

    Where an answer was lost, the journal stays open: the next command asks the scheduler which jobs
    it took (`reconcile`).

    Returns:
        The accepted jobs.
    """
    jobs: list[Job] = []

    def accepted(job: Job) -> None:
        journal.accepted(batch.tag, job)
        jobs.append(job)

    try:
        scheduler.submit(batch, resources, accepted)
    except SchedulerError as error:
        if error.transient:
            raise SchedulerError(
                f"{error}\nWhether it took the jobs is not known: submit again later; "
                "that asks first and submits none twice",
                transient=True,
            ) from error
        journal.refused(batch.tag, str(error))
        raise
    except OSError:  # the journal cannot be written: stop local jobs; a cluster's are found later
        if isinstance(scheduler, LocalScheduler):
            scheduler.close()
        raise
    journal.answered(batch.tag)
    return jobs
