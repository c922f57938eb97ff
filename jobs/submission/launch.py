"""From chosen runs to running jobs: on a cluster, where they wait by themselves, or on this machine, attended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anlp.core.errors import EXIT_OK
from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from jobs.common.units import count
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.containers.image import prepare_image
from jobs.runs.options import SubmitOptions
from jobs.runs.status import Query, Redo
from jobs.schedulers import registry
from jobs.schedulers.base import Scheduler
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.profiles import load_profile
from jobs.schedulers.site import fill_limits
from jobs.submission.batching import SubmissionStage
from jobs.submission.foreground import ForegroundRun
from jobs.submission.submitter import SubmittedBatch, Submitter, writing_to
from jobs.views.plan import say_nothing_to_do, say_taken_meanwhile

NO_ASKS: Mapping[str, Resources] = {}


def submit_specs(
    folder: GridFolder,
    specs: Sequence[RunSpec],
    target: SubmitOptions,
    *,
    redo: Redo,
    asks: Mapping[str, Resources] = NO_ASKS,
    query: Query = registry.states,
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
    name = registry.resolve_name(
        target.on, None if target.profile is None else load_profile(target.profile)
    )
    if site := registry.site_of(name, target.profile):
        target = replace(target, resources=fill_limits(site, target.resources))
        asks = {run_id: fill_limits(site, ask) for run_id, ask in asks.items()}
    tasks = {spec.task for spec in specs}
    target, container = _in_image(
        folder, target, asks, tasks, leaves_machine=name != registry.LOCAL
    )
    desk = Submitter(folder, target, container, redo, asks, query)
    pack = target.packing.pack
    scheduler = registry.get_scheduler(
        name, slots=target.slots, profile=target.profile, container=container, pack=pack
    )
    if isinstance(scheduler, LocalScheduler):
        return ForegroundRun(desk).run(specs, scheduler)
    return _hand_to_cluster(desk, specs, scheduler)


def _hand_to_cluster(desk: Submitter, specs: Sequence[RunSpec], scheduler: Scheduler) -> int:
    """All waves under one lock; those behind the canaries wait in the scheduler, not here."""
    with desk.held():
        plan, history = desk.plan(specs)
        if not plan.chosen:
            say_nothing_to_do(desk.folder, plan)
            return EXIT_OK
        canaries: tuple[str, ...] = ()
        taken = 0
        for wave in desk.waves(plan.chosen, history):
            after = () if wave.is_canary else canaries
            handed = desk.hand_over(scheduler, wave, history, desk.target.packing, after)
            _say_submitted(desk.folder, scheduler, handed, wave)
            taken += len(wave.specs)
            if handed.accepted < handed.batch.size:
                _say_left(len(plan.chosen) - taken)
                break
            canaries += tuple(job.native_id for job in handed.jobs) if wave.is_canary else ()
    say_taken_meanwhile(len(specs) - len(plan.chosen))
    print(f"  how they do: python -m jobs.status {desk.folder.name}")
    return EXIT_OK


def _in_image(
    folder: GridFolder,
    target: SubmitOptions,
    asks: Mapping[str, Resources],
    tasks: Collection[str],
    *,
    leaves_machine: bool,
) -> tuple[SubmitOptions, Container | None]:
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
            tasks=tasks,
            say=print,
        )
    return replace(
        target, options=replace(target.options, container=facts.for_options())
    ), container


def _say_submitted(
    folder: GridFolder, scheduler: Scheduler, handed: SubmittedBatch, wave: SubmissionStage
) -> None:
    runs, jobs = len(handed.specs), handed.batch.size
    of = f"{handed.accepted} of {jobs}"
    what = f"{of} runs" if runs == jobs else f"{of} jobs with {runs} runs"
    role = (
        ", the canaries"
        if wave.is_canary
        else ", once the canaries have passed"
        if handed.batch.after
        else ""
    )
    print(f"{folder.name}: {what} are with {scheduler.name}{role}")
    for note in scheduler.notes:
        print(f"  note: {note}")


def _say_left(runs: int) -> None:
    if runs:
        print(f"  {count(runs, 'more run')} of this grid wait for the next submit")
