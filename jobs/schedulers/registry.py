"""Which scheduler answers for a job: by name, and by the handles of a grid."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from anlp.core.errors import UserError, did_you_mean
from jobs.common import external
from jobs.containers.apptainer import Container
from jobs.schedulers import profiles
from jobs.schedulers.base import JobHandle, JobState, Scheduler
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.local.worker_pool import PoolOptions
from jobs.schedulers.pbs import parse
from jobs.schedulers.pbs.scheduler import PbsScheduler
from jobs.schedulers.pbs.script import Start
from jobs.schedulers.profiles import Profile
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from jobs.schedulers.slurm.script import SlurmOptions

LOCAL = "local"
NAMES = ("auto", LOCAL, "slurm", "pbs")
INSIDE_A_JOB = ("SLURM_JOB_ID", "PBS_JOBID")  # a submit within a job uses what that job was given
MOST_SLOTS = 1024
PROBE_TIMEOUT_S = 10.0


def get_scheduler(
    name: str,
    *,
    slots: int | None = None,
    profile: str | None = None,
    container: Container | None = None,
    pack: int = 1,
) -> Scheduler:
    """The scheduler of that name; `auto` takes the profile's, else the one that answers here, else this machine.

    Args:
        name: one of `NAMES`.
        slots: local: how many elements at a time.
        profile: of the site.
        container: the image that elements run in; None: they run on the machine itself.
        pack: local: how many elements share a GPU, where `slots` does not say how many there are at a time.

    Raises:
        UserError: no such scheduler or profile, or they contradict each other.
    """
    site = None if profile is None else profiles.load_profile(profile)
    name = resolve_name(name, site)
    if name == "slurm":
        return SlurmScheduler(_slurm_options(container, site), site)
    if name == "pbs":
        return PbsScheduler(
            site, None if container is None else Start(Path.cwd(), container=container)
        )
    if container is None:
        return LocalScheduler(slots=slots)
    return LocalScheduler(slots=slots, pool=PoolOptions(container=container), pack=pack)


def _slurm_options(container: Container | None, site: Profile | None) -> SlurmOptions:
    if site is None:
        return SlurmOptions(container=container)
    return SlurmOptions(
        container=container, margin_s=round(site.warn_s), continuations=site.continuations
    )


def resolve_name(name: str, site: Profile | None) -> str:
    """The name of one scheduler, for `auto` as well; raises as `choose` does."""
    if name not in NAMES:
        raise UserError(f"--on: no scheduler {name!r}{did_you_mean(name, NAMES)}")
    if site is not None and name not in ("auto", site.scheduler):
        raise UserError(
            f"--on {name}: the profile {site.name} is for {site.scheduler}; leave one of the two out"
        )
    if name != "auto":
        return name
    return site.scheduler if site is not None else _found_here()


def site_of(name: str, profile: str | None) -> Profile | None:
    """The profile that holds for the scheduler `name`: the one that was named, else PBS's generic one."""
    if profile is not None:
        return profiles.load_profile(profile)
    return profiles.load_profile("generic-pbs") if name == "pbs" else None


def _found_here() -> str:
    """The cluster whose login node this is: its commands are there, and its server answers."""
    if any(name in os.environ for name in INSIDE_A_JOB):
        return LOCAL
    if shutil.which("sbatch") and _has_controller():
        return "slurm"
    return "pbs" if shutil.which("qsub") and _has_pbs_server() else LOCAL


def _has_controller() -> bool:
    """Whether there is one, up or down: a login node must not train because its controller is away for a moment."""
    answer = external.run(["scontrol", "ping"], timeout_s=PROBE_TIMEOUT_S)
    return answer.code == 0 or " is DOWN" in answer.out


def _has_pbs_server() -> bool:
    """Whether there is one, up, down, or asking for a password: Grid Engine has a `qstat` that knows no `-B`."""
    answer = external.run(["qstat", "-B"], timeout_s=PROBE_TIMEOUT_S)
    return answer.code == 0 or parse.is_away(answer)


def states(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    """State of jobs of any schedulers, with one query for each scheduler."""
    found: dict[JobHandle, JobState] = {}
    for name, group in _by_scheduler(jobs).items():
        found.update(get_scheduler(name).states(group))
    return found


def cancel(jobs: Sequence[JobHandle]) -> None:
    """Asks each scheduler to stop its own."""
    for name, group in _by_scheduler(jobs).items():
        get_scheduler(name).cancel(group)


def _by_scheduler(jobs: Sequence[JobHandle]) -> Mapping[str, list[JobHandle]]:
    groups: dict[str, list[JobHandle]] = defaultdict(list)
    for job in jobs:
        groups[job.scheduler].append(job)
    return groups
