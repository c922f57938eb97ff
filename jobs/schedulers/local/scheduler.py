"""The scheduler that every machine has: elements run here, as long as the submitting process stays to follow them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from anlp.core import pool_messages
from anlp.core.errors import (
    EXIT_DISK_FULL,
    EXIT_HELD,
    EXIT_OK,
    EXIT_RUNS_FAILED,
    EXIT_SKIPPED,
    SchedulerError,
)
from anlp.core.lease import Process
from anlp.core.pool_messages import Stop, describe_signal
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
    state_of_exit,
)
from jobs.schedulers.local.events import (
    ElementEnded,
    ElementRequeued,
    ElementStarted,
    Event,
    Notice,
    Summary,
    Tick,
)
from jobs.schedulers.local.signals import Interrupts
from jobs.schedulers.local.slots import SlotPlan, inspect, plan_slots
from jobs.schedulers.local.worker_pool import (
    PoolOptions,
    PoolProcess,
    render_argv,
    render_environment,
)
from jobs.schedulers.site import Profile

TICK_S = 0.5
CANCEL_POLL_S = 1.0
SENT_AHEAD = 16  # requests that wait in the pool, so that a freed slot is filled without asking us
MOST_DEATHS = 5  # of pools in a row, without a single element ended in between
KILL_AFTER_S = 2.0
CLOSE_S = 10.0
SAID_BY_THE_RUN = frozenset({EXIT_OK, EXIT_RUNS_FAILED, EXIT_HELD, EXIT_SKIPPED, EXIT_DISK_FULL})

CAUSE_OF_STOP: Mapping[Stop, Cause] = {
    Stop.TIME_LIMIT: Cause.TIMEOUT,
    Stop.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    Stop.CANCELLED: Cause.CANCELLED,
    Stop.SHUTDOWN: Cause.CANCELLED,
    Stop.NOT_STARTED: Cause.UNKNOWN,
}


def state_of(ended: pool_messages.EndedReply) -> JobState:
    """Return what the end of a child means; why the pool stopped it goes before its exit code.

    A child that ended well, or said itself why not, is believed although it was asked to stop.
    """
    if ended.stop is not None and ended.exit not in SAID_BY_THE_RUN:
        detail = ended.detail or ended.stop.value
        return JobState(Phase.ENDED, CAUSE_OF_STOP[ended.stop], detail, signal=ended.signal)
    if ended.signal is not None:
        detail = describe_signal(ended.signal)
        return JobState(Phase.ENDED, Cause.SIGNAL, detail, signal=ended.signal)
    return state_of_exit(ended.exit or EXIT_OK)


@dataclass(frozen=True, slots=True)
class _Work:
    """A submission and how it is carried out."""

    batch: Batch
    native_id: str
    plan: SlotPlan
    limits: tuple[float | None, int | None]  # seconds, MiB

    def request(self, index: int) -> pool_messages.RunRequest:
        job = f"local:{self.native_id}:{index}"
        return pool_messages.RunRequest(index, str(self.batch.path), index, job, *self.limits)


class LocalScheduler:
    """Takes one submission; `follow` runs it and returns when everything has ended or was stopped.

    What dies with what: a killed child is one lost element; a killed pool is replaced and its elements continue; when
    this process is killed, the pool and its children checkpoint and leave.
    """

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "this machine"
    is_experimental: ClassVar[bool] = False
    job_variable: ClassVar[str] = ""
    environment_prefixes: ClassVar[tuple[str, ...]] = ()
    can_exclude_nodes: ClassVar[bool] = False
    unsupported: ClassVar[frozenset[str]] = frozenset(CLUSTER_ONLY)
    profile_type: ClassVar[type[Profile] | None] = None
    default_profile: ClassVar[str] = ""

    @classmethod
    def create(cls, setup: Setup) -> LocalScheduler:
        """Return a scheduler whose pool runs in the image, if there is one."""
        if setup.container is None:
            return cls(slots=setup.slots)
        container = setup.container.passing(setup.environment_prefixes)
        return cls(slots=setup.slots, pool=PoolOptions(container=container), pack=setup.pack)

    @classmethod
    def is_here(cls) -> bool:
        """Return that every machine has it."""
        return True

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return None: what a run prints is in its log."""
        del batch, job, index
        return None

    def __init__(
        self, slots: int | None = None, *, pool: PoolOptions | None = None, pack: int = 1
    ) -> None:
        self._slots = slots
        self._pack = pack
        self._options = pool or PoolOptions()
        self._work: _Work | None = None
        self._pool: PoolProcess | None = None
        self._waiting: deque[int] = deque()
        self._sent: set[int] = set()
        self._children: dict[int, Process] = {}
        self._ended: dict[int, ElementEnded] = {}
        self._to_cancel: set[int] = set()
        self._tell: Callable[[Event], None] = lambda _: None
        self._stopped_by: int | None = None
        self._kill_at: float | None = None
        self._deaths = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the accepted submission (no GPU here, too little memory)."""
        return self._work.plan.notes if self._work else ()

    @property
    def slots(self) -> int:
        """How many elements of the accepted submission run at a time."""
        return self._work.plan.slots if self._work else 0

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Accepts `batch` and starts to load what its elements need; they run once `follow` is called.

        Raises:
            SchedulerError: this machine cannot give what is asked for, or a submission was accepted before.
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
        self._work = _Work(batch, native_id, plan, (time_limit_s, resources.mem_mib))
        self._waiting.extend(range(batch.size))
        self._pool = self._start_pool(self._work)
        accepted(Job(native_id, 0, batch.size))
        return [JobHandle(self.name, native_id, index) for index in range(batch.size)]

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """Our own jobs as they stand; those of another launcher are alive as long as that is."""
        own = self._work.native_id if self._work else None
        launchers = {job.native_id for job in jobs} - {own}
        alive = {native_id: _is_launcher_alive(native_id) for native_id in launchers}
        return {
            job: self._state(job.index) if job.native_id == own else alive[job.native_id]
            for job in jobs
        }

    def find(self, tag: str) -> list[Job]:
        """Nothing: jobs of this machine end with the process that submitted them."""
        del tag
        return []

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """Stops our own; another launcher stops its own when it reads the request in the journal (`follow`)."""
        own = self._work.native_id if self._work else None
        self._to_cancel |= {job.index for job in jobs if job.native_id == own}

    def follow(
        self,
        on_event: Callable[[Event], None],
        *,
        cancelled: Callable[[], Collection[int]] = lambda: (),
    ) -> Summary:
        """Runs the submission; Ctrl-C, SIGTERM or SIGHUP once stops it cleanly, twice kills it.

        Args:
            on_event: told everything, in this thread; about twice a second at least (`Tick`).
            cancelled: indices that somebody asked to stop; asked about once a second.

        Raises:
            SchedulerError: the pool cannot be started or dies again and again.
        """
        if self._work is None:
            raise SchedulerError("local: nothing was submitted that could be followed")
        self._tell = on_event
        for note in self._work.plan.notes:
            on_event(Notice(note))
        try:
            with Interrupts() as interrupts:
                self._serve(self._work, interrupts, cancelled)
        finally:
            self.close()
        not_run = tuple(index for index in range(self._work.batch.size) if index not in self._ended)
        return Summary(self._ended, not_run, self._stopped_by)

    def close(self) -> None:
        """Ends the pool if there is one; its children checkpoint and leave."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if not pool.is_ready:
                pool.terminate()  # it is still importing, reads nothing, and has no children
            pool.close(self._options.grace_s + CLOSE_S)

    def _state(self, index: int) -> JobState:
        if index in self._ended:
            return self._ended[index].state
        if index in self._children:
            return JobState(Phase.RUNNING)
        if self._stopped_by is not None and self._pool is None:
            return JobState(Phase.ENDED, Cause.CANCELLED, "stopped before it started")
        return JobState(Phase.QUEUED)

    def _start_pool(self, work: _Work) -> PoolProcess:
        argv = render_argv(work.plan, self._options)
        log = work.batch.path.with_suffix(".log")
        try:
            pool = PoolProcess(argv, render_environment(os.environ, self._options.container), log)
        except OSError as error:
            raise SchedulerError(
                f"local: the runs' process could not be started: {error}"
            ) from error
        pool.send(pool_messages.PrepareRequest(str(work.batch.path)))
        return pool

    def _serve(
        self, work: _Work, interrupts: Interrupts, cancelled: Callable[[], Collection[int]]
    ) -> None:
        next_poll = next_tick = time.monotonic()
        while len(self._ended) < work.batch.size:
            if self._pool is None:
                self._pool = self._start_pool(work)
            self._feed(work)
            alive = self._listen(self._pool, interrupts, TICK_S)
            now = time.monotonic()
            if now >= next_poll:
                self._to_cancel |= set(cancelled())
                next_poll = now + CANCEL_POLL_S
            self._cancel_wanted()
            if now >= next_tick:
                self._tell(Tick())
                next_tick = now + TICK_S
            if not alive and self._outlive_pool():
                return
            if self._kill_at is not None and now >= self._kill_at and self._pool is not None:
                self._pool.kill()

    def _feed(self, work: _Work) -> None:
        if self._stopped_by is not None or self._pool is None:
            return
        while self._waiting and len(self._sent) < work.plan.slots + SENT_AHEAD:
            index = self._waiting.popleft()
            self._sent.add(index)
            self._pool.send(work.request(index))

    def _listen(self, pool: PoolProcess, interrupts: Interrupts, timeout_s: float) -> bool:
        """Waits for replies or signals and acts on them; False once the pool has ended."""
        with selectors.PollSelector() as selector:
            selector.register(pool, selectors.EVENT_READ)
            selector.register(interrupts, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(timeout_s)}
        for number in interrupts.take():
            self._stop(pool, number)
        if pool not in ready:
            return True
        replies = pool.read()
        for reply in replies or ():
            self._take(reply)
        return replies is not None

    def _take(self, reply: pool_messages.Reply) -> None:
        match reply:
            case pool_messages.StartedReply(index, pid, slot):
                self._children[index] = Process.of(pid)
                self._tell(ElementStarted(index, pid, slot))
            case pool_messages.EndedReply():
                self._end(
                    ElementEnded(
                        reply.key, state_of(reply), reply.exit, reply.seconds, reply.peak_rss_mib
                    ),
                )
                if reply.exit == EXIT_SKIPPED:
                    self._hold_back(state_of(reply))
            case pool_messages.NoticeReply(text):
                self._tell(Notice(text))
            case pool_messages.ReadyReply():
                pass

    def _hold_back(self, state: JobState) -> None:
        """What waits would only be started to be held back as well."""
        waiting, self._waiting = self._waiting, deque()
        for index in waiting:
            self._end(ElementEnded(index, state))

    def _end(self, ended: ElementEnded) -> None:
        self._deaths = 0
        self._sent.discard(ended.index)
        self._children.pop(ended.index, None)
        self._ended[ended.index] = ended
        self._tell(ended)

    def _cancel_wanted(self) -> None:
        wanted, self._to_cancel = self._to_cancel - self._ended.keys(), set()
        if not wanted:
            return
        dropped = [index for index in self._waiting if index in wanted]
        self._waiting = deque(index for index in self._waiting if index not in wanted)
        for index in dropped:
            self._end(
                ElementEnded(
                    index, JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started")
                )
            )
        sent = tuple(sorted(wanted & self._sent))
        if sent and self._pool is not None:
            self._pool.send(pool_messages.CancelRequest(sent))

    def _stop(self, pool: PoolProcess, number: int) -> None:
        if self._stopped_by is not None:
            self._kill_at = time.monotonic() + KILL_AFTER_S
            pool.send(pool_messages.StopRequest(now=True))
            return
        self._stopped_by = number
        runs = "1 run" if len(self._children) == 1 else f"{len(self._children)} runs"
        self._tell(
            Notice(
                f"stopping: {runs} may save a checkpoint and leave (Ctrl-C again kills); submit continues"
            )
        )
        if pool.is_ready:
            pool.send(pool_messages.StopRequest())
        else:
            pool.terminate()  # it is still importing and reads nothing, and has no children

    def _outlive_pool(self) -> bool:
        """Cleans up after a pool that has ended; True if that is the end of it all, as everything was stopped."""
        pool, self._pool = self._pool, None
        if pool is None:
            return True
        code = pool.close(CLOSE_S)
        self._wait_for_children()
        if self._stopped_by is not None:
            for index in sorted(self._children):
                self._end(
                    ElementEnded(
                        index, JobState(Phase.ENDED, Cause.CANCELLED, "killed while it was stopped")
                    )
                )
            return True
        self._deaths += 1
        how = describe_signal(-code) if code < 0 else f"exit code {code}: {pool.last_words()}"
        if not pool.is_ready and code > 0:
            raise SchedulerError(
                f"local: the runs' process could not start ({how}); see {pool.log}"
            )
        if self._deaths >= MOST_DEATHS:
            raise SchedulerError(
                f"local: the runs' process died {self._deaths} times in a row without ending a run ({how}); "
                f"see {pool.log}; if memory ran out, fewer --slots may help"
            )
        self._tell(Notice(f"the runs' process died ({how}); a new one continues"))
        self._requeue()
        return False

    def _requeue(self) -> None:
        for index in sorted(self._children):
            self._tell(ElementRequeued(index))
        self._waiting.extendleft(sorted(self._sent, reverse=True))
        self._sent.clear()
        self._children.clear()

    def _wait_for_children(self) -> None:
        """Returns when all children of a dead pool are gone; they were sent SIGTERM by the kernel."""
        grace_s = 0.0 if self._kill_at is not None else self._options.grace_s
        deadline = time.monotonic() + grace_s
        while left := [child for child in self._children.values() if child.is_alive()]:
            if time.monotonic() >= deadline:
                for child in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.01)


def _is_launcher_alive(native_id: str) -> JobState:
    """A launcher on another host, or a name that we cannot read, counts as alive."""
    try:
        launcher = Process.from_id(native_id)
    except ValueError:
        return JobState(Phase.QUEUED)
    if not launcher.is_here() or launcher.is_alive():
        return JobState(Phase.QUEUED)
    return JobState(
        Phase.ENDED, Cause.LAUNCHER, f"process {launcher.pid} on {launcher.host} is gone"
    )
