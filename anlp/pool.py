"""`python -m anlp.pool`: many elements on one machine, each in a child forked from a process that has torch loaded.

Requests come on stdin, replies go to stdout (`anlp.protocol`). The pool ends when it is told to, or when its stdin
closes because whoever started it died; in both cases its children are asked to checkpoint first. It never initialises
CUDA and has no threads, because neither survives a fork.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import math
import os
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp import protocol
from anlp.child import POOL_SIGNALS, Inheritance, Runner, fork, libc
from anlp.errors import EXIT_OK, UserError, run_command
from anlp.limits import KIB_PER_MIB, memory_over_limit, render_usage, thread_count
from anlp.protocol import Stop

GRACE_S = 20.0
MEMORY_POLL_S = 0.5  # an exact look costs up to 7 ms where torch and data are shared
Prepare = Callable[[Path, ExitStack], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One place where one child at a time runs."""

    number: int
    environment: Mapping[str, str]


@dataclass(slots=True)
class Child:
    """A forked child and what the pool did to it."""

    request: protocol.RunRequest
    pid: int
    slot: Slot
    began: float
    stop: Stop | None = None
    detail: str = ""
    kill_at: float = math.inf

    @property
    def deadline(self) -> float:
        """When something must happen to it: the end of its grace, or else of its time."""
        limit = self.request.time_limit_s
        return self.kill_at if self.stop or limit is None else self.began + limit


class Pool:
    """The loop that serves requests: one thread, woken by its stdin, by signals and by deadlines, idle otherwise."""

    def __init__(
        self,
        slots: Sequence[Slot],
        runner: Runner,
        prepare: Prepare | None,
        *,
        requests: int,
        replies: int,
        grace_s: float = GRACE_S,
    ) -> None:
        self._free = deque(slots)
        self._runner = runner
        self._prepare = prepare
        self._requests = requests
        self._replies = replies
        self._grace_s = grace_s
        self._waiting: deque[protocol.RunRequest] = deque()
        self._children: dict[int, Child] = {}  # by pid
        self._sources: dict[str, Any] = {}  # by batch file
        self._lines = protocol.LineBuffer()
        self._is_stopping = False
        self._cleanup = ExitStack()

    def serve(self) -> None:
        """Returns when it was stopped, or its requests ended, and no child is left."""
        with self._cleanup, _signals() as wakeups, selectors.PollSelector() as selector:  # epoll takes no files
            self._private = (self._requests, self._replies, wakeups)
            selector.register(self._requests, selectors.EVENT_READ, self._read_requests)
            selector.register(wakeups, selectors.EVENT_READ, self._read_signals)
            while self._children or not self._is_stopping:
                for key, _ in selector.select(self._next_deadline(time.monotonic())):
                    key.data(selector, key.fd)
                self._reap()
                self._enforce(time.monotonic())
                self._start_waiting()

    def _next_deadline(self, now: float) -> float | None:
        """Seconds until something must be done that no descriptor announces."""
        deadlines = [child.deadline for child in self._children.values()]
        if any(child.request.mem_limit_mib for child in self._children.values()):
            deadlines.append(now + MEMORY_POLL_S)
        first = min(deadlines, default=math.inf)
        return None if first == math.inf else max(0.0, first - now)

    def _read_requests(self, selector: selectors.BaseSelector, descriptor: int) -> None:
        piece = os.read(descriptor, 1 << 16)
        if not piece:  # whoever feeds us is gone
            selector.unregister(descriptor)
            self._stop_all(now=False)
            return
        for line in self._lines.feed(piece):
            self._obey(line)

    def _read_signals(self, _: selectors.BaseSelector, descriptor: int) -> None:
        for number in os.read(descriptor, 1 << 12):
            if number != signal.SIGCHLD:
                self._stop_all(now=self._is_stopping)

    def _obey(self, line: bytes) -> None:
        try:
            request = protocol.parse_request(line)
        except ValueError as error:
            self._reply(protocol.NoticeReply(str(error)))
            return
        match request:
            case protocol.RunRequest():
                self._waiting.append(request)
            case protocol.CancelRequest(keys):
                self._cancel(frozenset(keys))
            case protocol.StopRequest(now):
                self._stop_all(now=now)
            case protocol.PrepareRequest(batch):
                self._load(batch)

    def _load(self, batch: str) -> None:
        if self._prepare is None or batch in self._sources:
            return
        try:
            self._sources[batch] = self._prepare(Path(batch), self._cleanup)
        except Exception as error:  # each run meets the same fault and reports it in its own result
            self._reply(protocol.NoticeReply(f"could not load what the runs share ({type(error).__name__}: {error})"))
        gc.collect()
        gc.freeze()  # a child's collector then leaves these objects, and the pages they share with us, alone

    def _cancel(self, keys: frozenset[int]) -> None:
        for request in [request for request in self._waiting if request.key in keys]:
            self._waiting.remove(request)
            self._reply(protocol.EndedReply(request.key, None, None, Stop.CANCELLED, "cancelled before it started"))
        for child in self._children.values():
            if child.request.key in keys:
                self._ask_to_leave(child, Stop.CANCELLED)

    def _stop_all(self, *, now: bool) -> None:
        self._is_stopping = True
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
            used = limit and memory_over_limit(child.pid, limit)
            if limit and used:
                child.stop, child.detail = Stop.OUT_OF_MEMORY, render_usage(used, limit)
                _kill(child)

    def _end_of_time(self, child: Child) -> None:
        if child.stop is None:
            self._ask_to_leave(child, Stop.TIME_LIMIT, f"ran for {child.request.time_limit_s:g} s")
            return
        child.detail = f"{child.detail}; did not leave within {self._grace_s:g} s and was killed".lstrip("; ")
        _kill(child)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                del self._children[pid]
                self._free.append(child.slot)
                self._reply(_ended(child, status, usage.ru_maxrss / KIB_PER_MIB))

    def _start_waiting(self) -> None:
        while self._waiting and self._free:
            request, slot = self._waiting.popleft(), self._free.popleft()
            sources = self._sources.get(request.batch)
            mine = Inheritance(self._runner, sources, os.getpid(), self._private, slot.environment)
            try:
                pid = fork(request, mine)
            except OSError as error:
                self._free.append(slot)
                self._reply(protocol.EndedReply(request.key, None, None, Stop.NOT_STARTED, str(error)))
                continue
            self._children[pid] = Child(request, pid, slot, time.monotonic())
            self._reply(protocol.StartedReply(request.key, pid, slot.number))

    def _reply(self, reply: protocol.Reply) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more: the end of our stdin will tell us so
            os.write(self._replies, protocol.render(reply))


