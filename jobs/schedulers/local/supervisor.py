"""Carry out one submission on this machine: feed a pool of runs, replace it when it dies."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from anlp.core import pool_messages
from anlp.core.errors import (
    EXIT_CONTINUE,
    EXIT_OK,
    EXIT_SKIPPED,
    EXITS_OF_RUNS,
    SchedulerError,
)
from anlp.core.files import advise
from anlp.core.lease import Process
from anlp.core.pool_messages import Stop
from anlp.core.signals import SignalPipe, describe_signal, signal_pipe
from anlp.core.units import count
from jobs.schedulers.base import Batch, Cause, JobState, Phase, state_of_exit
from jobs.schedulers.local.events import (
    ElementEnded,
    ElementRequeued,
    ElementStarted,
    Event,
    Notice,
    Summary,
    Tick,
)
from jobs.schedulers.local.slots import SlotPlan
from jobs.schedulers.local.worker_pool import (
    PoolOptions,
    PoolProcess,
    render_argv,
    render_environment,
)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK_S = 0.5
CANCEL_POLL_S = 1.0
SENT_AHEAD = 16  # requests that wait in the pool, so that a freed slot is filled at once
MOST_DEATHS = 5  # of pools in a row, without a single element ended in between
KILL_AFTER_S = 2.0
CLOSE_S = 10.0
# exit codes by which a run says itself what became of it, although it was asked to stop
SAID_BY_THE_RUN = frozenset(EXITS_OF_RUNS) - {EXIT_CONTINUE}
CAUSE_OF_STOP: Mapping[Stop, Cause] = {
    Stop.TIME_LIMIT: Cause.TIMEOUT,
    Stop.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    Stop.CANCELLED: Cause.CANCELLED,
    Stop.SHUTDOWN: Cause.CANCELLED,
    Stop.NOT_STARTED: Cause.NOT_STARTED,
}


def state_of(ended: pool_messages.EndedReply) -> JobState:
    """Return what the end of a child means; why the pool stopped it goes before its exit code."""
    if ended.stop is not None and ended.exit not in SAID_BY_THE_RUN:
        detail = ended.detail or ended.stop.value
        return JobState(Phase.ENDED, CAUSE_OF_STOP[ended.stop], detail, signal=ended.signal)
    if ended.signal is not None:
        detail = describe_signal(ended.signal)
        return JobState(Phase.ENDED, Cause.SIGNAL, detail, signal=ended.signal)
    return state_of_exit(ended.exit or EXIT_OK)


@dataclass(frozen=True, slots=True)
class Work:
    """Describes a submission and how it is carried out."""

    batch: Batch
    native_id: str
    plan: SlotPlan
    limits: tuple[float | None, int | None]  # seconds, MiB

    def request(self, index: int) -> pool_messages.RunRequest:
        """Return the message that has an element run."""
        job = f"local:{self.native_id}:{index}"
        return pool_messages.RunRequest(index, str(self.batch.path), index, job, *self.limits)


class Supervisor:
    """Owns the pool of one submission; `follow` returns when everything has ended or was stopped.

    What dies with what: a killed child is one lost element; a killed pool is replaced and its
    elements continue; when this process is killed, the pool and its children checkpoint and leave.
    """

    def __init__(self, work: Work, options: PoolOptions) -> None:
        self.pool: PoolProcess | None = None
        self._work = work
        self._options = options
        self._waiting = deque(range(work.batch.size))
        self._sent: set[int] = set()
        self._children: dict[int, Process] = {}
        self._ended: dict[int, ElementEnded] = {}
        self._to_cancel: set[int] = set()
        self._tell: Callable[[Event], None] = lambda _: None
        self._stopped_by: int | None = None
        self._kill_at: float | None = None
        self._deaths = 0

    def start(self) -> None:
        """Start the pool, which loads what the elements share.

        Raises:
            SchedulerError: it cannot be started.
        """
        argv = render_argv(self._work.plan, self._options)
        log = self._work.batch.path.with_suffix(".log")
        environment = render_environment(os.environ, self._options.container)
        try:
            pool = PoolProcess(argv, environment, log)
        except OSError as error:
            raise SchedulerError(
                f"local: the runs' process could not be started ({error.strerror}); {advise(error)}"
            ) from error
        pool.send(pool_messages.PrepareRequest(str(self._work.batch.path)))
        self.pool = pool

    def state(self, index: int) -> JobState:
        """Return where an element stands."""
        if index in self._ended:
            return self._ended[index].state
        if index in self._children:
            return JobState(Phase.RUNNING)
        if self._stopped_by is not None and self.pool is None:
            return JobState(Phase.ENDED, Cause.CANCELLED, "stopped before it started")
        return JobState(Phase.QUEUED)

    def cancel(self, indices: Collection[int]) -> None:
        """Stop these elements at the next opportunity."""
        self._to_cancel |= set(indices)

    def follow(
        self, on_event: Callable[[Event], None], cancelled: Callable[[], Collection[int]]
    ) -> Summary:
        """Run everything; Ctrl-C, SIGTERM or SIGHUP once stops it cleanly, twice kills it.

        Raises:
            SchedulerError: the pool cannot be started or dies again and again.
        """
        self._tell = on_event
        for note in self._work.plan.notes:
            on_event(Notice(note))
        try:
            with signal_pipe(STOP_SIGNALS) as interrupts:
                self._serve(interrupts, cancelled)
        finally:
            self.close()
        elements = range(self._work.batch.size)
        not_run = tuple(index for index in elements if index not in self._ended)
        return Summary(self._ended, not_run, self._stopped_by)

    def close(self) -> None:
        """End the pool if there is one; its children checkpoint and leave."""
        pool, self.pool = self.pool, None
        if pool is not None:
            if not pool.is_ready:
                pool.terminate()  # it is still importing, reads nothing, and has no children
            pool.close(self._options.grace_s + CLOSE_S)

    def _serve(self, interrupts: SignalPipe, cancelled: Callable[[], Collection[int]]) -> None:
        next_poll = next_tick = time.monotonic()
        while len(self._ended) < self._work.batch.size:
            if self.pool is None:
                self.start()
            pool = self._feed()
            alive = self._listen(pool, interrupts, TICK_S)
            now = time.monotonic()
            if now >= next_poll:
                self._to_cancel |= set(cancelled())
                next_poll = now + CANCEL_POLL_S
            self._cancel_wanted()
            if now >= next_tick:
                self._tell(Tick())
                next_tick = now + TICK_S
            if not alive and self._outlive(pool):
                return
            if self._kill_at is not None and now >= self._kill_at and self.pool is not None:
                self.pool.kill()

    def _feed(self) -> PoolProcess:
        """Send requests to the pool until enough of them wait there."""
        if self.pool is None:
            raise SchedulerError("local: the runs' process is gone")
        while self._stopped_by is None and self._waiting:
            if len(self._sent) >= self._work.plan.slots + SENT_AHEAD:
                break
            index = self._waiting.popleft()
            self._sent.add(index)
            self.pool.send(self._work.request(index))
        return self.pool

    def _listen(self, pool: PoolProcess, interrupts: SignalPipe, timeout_s: float) -> bool:
        """Wait for replies or signals and act on them; return False once the pool has ended."""
        with selectors.PollSelector() as selector:
            selector.register(pool, selectors.EVENT_READ)
            selector.register(interrupts, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(timeout_s)}
        for number in interrupts.take():
            if number in STOP_SIGNALS:
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
                state = state_of(reply)
                self._end(
                    ElementEnded(reply.key, state, reply.exit, reply.seconds, reply.peak_rss_mib)
                )
                if reply.exit == EXIT_SKIPPED:
                    self._hold_back(state)
            case pool_messages.NoticeReply(text):
                self._tell(Notice(text))
            case pool_messages.ReadyReply():
                pass

    def _hold_back(self, state: JobState) -> None:
        """End what waits: it would only be started to be held back as well."""
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
            self._end(ElementEnded(index, _cancelled("cancelled before it started")))
        sent = tuple(sorted(wanted & self._sent))
        if sent and self.pool is not None:
            self.pool.send(pool_messages.CancelRequest(sent))

    def _stop(self, pool: PoolProcess, number: int) -> None:
        if self._stopped_by is not None:
            self._kill_at = time.monotonic() + KILL_AFTER_S
            pool.send(pool_messages.StopRequest(now=True))
            return
        self._stopped_by = number
        runs = count(len(self._children), "run")
        self._tell(
            Notice(
                f"stopping: {runs} may save a checkpoint and leave (Ctrl-C again kills); "
                "submit continues"
            )
        )
        if pool.is_ready:
            pool.send(pool_messages.StopRequest())
        else:
            pool.terminate()  # it is still importing and reads nothing, and has no children

    def _outlive(self, pool: PoolProcess) -> bool:
        """Clean up after a pool that has ended; return True if that is the end of it all."""
        self.pool = None
        code = pool.close(CLOSE_S)
        self._wait_for_children()
        if self._stopped_by is not None:
            for index in sorted(self._children):
                self._end(ElementEnded(index, _cancelled("killed while it was stopped")))
            return True
        self._deaths += 1
        how = describe_signal(-code) if code < 0 else f"exit code {code}: {pool.last_words()}"
        if not pool.is_ready and code > 0:
            raise SchedulerError(
                f"local: the runs' process could not start ({how}); see {pool.log}"
            )
        if self._deaths >= MOST_DEATHS:
            raise SchedulerError(
                f"local: the runs' process died {self._deaths} times in a row without ending a run "
                f"({how}); see {pool.log}; if memory ran out, fewer --slots may help"
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
        """Return when all children of a dead pool are gone; the kernel sent them SIGTERM."""
        grace_s = 0.0 if self._kill_at is not None else self._options.grace_s
        deadline = time.monotonic() + grace_s
        while left := [child for child in self._children.values() if child.is_alive()]:
            if time.monotonic() >= deadline:
                for child in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.01)


def _cancelled(detail: str) -> JobState:
    return JobState(Phase.ENDED, Cause.CANCELLED, detail)
