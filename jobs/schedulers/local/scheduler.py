"""Run elements on this machine, as long as the submitting process stays to follow them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from anlp.core.errors import SchedulerError
from anlp.core.lease import Process
from anlp.records.files import read_jsonl
from anlp.tasks.user_code import is_program
from jobs.config.resources import CLUSTER_ONLY, Resources
from jobs.schedulers.base import (
    Batch,
    Cause,
    Job,
    JobHandle,
    JobState,
    Phase,
    Setup,
    report_to_none,
)
from jobs.schedulers.local.events import Event, Summary
from jobs.schedulers.local.slots import inspect, plan_slots
from jobs.schedulers.local.supervisor import Supervisor, Work
from jobs.schedulers.local.worker_pool import PoolOptions
from jobs.schedulers.site import Profile


class LocalScheduler:
    """Takes one submission; `follow` runs it and returns when everything ended or was stopped."""

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "this machine"
    is_experimental: ClassVar[bool] = False
    job_variable: ClassVar[str] = ""
    environment_prefixes: ClassVar[tuple[str, ...]] = ()
    can_exclude_nodes: ClassVar[bool] = False
    node_packages: ClassVar[tuple[str, ...]] = ()
    unsupported: ClassVar[frozenset[str]] = frozenset(CLUSTER_ONLY)
    profile_type: ClassVar[type[Profile] | None] = None
    default_profile: ClassVar[str] = ""

    def __init__(
        self, slots: int | None = None, *, pool: PoolOptions | None = None, pack: int = 1
    ) -> None:
        self._slots = slots
        self._pack = pack
        self._options = pool or PoolOptions()
        self._work: Work | None = None
        self._supervisor: Supervisor | None = None

    @classmethod
    def create(cls, setup: Setup) -> LocalScheduler:
        """Return a scheduler whose pool runs in the image, if there is one."""
        if setup.container is None:
            return cls(slots=setup.slots)
        container = setup.container.passing(setup.environment_prefixes)
        return cls(slots=setup.slots, pool=PoolOptions(container=container), pack=setup.pack)

    def cluster(self) -> str:
        """Return nothing: this machine is not a cluster."""
        return ""

    @classmethod
    def is_here(cls) -> bool:
        """Return that every machine has it."""
        return True

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return None: what a run prints is in its log."""
        del batch, job, index
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what people should know about the accepted submission: no GPU, little memory."""
        return self._work.plan.notes if self._work else ()

    @property
    def slots(self) -> int:
        """Return how many elements of the accepted submission run at a time."""
        return self._work.plan.slots if self._work else 0

    @property
    def is_closed(self) -> bool:
        """Return whether no pool runs."""
        return self._supervisor is None or self._supervisor.pool is None

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Accept `batch` and start to load what its elements need; they run in `follow`.

        Raises:
            SchedulerError: this machine cannot give what is asked for, or a submission was accepted
                before.
        """
        if self._work is not None:
            raise SchedulerError(
                f"local: this process already runs {self._work.batch.path}; submit from another one"
            )
        machine = inspect(os.environ, with_gpus=resources.gpus > 0)
        most = min(batch.size, batch.max_parallel or batch.size)
        plan = plan_slots(resources, machine, most, asked=self._slots, pack=self._pack)
        time_limit_s = None if resources.walltime_min is None else resources.walltime_min * 60
        native_id = Process.this().to_id()
        self._work = Work(batch, native_id, plan, (time_limit_s, resources.mem_mib))
        options = self._options
        if _starts_programs(batch.path):
            options = replace(options, modules=("anlp.runtime.program_run",), prepare=None)
        self._supervisor = Supervisor(self._work, options)
        self._supervisor.start()
        accepted(Job(native_id, 0, batch.size))
        return [JobHandle(self.name, native_id, index) for index in range(batch.size)]

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """Return how the own jobs stand; those of another launcher are alive as long as it is."""
        own = self._work.native_id if self._work else None
        launchers = {job.native_id for job in jobs} - {own}
        alive = {native_id: _state_of_launcher(native_id) for native_id in launchers}
        found = {}
        for job in jobs:
            if job.native_id == own and self._supervisor is not None:
                found[job] = self._supervisor.state(job.index)
            else:
                found[job] = alive[job.native_id]
        return found

    def find(self, tag: str, user: str = "") -> list[Job]:
        """Return nothing: jobs of this machine end with the process that submitted them."""
        del tag, user
        return []

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """Stop the own jobs; another launcher reads the request in the journal (`follow`)."""
        if self._work is not None and self._supervisor is not None:
            own = self._work.native_id
            self._supervisor.cancel([job.index for job in jobs if job.native_id == own])

    def follow(
        self,
        on_event: Callable[[Event], None],
        *,
        cancelled: Callable[[], Collection[int]] = lambda: (),
    ) -> Summary:
        """Run the submission; Ctrl-C, SIGTERM or SIGHUP once stops it cleanly, twice kills it.

        Args:
            on_event: told everything, in this thread; about twice a second at least (`Tick`).
            cancelled: indices that were asked to stop; asked about once a second.

        Raises:
            SchedulerError: the pool cannot be started or dies again and again.
        """
        if self._supervisor is None:
            raise SchedulerError("local: nothing was submitted that could be followed")
        return self._supervisor.follow(on_event, cancelled)

    def close(self) -> None:
        """End the pool if there is one; its children checkpoint and leave."""
        if self._supervisor is not None:
            self._supervisor.close()


def _starts_programs(batch: Path) -> bool:
    """Tell whether the runs are programs of the user's own, for which a pool need load nothing."""
    first = next(read_jsonl(batch), {})
    specs = first.get("specs")
    return isinstance(specs, list) and bool(specs) and is_program(str(specs[0].get("task", "")))


def _state_of_launcher(native_id: str) -> JobState:
    """Return the state of another launcher; one on another host counts as alive."""
    try:
        launcher = Process.from_id(native_id)
    except ValueError:
        return JobState(Phase.QUEUED)
    if not launcher.is_here() or launcher.is_alive():
        return JobState(Phase.QUEUED)
    detail = f"process {launcher.pid} on {launcher.host} is gone"
    return JobState(Phase.ENDED, Cause.LAUNCHER, detail)