def _ended(child: Child, status: int, peak_rss_mib: float) -> protocol.EndedReply:
    code = os.waitstatus_to_exitcode(status)
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    seconds = time.monotonic() - child.began
    return protocol.EndedReply(
        child.request.key, exit_code, number, child.stop, child.detail, round(peak_rss_mib, 1), round(seconds, 4)
    )


def _kill(child: Child) -> None:
    child.kill_at = math.inf
    try:
        os.killpg(child.pid, signal.SIGKILL)  # with whatever it started itself
    except ProcessLookupError:
        os.kill(child.pid, signal.SIGKILL)  # not yet a group of its own; a child we have not reaped still has its pid


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable with the number of each signal sent to the pool."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in POOL_SIGNALS:
        signal.signal(number, lambda *_: None)  # without a handler nothing is written to the descriptor
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(-1)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m anlp.pool", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--slots", type=int, required=True, help="how many children run at once")
    parser.add_argument("--devices", nargs="*", default=[], help="CUDA_VISIBLE_DEVICES of each slot, taken in turn")
    parser.add_argument("--grace-s", type=float, default=GRACE_S, help="from SIGTERM to SIGKILL")
    parser.add_argument("--import", dest="modules", action="append", default=[], help="module to load before forking")
    parser.add_argument("--runner", default="anlp.run:run_element", help="module:function that runs one element")
    parser.add_argument("--prepare", help="module:function that loads what the elements of a batch file share")
    options = parser.parse_args(argv)
    if options.slots < 1:
        parser.error(f"--slots: expected at least 1, got {options.slots}")
    return options


def _resolve(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{text}: {error}; runs need the extra `train` (pip install '.[train]')") from error


def _take_over_stdio() -> tuple[int, int]:
    """Descriptors of requests and replies; stdin is closed and stdout is stderr from here on, for libraries' prints."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until stopped; the exit code is 0 then."""
    began = time.monotonic()
    options = _parse_arguments(argv)
    requests, replies = _take_over_stdio()
    faulthandler.enable(file=2)  # a child's crash in native code is traced into its log
    for module in options.modules:
        _resolve(f"{module}:__name__")
    runner = _resolve(options.runner)
    prepare = _resolve(options.prepare) if options.prepare else None
    libc()
    devices = options.devices
    slots = [
        Slot(number, {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {})
        for number in range(options.slots)
    ]
    pool = Pool(slots, runner, prepare, requests=requests, replies=replies, grace_s=options.grace_s)
    ready = protocol.ReadyReply(os.getpid(), options.slots, thread_count(), round(time.monotonic() - began, 3))
    os.write(replies, protocol.render(ready))
    gc.freeze()
    pool.serve()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run_command(main))
