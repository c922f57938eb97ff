"""`python -m anlp.runtime.pool`: many elements on one machine, in forked children.

The pool has torch loaded. Requests come on stdin, replies go to stdout (`anlp.core.pool_messages`).
It ends on request, or when its stdin closes because the process that feeds it died; in both cases
its children are asked to checkpoint first. It never initialises CUDA and has no threads, because
neither survives a fork.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anlp.console.command import run_command
from anlp.core import pool_messages
from anlp.core.errors import EXIT_OK, UserError, describe_error, describe_import
from anlp.core.signals import signal_pipe
from anlp.runtime.cgroups import thread_count
from anlp.runtime.fork import POOL_SIGNALS, ForkContext, Runner, libc
from anlp.runtime.supervisor import ChildSupervisor, Prepare, Slot, load_shared, make_slots

GRACE_S = 20.0


class Pool:
    """The loop that serves requests: one thread, woken by stdin, by signals and by deadlines."""

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
        self._slots = slots
        self._runner = runner
        self._prepare = prepare
        self._requests = requests
        self._replies = replies
        self._grace_s = grace_s
        self._datasets: dict[str, Any] = {}  # by batch file
        self._lines = pool_messages.LineBuffer()
        self._is_stopping = False
        self._cleanup = ExitStack()

    def serve(self) -> None:
        """Serve until stopped, or until requests end and no child is left."""
        with (
            self._cleanup,
            signal_pipe(POOL_SIGNALS) as woken,
            selectors.PollSelector() as selector,
        ):  # epoll has no files
            self._children = ChildSupervisor(
                self._slots,
                ForkContext(
                    self._runner, private=(self._requests, self._replies, *woken.descriptors)
                ),
                self._reply,
                datasets=self._datasets,
                grace_s=self._grace_s,
            )
            selector.register(
                self._requests, selectors.EVENT_READ, lambda: self._read_requests(selector)
            )
            selector.register(woken, selectors.EVENT_READ, lambda: self._heed(woken.take()))
            while self._children.is_busy or not self._is_stopping:
                for key, _ in selector.select(self._children.next_deadline()):
                    key.data()
                self._children.tend()

    def _read_requests(self, selector: selectors.BaseSelector) -> None:
        piece = os.read(self._requests, 1 << 16)
        if not piece:  # the process that sends requests is gone
            selector.unregister(self._requests)
            self._stop_all(now=False)
            return
        for line in self._lines.feed(piece):
            self._obey(line)

    def _heed(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self._stop_all(now=self._is_stopping)

    def _obey(self, line: bytes) -> None:
        try:
            request = pool_messages.parse_request(line)
        except ValueError as error:
            self._reply(pool_messages.NoticeReply(str(error)))
            return
        match request:
            case pool_messages.RunRequest():
                self._children.add(request)
            case pool_messages.CancelRequest(keys):
                self._children.cancel(frozenset(keys))
            case pool_messages.StopRequest(now):
                self._stop_all(now=now)
            case pool_messages.PrepareRequest(batch):
                self._load(batch)

    def _load(self, batch: str) -> None:
        if self._prepare is None or batch in self._datasets:
            return
        found, notice = load_shared(self._prepare, Path(batch), self._cleanup)
        if notice:
            self._reply(pool_messages.NoticeReply(notice))
        else:
            self._datasets[batch] = found

    def _stop_all(self, *, now: bool) -> None:
        self._is_stopping = True
        self._children.stop(now=now)

    def _reply(self, reply: pool_messages.Reply) -> None:
        with contextlib.suppress(BrokenPipeError):  # the end of stdin will follow
            os.write(self._replies, pool_messages.render(reply))


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m anlp.runtime.pool", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--slots", type=int, required=True, help="how many children run at once")
    parser.add_argument(
        "--devices", nargs="*", default=[], help="CUDA_VISIBLE_DEVICES of each slot, taken in turn"
    )
    parser.add_argument("--grace-s", type=float, default=GRACE_S, help="from SIGTERM to SIGKILL")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        help="module to load before forking",
    )
    parser.add_argument(
        "--runner", default="anlp.run:run_element", help="module:function that runs one element"
    )
    parser.add_argument(
        "--prepare", help="module:function that loads what the elements of a batch file share"
    )
    options = parser.parse_args(argv)
    if options.slots < 1:
        parser.error(f"--slots: expected at least 1, got {options.slots}")
    return options


def _resolve(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else module
        why = describe_import(error, missing.partition(".")[0], "train")
        raise UserError(f"the runs cannot start: {why}") from error
    except AttributeError as error:
        raise UserError(f"the runs cannot start: {module} has no {name}") from error
    except (MemoryError, OSError) as error:
        raise UserError(
            f"the runs cannot start: {module} cannot be loaded ({describe_error(error)})"
        ) from error


def _take_over_stdio() -> tuple[int, int]:
    """Return descriptors of requests and replies.

    From here on stdin is closed and stdout is stderr, for libraries that print.
    """
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; the exit code is 0 then."""
    began = time.monotonic()
    options = _parse_arguments(argv)
    requests, replies = _take_over_stdio()
    faulthandler.enable(file=2)  # a child's crash in native code is traced into its log
    for module in options.modules:
        _resolve(f"{module}:__name__")
    runner = _resolve(options.runner)
    prepare = _resolve(options.prepare) if options.prepare else None
    libc()
    slots = make_slots(options.slots, options.devices)
    pool = Pool(slots, runner, prepare, requests=requests, replies=replies, grace_s=options.grace_s)
    ready = pool_messages.ReadyReply(
        os.getpid(), options.slots, thread_count(), round(time.monotonic() - began, 3)
    )
    os.write(replies, pool_messages.render(ready))
    gc.freeze()
    pool.serve()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run_command(main))
