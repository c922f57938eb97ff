"""What happens in a forked child: it cuts itself loose, runs one element and leaves by its exit code."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from anlp.core.errors import EXIT_CONTINUE, EXIT_ESCAPED
from anlp.core.pool_messages import RunRequest
from anlp.records.folders import GridFolder
from anlp.tasks import read_element

PR_SET_PDEATHSIG = 1
POOL_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
PARENTS_SIGNALS = POOL_SIGNALS | {
    signal.SIGUSR2,
    signal.SIGURG,
}  # whatever a parent of runs may listen to

Runner = Callable[..., int]


@dataclass(frozen=True, slots=True)
class ForkContext:
    """What a child needs to know of its pool."""

    runner: Runner  # (batch: Path, index: int, *, job: str, datasets[, member: int]) -> exit code
    datasets: Any  # what was loaded once for all elements of the batch
    pool_pid: int
    close: Iterable[int] = ()  # descriptors that are the pool's alone
    environment: Mapping[str, str] = field(default_factory=dict)  # of its slot
    held_back: Iterable[int] = ()  # signals that wait until the runner lets them through


def fork(request: RunRequest, inheritance: ForkContext) -> int:
    """Return the pid of a new child that runs the element; the child itself never returns.

    Signals are held back around the fork: one that arrived in the child before it cut itself loose
    would be written to the parent's wake-up descriptor and taken for one sent to the parent.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(request, inheritance, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)  # both sides do it: whoever is first, it holds from here on
    return pid


def _be_child(request: RunRequest, inheritance: ForkContext, mask: Iterable[int]) -> NoReturn:
    code = EXIT_ESCAPED
    try:
        _detach_from_parent(inheritance, mask)
        which = {} if request.member is None else {"member": request.member}
        runner, batch = inheritance.runner, Path(request.batch)
        code = int(
            runner(batch, request.index, job=request.job, datasets=inheritance.datasets, **which)
        )
    except (
        BaseException
    ):  # SystemExit and KeyboardInterrupt too: nothing may climb into the pool's loop
        _report(request, traceback.format_exc())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # no atexit, no destructors: they belong to the pool


def _detach_from_parent(inheritance: ForkContext, mask: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    die_with(inheritance.pool_pid)
    for descriptor in inheritance.close:
        os.close(descriptor)
    os.environ.update(inheritance.environment)
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, *inheritance.held_back})


def die_with(parent: int) -> None:
    """Has the kernel send SIGTERM to this process when `parent` dies, so that it checkpoints and leaves."""
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel knew of our wish
        os._exit(EXIT_CONTINUE)


@functools.cache
def libc() -> ctypes.CDLL:
    """Return the C library; a pool loads it before its first fork."""
    return ctypes.CDLL(None)


def _report(request: RunRequest, text: str) -> None:
    """Appends a traceback to the log of the run, and to stderr where that is another file."""
    sys.stderr.write(text)
    sys.stderr.flush()
    with contextlib.suppress(Exception):  # an unreadable batch file is what the traceback is about
        path = _log_of(request)
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(2))):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as log:
                log.write(text)


def _log_of(request: RunRequest) -> Path:
    batch = Path(request.batch)
    spec = read_element(batch, request.index).specs[request.member or 0]
    return GridFolder(batch.parent.parent).run(spec.run_id).log
