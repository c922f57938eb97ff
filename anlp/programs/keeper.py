"""A forked process between runner and program: nothing that the program starts outlives it.

The keeper is the parent of the program and adopts what the program leaves behind. It ends all of it
when it is told to, when the program has ended, and when the runner dies, even by SIGKILL. Should
the keeper be killed, the kernel kills the program.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from anlp.core.signals import SignalPipe, signal_pipe
from anlp.programs.process_tree import (
    adopt_orphans,
    descendants_of,
    die_with_parent,
    group_below,
    name_of,
    send,
    send_to_group,
)

LEAVES_S = 0.3  # helpers that end with their program (resource trackers, loaders) need a moment
GRACE_OF_LEFTOVERS_S = 2.0  # from SIGTERM to SIGKILL
KILL_S = 10.0  # a process that waits for a dead file system survives even SIGKILL
POLL_S = 0.02

KILL = 255  # an order; smaller bytes are signals to hand to the program

# The keeper outlives them: they are sent to whole sessions and jobs.
_OUTLIVED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LISTENED = (signal.SIGCHLD, *_OUTLIVED)


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started: never by a shell.

    Args:
        argv: its words.
        cwd: where.
        environment: all of it.
        is_wrapped: whether the process that is started only starts the program and waits for it, as
            Apptainer does. It hands signals on, so that the program would get those to its group
            twice.
    """

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    is_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Keeper:
    """A running keeper, seen from the runner.

    Args:
        pid: of the keeper.
        orders: bytes go to the keeper; when it closes, everything is killed.
        news: lines of JSON come from the keeper.
        stdout: of the program.
        stderr: of the program.
    """

    pid: int
    orders: int
    news: int
    stdout: int
    stderr: int

    def order(self, byte: int) -> None:
        """Hand a signal to the program's group, or `KILL` everything."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.orders, bytes([byte]))

    def close(self) -> None:
        """Kill what still lives, and wait for the keeper's end."""
        for descriptor in (self.orders, self.news, self.stdout, self.stderr):
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start_keeper(launch: Launch) -> Keeper:
    """Fork a keeper, which starts the program."""
    to_keeper, orders = os.pipe2(os.O_CLOEXEC)
    news, from_keeper = os.pipe2(os.O_CLOEXEC)
    stdout, of_stdout = os.pipe2(os.O_CLOEXEC)
    stderr, of_stderr = os.pipe2(os.O_CLOEXEC)
    # a signal that reached the child first would be told to the runner's wake-up descriptor
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LISTENED)
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns where a thread (of the lease) runs; the keeper waits for no lock
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            for descriptor in (orders, news, stdout, stderr):
                os.close(descriptor)
            _be_keeper(launch, _Ends(to_keeper, from_keeper, of_stdout, of_stderr))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for descriptor in (to_keeper, from_keeper, of_stdout, of_stderr):
        os.close(descriptor)
    for descriptor in (news, stdout, stderr):
        os.set_blocking(descriptor, False)
    return Keeper(pid, orders, news, stdout, stderr)


# -------------------------------------------------------------------------- within the keeper


@dataclass(frozen=True, slots=True)
class _Ends:
    orders: int
    news: int
    stdout: int
    stderr: int


def _be_keeper(launch: Launch, ends: _Ends) -> NoReturn:
    """Run the keeper and leave by `_exit`: what is registered for the end is the runner's."""
    try:
        gc.disable()  # a collection would copy the pages that are shared with the runner
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(PermissionError):
            os.setsid()  # a kill of the runner's group is an order that arrives by the pipe
        adopt_orphans()
        ignored = [each for each in _OUTLIVED if signal.getsignal(each) is signal.SIG_IGN]
        with signal_pipe(set(_LISTENED) - set(ignored)) as arrived:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _keep(launch, ends, arrived)
        os._exit(0)
    except BaseException as error:  # nothing may rise into the code of the runner
        with contextlib.suppress(OSError):
            _tell(ends, error=[None, None, f"{type(error).__name__}: {error}"])
        os._exit(1)


