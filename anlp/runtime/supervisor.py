"""Forked runs of one process: their slots, their limits, their ends."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core import pool_messages
from anlp.core.errors import describe_error
from anlp.core.files import advise
from anlp.core.pool_messages import Stop
from anlp.core.units import render_usage
from anlp.runtime.cgroups import KIB_PER_MIB, memory_over_limit
from anlp.runtime.fork import ForkContext, fork

MEMORY_POLL_S = 0.5  # an exact look costs up to 7 ms where torch and data are shared
Prepare = Callable[[Path, ExitStack], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one child at a time runs."""

    number: int
    environment: Mapping[str, str]


def make_slots(count: int, devices: Sequence[str]) -> list[Slot]:
    """Return slots that take `devices` (each a CUDA_VISIBLE_DEVICES) in turn.

    Without devices, children see what their parent sees.
    """
    return [
        Slot(number, {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {})
        for number in range(count)
    ]


@dataclass(slots=True)
class Child:
    """A forked child and what was done to it."""

    request: pool_messages.RunRequest
    pid: int
    slot: Slot
    began: float
    stop: Stop | None = None
    detail: str = ""
    kill_at: float = math.inf

    @property
    def deadline(self) -> float:
        """When the child is to be asked to leave, or killed."""
        limit = self.request.time_limit_s
        return self.kill_at if self.stop or limit is None else self.began + limit


class ChildSupervisor:
    """The children of this process.

    Call `tend` whenever a child may have ended or a deadline has passed.

    Args:
        slots: where they run.
        context: what each of them gets.
        tell: is called with a `StartedReply` and an `EndedReply` for every request.
        datasets: what was loaded for a batch file, by its name in the requests.
        grace_s: from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        context: ForkContext,
        tell: Callable[[pool_messages.StartedReply | pool_messages.EndedReply], None],
        *,
        datasets: Mapping[str, Any],
        grace_s: float,
    ) -> None:
        self._free = deque(slots)
        self._context = context
        self._tell = tell
        self._datasets = datasets
        self._grace_s = grace_s
        self._waiting: deque[pool_messages.RunRequest] = deque()
        self._children: dict[int, Child] = {}  # by pid

    @property
    def is_busy(self) -> bool:
        """Return whether a child lives or waits for a slot."""
        return bool(self._children or self._waiting)

    def add(self, request: pool_messages.RunRequest) -> None:
        """Queue a request; `tend` forks it once a slot is free."""
        self._waiting.append(request)

    def tend(self) -> None:
        """Reap children that ended, end those over a limit, fill free slots."""
        self._reap()
        self._enforce(time.monotonic())
        self._start_waiting()

    def next_deadline(self) -> float | None:
        """Return seconds until `tend` has something to do that no signal announces; None: never."""
        now = time.monotonic()
        deadlines = [child.deadline for child in self._children.values()]
        if any(child.request.mem_limit_mib for child in self._children.values()):
            deadlines.append(now + MEMORY_POLL_S)
        first = min(deadlines, default=math.inf)
        return None if first == math.inf else max(0.0, first - now)

    def cancel(self, keys: Collection[int]) -> None:
        """Ask these children to leave; those that wait never start."""
        for request in [request for request in self._waiting if request.key in keys]:
            self._waiting.remove(request)
            self._tell(
                pool_messages.EndedReply(
                    request.key, None, None, Stop.CANCELLED, "cancelled before it started"
                )
            )
        for child in self._children.values():
            if child.request.key in keys:
                self._ask_to_leave(child, Stop.CANCELLED)

    def stop(self, *, now: bool = False) -> None:
        """Forget requests that wait, and ask the children to leave (`now`: kill them).

        A child is asked only once.
        """
        self._waiting.clear()
        for child in self._children.values():
            self._ask_to_leave(child, Stop.SHUTDOWN)
            if now:
                _kill(child)

    def _ask_to_leave(self, child: Child, why: Stop, detail: str = "") -> None:
        if child.stop is None:
            child.stop, child.detail = why, detail
            child.kill_at = time.monotonic() + self._grace_s
            os.kill(child.pid, signal.SIGTERM)

    def _enforce(self, now: float) -> None:
        for child in self._children.values():
            if child.deadline <= now:
                self._end_of_time(child)
            limit = child.request.mem_limit_mib
            used = None if limit is None else memory_over_limit(child.pid, limit)
            if limit is not None and used is not None:
                child.stop, child.detail = Stop.OUT_OF_MEMORY, render_usage(used, limit)
                _kill(child)

    def _end_of_time(self, child: Child) -> None:
        if child.stop is None:
            self._ask_to_leave(child, Stop.TIME_LIMIT, f"ran for {child.request.time_limit_s:g} s")
            return
        child.detail = (
            f"{child.detail}; did not leave within {self._grace_s:g} s and was killed".lstrip("; ")
        )
        _kill(child)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                del self._children[pid]
                self._free.append(child.slot)
                self._tell(_ended(child, status, usage.ru_maxrss / KIB_PER_MIB))

    def _start_waiting(self) -> None:
        while self._waiting and self._free:
            request, slot = self._waiting.popleft(), self._free.popleft()
            datasets = self._datasets.get(request.batch)
            try:
                pid = fork(request, self._context, datasets, slot.environment)
            except OSError as error:
                self._free.append(slot)
                why = f"{error.strerror}; {advise(error)}"
                self._tell(pool_messages.EndedReply(request.key, None, None, Stop.NOT_STARTED, why))
                continue
            self._children[pid] = Child(request, pid, slot, time.monotonic())
            self._tell(pool_messages.StartedReply(request.key, pid, slot.number))


def _ended(child: Child, status: int, peak_rss_mib: float) -> pool_messages.EndedReply:
    code = os.waitstatus_to_exitcode(status)
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    seconds = time.monotonic() - child.began
    return pool_messages.EndedReply(
        child.request.key,
        exit_code,
        number,
        child.stop,
        child.detail,
        round(peak_rss_mib, 1),
        round(seconds, 4),
    )


def _kill(child: Child) -> None:
    child.kill_at = math.inf
    try:
        os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
    except ProcessLookupError:
        # not yet a group of its own; a child that was not reaped still has its pid
        os.kill(child.pid, signal.SIGKILL)


def load_shared(prepare: Prepare, batch: Path, cleanup: ExitStack) -> tuple[Any, str]:
    """Load what the runs share, before they are forked.

    Returns also a notice where it could not be loaded.
    """
    found, notice = None, ""
    try:
        found = prepare(batch, cleanup)
    except Exception as error:  # each run meets the fault and reports it in its own result
        notice = f"could not load what the runs share ({describe_error(error)})"
    gc.collect()
    # the children's collectors then leave these objects and their shared pages alone
    gc.freeze()
    return found, notice
