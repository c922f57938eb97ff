"""Forked children: each detaches from its parent, runs one element and exits with its code."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from anlp.core.errors import EXIT_CONTINUE, EXIT_ESCAPED
from anlp.core.files import append_whole, make_folder
from anlp.core.pool_messages import RunRequest
from anlp.records.folders import GridFolder
from anlp.tasks import read_element

PR_SET_PDEATHSIG = 1
POOL_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
PARENTS_SIGNALS = POOL_SIGNALS | {signal.SIGUSR2, signal.SIGURG}  # that a parent may listen to

Runner = Callable[..., int]


@dataclass(frozen=True, slots=True)
class ForkContext:
    """What all children of a parent get.

    Args:
        runner: what a child runs: (batch: Path, index: int, *, job: str, datasets[, member: int])
            -> exit code.
        private: descriptors that a child closes.
        blocked: signals that wait until the runner unblocks them.
    """

    runner: Runner
    private: Iterable[int] = ()
    blocked: Iterable[int] = ()


def fork(
    request: RunRequest, context: ForkContext, datasets: Any, environment: Mapping[str, str]
) -> int:
    """Fork a child that runs the element, and return its pid; the child itself never returns.

    Signals are blocked around the fork: one that arrived in the child before it detached would be
    written to the parent's wake-up descriptor and taken for one sent to the parent.

    Args:
        request: which element to run.
        context: what all children of this process get.
        datasets: what was loaded once for all elements of the batch.
        environment: set in the child.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)

    def run_child() -> int:
        _detach_from_parent(context, parent)
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, {*before, *context.blocked})
        which = {} if request.member is None else {"member": request.member}
        batch, job = Path(request.batch), request.job
        code = context.runner(batch, request.index, job=job, datasets=datasets, **which)
        return int(code)

    try:
        pid = os.fork()
        if pid == 0:
            _be_child(run_child, request)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)  # both processes do it: it holds from here on
    return pid


def _be_child(work: Callable[[], int], request: RunRequest) -> NoReturn:
    code = EXIT_ESCAPED
    try:
        code = work()
    except BaseException:  # SystemExit, too: nothing may rise into the loop of the parent
        _report(request, traceback.format_exc())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # no atexit, no destructors: they belong to the pool


def _detach_from_parent(context: ForkContext, parent: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    die_with(parent)
    for descriptor in context.private:
        os.close(descriptor)


def die_with(parent: int) -> None:
    """Let the kernel send SIGTERM to this process when `parent` dies, so that it checkpoints."""
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call
        os._exit(EXIT_CONTINUE)


@functools.cache
def libc() -> ctypes.CDLL:
    """Return the C library; a pool loads it before its first fork."""
    return ctypes.CDLL(None)


def _report(request: RunRequest, text: str) -> None:
    """Append a traceback to the log of the run, and to stderr where that is another file."""
    sys.stderr.write(text)
    sys.stderr.flush()
    with contextlib.suppress(Exception):  # an unreadable batch file is what the traceback is about
        path = _log_of(request)
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(2))):
            make_folder(path.parent)
            append_whole(path, text.encode(errors="backslashreplace"))


def _log_of(request: RunRequest) -> Path:
    batch = Path(request.batch)
    spec = read_element(batch, request.index).specs[request.member or 0]
    return GridFolder(batch.parent.parent).run(spec.run_id).log
