"""From chosen runs to running jobs: plan under the grid's lock, write the batch, journal, submit, follow."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anlp.claim import HeldError
from anlp.errors import EXIT_OK, SchedulerError, UserError
from anlp.record import Element, GridFolder, RunOptions, RunState, options_from_json, read_jsonl, write_jsonl
from anlp.spec import RunSpec
from jobs.adoption import adopt
from jobs.follow import follow
from jobs.journal import Journal, new_tag
from jobs.plan import Plan, make_plan, redo_of
from jobs.resources import Resources, parse_memory, parse_walltime
from jobs.schedulers import choose
from jobs.schedulers.base import Batch, Scheduler
from jobs.schedulers.local import LocalScheduler
from jobs.state import Redo, RunStatus, read_states

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how runs are to be carried out."""

    on: str = "auto"
    slots: int | None = None  # local: how many at a time; None: as many as the machine has cores or GPUs for
    resources: Resources = field(default_factory=Resources)
    options: RunOptions = field(default_factory=RunOptions)
    max_parallel: int | None = None  # clusters: at most so many at a time
    profile: str | None = None  # of the site
    quiet: bool = False


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where and how, shared by submit and retry."""
    group = parser.add_argument_group("where and how")
    group.add_argument("--on", default="auto", metavar="NAME", help=f"scheduler: {', '.join(choose.NAMES)}")
    group.add_argument(
        "--slots", type=_positive, metavar="N", help="local: runs at a time (default: one per core or GPU)"
    )
    group.add_argument("--time", metavar="T", help="time limit of each run, such as 30m or 2h")
    group.add_argument("--mem", metavar="M", help="memory limit of each run, such as 8G")
    group.add_argument("--gpus", type=_count, metavar="N", help="GPUs of each run")
    group.add_argument("--cpus", type=_positive, metavar="N", help="CPUs of each run")
    group.add_argument("--queue", "--partition", metavar="Q", help="queue (PBS) or partition (Slurm)")
    group.add_argument("--account", metavar="A", help="account or project that pays")
    group.add_argument("--qos", metavar="Q", help="Slurm: quality of service")
    group.add_argument("--profile", metavar="P", help="site profile: a name, or a file")
    group.add_argument("--max-parallel", type=_positive, metavar="N", help="clusters: at most N runs at a time")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="device of the runs (default: auto)")
    group.add_argument("--wandb", choices=("auto", "online", "offline", "disabled"), help="wandb mode of the runs")
    group.add_argument("-q", "--quiet", action="store_true", help="no live progress")


def override(target: Target, args: argparse.Namespace) -> Target:
    """`target` with what was given on the command line."""
    resources, options = target.resources, target.options
    if args.time is not None:
        resources = replace(resources, walltime_min=_parsed("--time", parse_walltime, args.time))
    if args.mem is not None:
        resources = replace(resources, mem_mib=_parsed("--mem", parse_memory, args.mem))
    named = {name: getattr(args, name) for name in ("gpus", "cpus", "queue", "account", "qos")}
    resources = replace(resources, **{name: value for name, value in named.items() if value is not None})
    if args.device is not None:
        options = replace(options, device=args.device)
    if args.wandb is not None:
        options = replace(options, wandb=replace(options.wandb, mode=args.wandb))
    return replace(
        target,
        on=args.on,
        slots=args.slots,
        resources=resources,
        options=options,
        max_parallel=args.max_parallel,
        profile=args.profile,
        quiet=args.quiet,
    )


def write_batch(folder: GridFolder, elements: Iterable[Element], tag: str) -> Batch:
    """The batch file of a submission, one line per element; call it under the grid's lock."""
    folder.batches.mkdir(parents=True, exist_ok=True)
    numbers = (path.stem for path in folder.batches.glob("*.jsonl"))
    number = max((int(stem) for stem in numbers if stem.isdecimal()), default=0) + 1
    path = folder.batches / f"{number}.jsonl"
    lines = [element.to_json() for element in elements]
    write_jsonl(path, lines)
    return Batch(tag, folder.name, path, len(lines))


