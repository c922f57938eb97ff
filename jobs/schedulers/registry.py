"""Choose which scheduler answers for a job: by name, and by the handles of a grid."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from anlp.core.errors import UserError, did_you_mean
from jobs.containers.apptainer import Container
from jobs.schedulers import plugins, profiles
from jobs.schedulers.base import Job, JobHandle, JobState, Scheduler, Setup
from jobs.schedulers.site import Profile

LOCAL = "local"
NAMES = ("auto", *plugins.BUILT_IN)
MOST_SLOTS = 1024
PRESET = "ANLP_ON"  # variable with what `auto` takes


def get_scheduler(
    name: str,
    *,
    slots: int | None = None,
    profile: str | None = None,
    container: Container | None = None,
    pack: int = 1,
) -> Scheduler:
    """Return the scheduler of that name.

    `auto` takes the profile's, else the one that answers here, else this machine.

    Args:
        name: a scheduler's, or `auto`.
        slots: local: how many elements at a time.
        profile: of the site.
        container: the image that elements run in; None: they run on the machine itself.
        pack: local: how many elements share a GPU, where `slots` does not say how many run.

    Raises:
        UserError: no such scheduler or profile, or they contradict each other.
    """
    site = None if profile is None else profiles.load_profile(profile)
    scheduler = plugins.find(resolve_name(name, site))
    prefixes = environment_prefixes() if container is not None else ()
    return scheduler.create(Setup(site, container, slots, pack, prefixes))


def resolve_name(name: str, site: Profile | None) -> str:
    """Return the name of one scheduler, for `auto` as well; raise as `get_scheduler` does.

    `auto` is the profile's, else what `ANLP_ON` names, else the one that answers here.
    """
    _check_name(name, "--on")
    if site is not None and name not in ("auto", site.scheduler):
        raise UserError(
            f"--on {name}: the profile {site.name} is for {site.scheduler}; "
            "leave one of the two out"
        )
    if name != "auto":
        return name
    if site is not None:
        return site.scheduler
    preset = _preset()
    if preset:
        _check_name(preset, PRESET)
    return preset or _found_here()


def _check_name(name: str, option: str) -> None:
    if name not in NAMES and name not in plugins.names():
        near = did_you_mean(name, ("auto", *plugins.names()))
        raise UserError(f"{option}: no scheduler {name!r}{near}")


def site_of(name: str, profile: str | None) -> Profile | None:
    """Return the profile that holds for a scheduler: the named one, else its default one."""
    if profile is None:
        profile = plugins.find(name).default_profile
    return profiles.load_profile(profile) if profile else None


def label(name: str) -> str:
    """Return what screens call a scheduler: its name, and whether it is experimental."""
    return f"{name} (experimental)" if plugins.find(name).is_experimental else name


def can_exclude_nodes(name: str) -> bool:
    """Return whether jobs of that scheduler can be kept off some nodes."""
    try:
        return plugins.find(name).can_exclude_nodes
    except UserError:  # of a plug-in that is gone
        return False


def node_packages(name: str) -> tuple[str, ...]:
    """Return the packages that the scheduler's own code on a node imports."""
    try:
        return plugins.find(name).node_packages
    except UserError:  # of a plug-in that is gone
        return ()


def output_path(scheduler: str, batch: Path, job: Job, index: int) -> Path | None:
    """Return the file with what an element of a job printed, None where there is none."""
    try:
        return plugins.find(scheduler).output_path(batch, job, index)
    except UserError:  # of a plug-in that is gone
        return None


def environment_prefixes() -> tuple[str, ...]:
    """Return the prefixes of all schedulers' variables."""
    return tuple(sorted({prefix for each in _known() for prefix in each.environment_prefixes}))


def job_variables() -> tuple[str, ...]:
    """Return the variables that say that this process runs within a job."""
    return tuple(each.job_variable for each in _known() if each.job_variable)


def titles_with(resource: str) -> tuple[str, ...]:
    """Return the titles of the clusters' schedulers that take a field of `Resources`.

    Nothing where all of them do.
    """
    clusters = [each for each in plugins.built_in() if each.name != LOCAL]
    with_it = tuple(each.title for each in clusters if resource not in each.unsupported)
    return () if len(with_it) == len(clusters) else with_it


def _known() -> Iterator[type[Scheduler]]:
    """Return all schedulers; the fault of a broken plug-in is said, and the plug-in left out."""
    for name in plugins.names():
        found = _find_or_say(name)
        if found is not None:
            yield found


def _find_or_say(name: str) -> type[Scheduler] | None:
    try:
        return plugins.find(name)
    except UserError as error:
        print(error, file=sys.stderr)
        return None


def _found_here() -> str:
    """Return the cluster whose login node this is; within a job, this machine.

    A submit within a job uses what that job was given.

    Raises:
        UserError: a cluster's commands are here and cannot be used.
    """
    if _surrounding_job():
        return LOCAL
    unusable: UserError | None = None
    for each in _known():
        answer = _ask_whether_here(each) if each.name != LOCAL else None
        if isinstance(answer, str):
            return answer
        unusable = unusable or answer
    if unusable is not None:
        raise unusable
    return LOCAL


def _ask_whether_here(scheduler: type[Scheduler]) -> str | UserError | None:
    """Return its name where it answers, and what is wrong where its commands cannot be used."""
    try:
        return scheduler.name if scheduler.is_here() else None
    except UserError as error:
        return error


def _surrounding_job() -> str:
    """Return the job that this process runs in, empty where it runs in none."""
    known = [each for each in _known() if each.name != LOCAL and each.job_variable]
    jobs = (
        f"job {os.environ[each.job_variable]} of {each.title}"
        for each in known
        if each.job_variable in os.environ
    )
    return next(jobs, "")


def note_of_machine(asked: str, resolved: str) -> str:
    """Return why runs train on this machine although it has a scheduler's commands.

    Args:
        asked: what the submit was asked for; only `auto` needs a word.
        resolved: what it stands for.
    """
    if asked != "auto" or resolved != LOCAL or _preset():
        return ""
    if job := _surrounding_job():
        return f"this is {job}: the runs train here, on what it was given"
    commands = ((each, getattr(each, "submit_command", "")) for each in _known())
    here = [
        (each.title, command) for each, command in commands if command and shutil.which(command)
    ]
    if not here:
        return ""
    title, command = here[0]
    return f"{command} is here, but no {title} answers: the runs train on this machine"


def _preset() -> str:
    """Return the scheduler that the environment names for `auto`, empty where it names none."""
    preset = os.environ.get(PRESET, "")
    return "" if preset == "auto" else preset


def states(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    """Return the state of jobs of any schedulers, with one query for each scheduler."""
    found: dict[JobHandle, JobState] = {}
    for name, group in _by_scheduler(jobs).items():
        found.update(get_scheduler(name).states(group))
    return found


def cancel(jobs: Sequence[JobHandle]) -> frozenset[JobHandle]:
    """Ask each scheduler to stop its own jobs; return those of which there is no sign of that."""
    unheeded: set[JobHandle] = set()
    for name, group in _by_scheduler(jobs).items():
        unheeded.update(get_scheduler(name).cancel(group) or ())
    return frozenset(unheeded)


def _by_scheduler(jobs: Sequence[JobHandle]) -> Mapping[str, list[JobHandle]]:
    groups: dict[str, list[JobHandle]] = defaultdict(list)
    for job in jobs:
        groups[job.scheduler].append(job)
    return groups
