"""Turns chosen runs into jobs: on a cluster, or on this machine, where it waits for their end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anlp.console.verbs import command_name
from anlp.core.errors import EXIT_OK, UserError
from anlp.core.spec import RunSpec
from anlp.core.units import count
from anlp.records.folders import GridFolder
from anlp.tasks.user_code import is_program
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.containers.image import ImageUse, prepare_image
from jobs.runs.batches import Redo
from jobs.runs.journal import writing_to
from jobs.runs.options import SubmitOptions
from jobs.runs.status import Query
from jobs.schedulers import registry
from jobs.schedulers.base import Scheduler
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.profiles import load_profile
from jobs.schedulers.site import fill_limits
from jobs.submission.batching import SubmissionStage
from jobs.submission.foreground import ForegroundRun
from jobs.submission.own_image import program_in_image
from jobs.submission.program import uncopied_code
from jobs.submission.submitter import SubmittedBatch, Submitter
from jobs.views.plan import say_nothing_to_do, say_taken_meanwhile

HERE = Path(__file__).resolve().parents[2]  # the folder of the packages
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
    """Submit those of `specs` that are missing; on this machine, follow them to their end.

    The plan is made under the grid's lock: runs that another submit has just taken are left out.

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
        UserError: another command holds the grid, or its folder cannot be written.
    """
    check_current_folder(Path.cwd())
    name = registry.resolve_name(
        target.on, None if target.profile is None else load_profile(target.profile)
    )
    if site := registry.site_of(name, target.profile):
        target = replace(target, resources=fill_limits(site, target.resources))
        asks = {run_id: fill_limits(site, ask) for run_id, ask in asks.items()}
    tasks = {spec.task for spec in specs}
    target, container = _in_image(folder, target, asks, tasks, name)
    submitter = Submitter(folder, target, container, redo, asks, query)
    pack = target.packing.pack
    scheduler = registry.get_scheduler(
        name, slots=target.slots, profile=target.profile, container=container, pack=pack
    )
    if isinstance(scheduler, LocalScheduler):
        return ForegroundRun(submitter).run(specs, scheduler)
    return _submit_to_cluster(submitter, specs, scheduler)


def check_current_folder(folder: Path) -> None:
    """Refuse a folder in which the runs would not find their code: jobs begin where submit stood.

    Raises:
        UserError: something there hides the package `anlp`.
    """
    for name in ("anlp.py", "anlp/__init__.py"):
        hiding = folder / name
        if hiding.exists() and hiding.resolve() != HERE / name:
            raise UserError(
                f"{hiding}: hides the package anlp from runs that begin in this folder; rename it, "
                "or submit from another folder"
            )


def _submit_to_cluster(submitter: Submitter, specs: Sequence[RunSpec], scheduler: Scheduler) -> int:
    """Submit all stages under one lock; the scheduler holds those after the canaries."""
    with submitter.held():
        plan, history = submitter.plan(specs)
        if not plan.chosen:
            say_nothing_to_do(submitter.folder, plan)
            return EXIT_OK
        canaries: tuple[str, ...] = ()
        taken = 0
        for stage in submitter.stages(plan.chosen, history):
            after = () if stage.is_canary else canaries
            submitted = submitter.submit_stage(scheduler, stage, history, after)
            _say_submitted(submitter.folder, scheduler, submitted, stage)
            taken += len(stage.specs)
            if submitted.accepted < submitted.batch.size:
                _say_left(len(plan.chosen) - taken)
                break
            canaries += tuple(job.native_id for job in submitted.jobs) if stage.is_canary else ()
    say_taken_meanwhile(len(specs) - len(plan.chosen))
    print(f"  how they do: {command_name('jobs.status')} {submitter.folder.name}")
    return EXIT_OK


def _in_image(
    folder: GridFolder,
    target: SubmitOptions,
    asks: Mapping[str, Resources],
    tasks: Collection[str],
    scheduler: str,
) -> tuple[SubmitOptions, Container | None]:
    """Return the target with the facts about the image, and the container to start jobs in.

    Jobs of a program are not in its image: there the runner starts the program alone.
    """
    use = ImageUse(
        runs=folder.path,
        data=Path(target.options.data_dir),
        has_gpus=any(resources.gpus for resources in (target.resources, *asks.values())),
        leaves_machine=scheduler != registry.LOCAL,
        tasks=frozenset(tasks),
        folders=uncopied_code(folder, target),
        has_wandb=target.options.wandb.mode != "disabled",
        node_packages=registry.node_packages(scheduler),
    )
    if target.options.program and all(map(is_program, tasks)):
        with writing_to(folder):
            return program_in_image(folder, target, use, print), None
    if target.image is None:
        return replace(target, options=replace(target.options, container=None)), None
    with writing_to(folder):
        container, facts = prepare_image(target.image, use, print)
    return replace(
        target, options=replace(target.options, container=facts.for_options())
    ), container


def _say_submitted(
    folder: GridFolder, scheduler: Scheduler, submitted: SubmittedBatch, stage: SubmissionStage
) -> None:
    runs, jobs = len(submitted.specs), submitted.batch.size
    of = f"{submitted.accepted} of {jobs}"
    what = f"{of} runs" if runs == jobs else f"{of} jobs with {runs} runs"
    role = ""
    if stage.is_canary:
        role = ", the canaries"
    elif submitted.batch.after:
        role = ", once the canaries have passed"
    print(f"{folder.name}: {what} are with {scheduler.name}{role}")
    for note in scheduler.notes:
        print(f"  note: {note}")


def _say_left(runs: int) -> None:
    if runs:
        print(f"  {count(runs, 'more run')} of this grid wait for the next submit")