def _keep(launch: Launch, ends: _Ends, arrived: SignalPipe) -> None:
    try:
        program = _start(launch, ends)
    except OSError as error:
        _tell(ends, error=[error.errno, str(error.filename or ""), error.strerror])
        return
    except ValueError as error:  # a null byte in an argument
        _tell(ends, error=[None, None, str(error)])
        return
    _tell(ends, started=program)
    for descriptor in (ends.stdout, ends.stderr):
        os.close(descriptor)
    children = _Children(program)
    must_kill = False
    while children.status is None and not must_kill:
        ready = _readable(ends.orders, arrived.fileno())
        if arrived.fileno() in ready:
            arrived.take()
        if ends.orders in ready:
            must_kill = _obey(ends.orders, program, is_wrapped=launch.is_wrapped)
        children.reap()
    if children.status is not None:
        _tell(ends, ended=children.status)
    leftovers = [] if must_kill else _end_leftovers(children, lambda: _is_told_to_kill(ends.orders))
    stuck = _kill_all(children)
    _tell(
        ends,
        status=children.status,
        rss=children.peak_rss_kib,
        cpu=children.cpu_s,
        left=leftovers,
        stuck=stuck,
    )


def _start(launch: Launch, ends: _Ends) -> int:
    keeper = os.getpid()

    def prepare() -> None:
        die_with_parent()
        if os.getppid() != keeper:  # it died before the call
            os._exit(1)

    program = subprocess.Popen(  # noqa: S603 - an argument list, without a shell
        list(launch.argv),
        cwd=launch.cwd,
        env=dict(launch.environment),
        stdin=subprocess.DEVNULL,
        stdout=ends.stdout,
        stderr=ends.stderr,
        start_new_session=True,
        preexec_fn=prepare,  # safe: the keeper has one thread
    )
    program.returncode = 0  # `_Children` reaps it
    return program.pid


def _obey(orders: int, program: int, *, is_wrapped: bool) -> bool:
    """Hand signals on; return whether everything is to be killed."""
    received = os.read(orders, 64)
    for byte in received:
        if byte == KILL:
            continue
        inside = group_below(program) if is_wrapped else []
        if inside:
            send(byte, inside)
        else:
            send_to_group(byte, program)
    return not received or KILL in received


def _is_told_to_kill(orders: int) -> bool:
    if not _readable(orders, timeout_s=POLL_S):
        return False
    received = os.read(orders, 64)
    return not received or KILL in received


def _readable(*descriptors: int, timeout_s: float | None = None) -> set[int]:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return {ready for ready, _ in poller.poll(None if timeout_s is None else timeout_s * 1000)}


class _Children:
    """The processes that this one has to reap, with what they used."""

    def __init__(self, program: int) -> None:
        self.program = program
        self.status: int | None = None
        self.peak_rss_kib = 0
        self.cpu_s = 0.0
        self.is_empty = False

    def reap(self) -> None:
        """Reap all that have ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.is_empty = True
                return
            if pid == 0:
                return
            self.peak_rss_kib = max(self.peak_rss_kib, usage.ru_maxrss)
            self.cpu_s += usage.ru_utime + usage.ru_stime
            if pid == self.program:
                self.status = status


def _end_leftovers(children: _Children, is_told_to_kill: Callable[[], bool]) -> list[str]:
    """Ask what the program left to leave; return the names of those that had to be asked."""
    if _is_empty_within(LEAVES_S, children, is_told_to_kill):
        return []
    left = descendants_of(os.getpid())
    names = [name_of(pid) for pid in left]
    send(signal.SIGTERM, left)
    _is_empty_within(GRACE_OF_LEFTOVERS_S, children, is_told_to_kill)
    return names


def _is_empty_within(
    seconds: float, children: _Children, is_told_to_kill: Callable[[], bool]
) -> bool:
    limit = time.monotonic() + seconds
    children.reap()
    while not children.is_empty and time.monotonic() < limit and not is_told_to_kill():
        children.reap()
    return children.is_empty


def _kill_all(children: _Children) -> list[str]:
    """Kill all that is left; return the names of processes that survive it."""
    limit = time.monotonic() + KILL_S
    children.reap()
    while not children.is_empty:
        if children.status is None:
            send_to_group(signal.SIGKILL, children.program)
        living = descendants_of(os.getpid())  # again each time: they may be forking
        send(signal.SIGKILL, living)
        if time.monotonic() > limit:
            return [name_of(pid) for pid in living]
        time.sleep(POLL_S / 4)
        children.reap()
    return []


def _tell(ends: _Ends, **news: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the runner is gone
        os.write(ends.news, json.dumps(news).encode() + b"\n")