def make_element(spec: RunSpec, status: RunStatus | None, options: RunOptions, redo: Redo) -> Element:
    """One run of a batch; what it is for (a search, a confirmation) stays what it was when it was first submitted."""
    purpose = options.purpose if status is None else status.purpose
    return Element((spec,), replace(options, redo=redo_of(status, redo), purpose=purpose))


def submit_specs(folder: GridFolder, specs: Sequence[RunSpec], target: Target, *, redo: Redo) -> int:
    """Submits those of `specs` that are missing, and follows them where the scheduler is this machine.

    The plan is made under the grid's lock: what another submit took a moment ago is not taken again.

    Returns:
        0, 1 if a run failed or was lost, 130 if it was stopped.

    Raises:
        SchedulerError: the scheduler did not take the batch.
        UserError: another command holds the grid and does not finish, or its folder cannot be written.
    """
    scheduler = choose.choose(target.on, slots=target.slots, profile=target.profile)
    journal = Journal(folder)
    with writing_to(folder), _locked(journal):
        adopt(journal)
        history = read_states(folder, choose.states)
        plan = make_plan(specs, history, redo)
        if not plan.chosen:
            say_nothing_to_do(folder, plan)
            return EXIT_OK
        options = replace(target.options, batch=new_tag())
        elements = [make_element(spec, history.get(spec.run_id), options, redo) for spec in plan.chosen]
        batch = replace(write_batch(folder, elements, options.batch), max_parallel=target.max_parallel)
        accepted = _hand_over(scheduler, journal, batch, target.resources, redo)
    if len(plan.chosen) < len(specs):
        print(f"{len(specs) - len(plan.chosen)} of these runs were taken by another submit meanwhile")
    if isinstance(scheduler, LocalScheduler):
        return follow(scheduler, journal, batch, plan.chosen, quiet=target.quiet)
    _say_submitted(folder, scheduler, batch, accepted)
    return EXIT_OK


def _say_submitted(folder: GridFolder, scheduler: Scheduler, batch: Batch, accepted: int) -> None:
    print(f"{folder.name}: {accepted} of {batch.size} runs are with {scheduler.name}")
    for note in scheduler.notes:
        print(f"  note: {note}")
    print(f"  how they do: python -m jobs.status {folder.name}")


def _hand_over(scheduler: Scheduler, journal: Journal, batch: Batch, resources: Resources, redo: Redo) -> int:
    """Submits between two lines of the journal, so that no job is ever without one; the number of elements accepted.

    Where an answer was lost, the journal stays open: the next command asks the scheduler what it really took (`adopt`).
    """
    journal.intend(batch, scheduler.name, redo, resources)
    try:
        handles = scheduler.submit(batch, resources, lambda job: journal.accepted(batch.tag, job))
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
    return len(handles)


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


def last_target(folder: GridFolder) -> Target:
    """How the grid was submitted last: its options and scheduler; resources are those of the defaults.

    Raises:
        UserError: nothing of this grid was ever submitted.
    """
    submissions = list(Journal(folder).submissions().values())
    if not submissions:
        raise UserError(f"{folder.name}: nothing was submitted yet; python -m jobs.submit FILE.yaml")
    line = next(read_jsonl(folder.path / submissions[-1].batch), None)
    options = options_from_json(line["options"]) if line else RunOptions()
    return Target(options=options, resources=submissions[-1].resources)


def say_nothing_to_do(folder: GridFolder, plan: Plan) -> None:
    """Why there is nothing to submit, and what can be done about it."""
    counts = plan.counts()
    print(f"nothing to submit: {', '.join(f'{count} {state.value}' for state, count in counts.items())}")
    if any(state.is_active for state in counts):
        print(f"  another submit is at the queued and running ones: python -m jobs.status {folder.name} --watch")
    if RunState.FAILED in counts or RunState.LOST in counts:
        print(f"  failed and lost runs are repeated by --retry; why they ended: python -m jobs.status {folder.name}")


def _parsed(option: str, parse: Callable[[str], Number], text: str) -> Number:
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _positive(text: str) -> int:
    number = _count(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return number


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)
