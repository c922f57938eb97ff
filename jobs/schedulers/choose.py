"""Which scheduler answers for a job: by name, and by the handles of a grid."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from anlp.errors import UserError, did_you_mean
from jobs import profiles, shell
from jobs.container import Container
from jobs.machine import inspect, plan_slots
from jobs.profiles import Profile
from jobs.resources import Resources
from jobs.schedulers import pbs_answers
from jobs.schedulers.base import JobHandle, JobState, Scheduler
from jobs.schedulers.local import LocalScheduler
from jobs.schedulers.pbs import PbsScheduler
from jobs.schedulers.pbs_script import Start
from jobs.schedulers.pool_process import PoolOptions
from jobs.schedulers.slurm import SlurmScheduler
from jobs.schedulers.slurm_render import SlurmOptions

LOCAL = "local"
NAMES = ("auto", LOCAL, "slurm", "pbs")
INSIDE_A_JOB = ("SLURM_JOB_ID", "PBS_JOBID")  # a submit within a job uses what that job was given
MOST_SLOTS = 1024
PROBE_TIMEOUT_S = 10.0


def choose(
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
    name = resolve(name, site)
    if name == "slurm":
        return SlurmScheduler(_slurm_options(container, site), site)
    if name == "pbs":
        return PbsScheduler(site, None if container is None else Start(Path.cwd(), container=container))
    if container is None:
        return LocalScheduler(slots=slots)
    return LocalScheduler(slots=slots, pool=PoolOptions(container=container), pack=pack)


def _slurm_options(container: Container | None, site: Profile | None) -> SlurmOptions:
    if site is None:
        return SlurmOptions(container=container)
    return SlurmOptions(container=container, margin_s=round(site.warn_s), continuations=site.continuations)


def resolve(name: str, site: Profile | None) -> str:
    """The name of one scheduler, for `auto` as well; raises as `choose` does."""
    if name not in NAMES:
        raise UserError(f"--on: no scheduler {name!r}{did_you_mean(name, NAMES)}")
    if site is not None and name not in ("auto", site.scheduler):
        raise UserError(f"--on {name}: the profile {site.name} is for {site.scheduler}; leave one of the two out")
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
    answer = shell.run(["scontrol", "ping"], timeout_s=PROBE_TIMEOUT_S)
    return answer.code == 0 or " is DOWN" in answer.out


def _has_pbs_server() -> bool:
    """Whether there is one, up, down, or asking for a password: Grid Engine has a `qstat` that knows no `-B`."""
    answer = shell.run(["qstat", "-B"], timeout_s=PROBE_TIMEOUT_S)
    return answer.code == 0 or pbs_answers.is_away(answer)


def states(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    """State of jobs of any schedulers, with one query for each scheduler."""
    found: dict[JobHandle, JobState] = {}
    for name, group in _by_scheduler(jobs).items():
        found.update(choose(name).states(group))
    return found


def cancel(jobs: Sequence[JobHandle]) -> None:
    """Asks each scheduler to stop its own."""
    for name, group in _by_scheduler(jobs).items():
        choose(name).cancel(group)


def _by_scheduler(jobs: Sequence[JobHandle]) -> Mapping[str, list[JobHandle]]:
    groups: dict[str, list[JobHandle]] = defaultdict(list)
    for job in jobs:
        groups[job.scheduler].append(job)
    return groups


def describe(
    name: str,
    slots: int | None,
    resources: Resources,
    profile: str | None = None,
    max_parallel: int | None = None,
    pack: int = 1,
    chain: int = 1,
) -> tuple[int | None, str]:
    """How many runs go at a time (None: as many as the cluster lets), and where, in words.

    Runs share jobs where `pack` go at the same time in each, or `chain` one after the other.

    Raises:
        UserError: no such scheduler, or the machine cannot give what a run asks for.
    """
    scheduler = choose(name, slots=slots, profile=profile)
    if scheduler.name != LOCAL:
        shared = f" in jobs of {pack * chain}, {pack} at a time" if pack * chain > 1 else ""
        most = f", at most {max_parallel} {'jobs ' if shared else ''}at a time" if max_parallel else ""
        return max_parallel and max_parallel * pack, f"to {scheduler.name}{shared}{most}"
    machine = inspect(os.environ, with_gpus=resources.gpus > 0)
    plan = plan_slots(resources, machine, MOST_SLOTS, asked=slots, pack=pack)
    device = "GPU" if any(plan.devices) else "CPU"
    return plan.slots, f"on this machine, {plan.slots} at a time ({device})"
