"""Runs a program to its end: its output to the log, signals to all of it, nothing outlives it."""

from __future__ import annotations

import errno
import json
import os
import selectors
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core.errors import UserError
from anlp.core.signals import signal_pipe
from anlp.programs.bounded_log import BoundedLog, LineFilter
from anlp.programs.keeper import KILL, Keeper, Launch, start_keeper
from anlp.programs.process_tree import descendants_of, send

__all__ = ["Ended", "Launch", "Limits", "ProgramNotStartedError", "supervise"]

CHUNK = 1 << 16
KEPT = 1 << 16  # last bytes of each stream, for those who look for a value or a traceback
DRAINED = 1 << 20  # of what is in a pipe when all of the program has ended
KIB_PER_MIB = 1024.0


class ProgramNotStartedError(UserError):
    """The program could not be started; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a program is watched."""

    tick_s: float  # from one look at what it writes to the next
    grace_s: float  # from the signal that asks it to leave to SIGKILL
    log_limit_bytes: int = 20_000_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int | None  # None: a signal ended it
    signal: int | None
    was_stopped: bool  # it was asked to leave
    was_killed: bool  # it was asked and did not leave in time
    printed_bytes: int
    dropped_bytes: int  # printed, and not in the log
    last_stdout: str
    last_stderr: str
    peak_rss_mib: float  # of its largest process
    cpu_s: float
    left: tuple[str, ...] = ()  # names of processes that it left behind; they were ended
    stuck: tuple[str, ...] = ()  # of those that even SIGKILL did not end
    log_error: str = ""  # why a part of the log could not be written

    @property
    def notes(self) -> list[str]:
        """Return sentences on what is worth knowing beside the end itself."""
        found = []
        if self.dropped_bytes:
            found.append(
                f"the program printed {self.printed_bytes:,} bytes; {self.dropped_bytes:,} of "
                "them are left out of its log"
            )
        if self.log_error:
            found.append(f"a part of its log could not be written: {self.log_error}")
        if self.left:
            many = "1 process" if len(self.left) == 1 else f"{len(self.left)} processes"
            names = ", ".join(sorted(set(self.left)))
            found.append(f"ended {many} that the program left behind: {names}")
        if self.stuck:
            found.append(f"not even SIGKILL ended: {', '.join(sorted(set(self.stuck)))}")
        return found


def supervise(
    launch: Launch,
    log: Path,
    limits: Limits,
    *,
    on_tick: Callable[[], None],
    stop_signal: Callable[[], int | None],
) -> Ended:
    """Run a program and return how it ended; nothing that it started lives then.

    Signals wake this process only in its main thread. Should `on_tick` raise, the program is
    killed. Should this process be killed, the program is killed as well.

    Args:
        launch: what is started.
        log: gets what is printed, in the order of arrival.
        limits: of time and size.
        on_tick: called every `tick_s`.
        stop_signal: the signal that asks the program to leave, None while it may go on.

    Raises:
        ProgramNotStartedError: it could not be started.
    """
    out = BoundedLog(log, limits.log_limit_bytes)
    try:
        keeper = start_keeper(launch)
        try:
            watch = _Watch(keeper, out, limits)
            watch.run(on_tick, stop_signal)
        finally:
            keeper.close()
    finally:
        out.close()
    if watch.error is not None:
        raise ProgramNotStartedError(_explain(launch, *watch.error))
    return watch.ended(out)


class _Stream:
    """One of the program's two streams."""

    def __init__(self) -> None:
        self.lines = LineFilter()
        self.last = bytearray()
        self.printed = 0

    def feed(self, data: bytes) -> bytes:
        self.printed += len(data)
        return self._keep(self.lines.feed(data))

    def take(self) -> bytes:
        return self._keep(self.lines.take())

    def text(self) -> str:
        return bytes(self.last[-KEPT:]).decode(errors="replace")

    def _keep(self, lines: bytes) -> bytes:
        self.last += lines[-KEPT:]
        if len(self.last) > 2 * KEPT:
            del self.last[:-KEPT]
        return lines


class _Watch:
    """One program while it runs."""

    def __init__(self, keeper: Keeper, log: BoundedLog, limits: Limits) -> None:
        self.error: tuple[int | None, str, str] | None = None
        self._keeper = keeper
        self._log = log
        self._limits = limits
        self._streams = {keeper.stdout: _Stream(), keeper.stderr: _Stream()}
        self._news = b""
        self._program: int | None = None  # its process
        self._end: Mapping[str, Any] | None = None
        self._was_stopped = False
        self._was_killed = False
        self._has_ended = False  # the program itself
        self._kill_at: float | None = None

    def run(self, on_tick: Callable[[], None], stop_signal: Callable[[], int | None]) -> None:
        """Return when the keeper has ended everything."""
        next_tick = time.monotonic() + self._limits.tick_s
        with selectors.DefaultSelector() as selector, signal_pipe() as arrived:
            for descriptor in (*self._streams, self._keeper.news):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.register(arrived, selectors.EVENT_READ)
            while self._end is None:
                self._mind_stop(stop_signal)
                for key, _ in selector.select(self._wait_s(next_tick)):
                    if key.fd == arrived.fileno():
                        arrived.take()
                    elif not self._receive(key.fd):
                        selector.unregister(key.fd)
                if time.monotonic() >= next_tick:
                    self._show()
                    on_tick()
                    next_tick = time.monotonic() + self._limits.tick_s
        self._drain()

    def _wait_s(self, next_tick: float) -> float:
        limit = next_tick if self._kill_at is None else min(next_tick, self._kill_at)
        return max(0.0, limit - time.monotonic())

    def _mind_stop(self, stop_signal: Callable[[], int | None]) -> None:
        if self._has_ended:
            return
        if not self._was_stopped:
            number = stop_signal()
            if number is not None:
                self._was_stopped = True
                self._kill_at = time.monotonic() + self._limits.grace_s
                self._keeper.order(_signal_to_hand(number))
        elif self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._was_killed, self._kill_at = True, None
            self._keeper.order(KILL)

    def _receive(self, descriptor: int) -> bool:
        """Take what has arrived; return whether more may come."""
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return True
        if descriptor != self._keeper.news:
            self._log.write(self._streams[descriptor].feed(data))
        elif data:
            self._news += data
            *lines, self._news = self._news.split(b"\n")
            for line in lines:
                self._learn(json.loads(line))
        elif self._end is None:  # the keeper was killed, and with it the program
            self._end = {"status": int(signal.SIGKILL)}
            self._kill_orphans()
        return bool(data)

    def _learn(self, news: Mapping[str, Any]) -> None:
        if "error" in news:
            number, name, text = news["error"]
            self.error = (number, name, text)
            self._end = {}
        elif "started" in news:
            self._program = news["started"]
        elif "ended" in news:
            self._has_ended, self._kill_at = True, None
        elif "status" in news:
            self._end = news

    def _kill_orphans(self) -> None:
        """Kill what survives its keeper: what Apptainer starts is not bound to its parent's end."""
        if self._program is not None:
            send(signal.SIGKILL, [*descendants_of(self._program), self._program])

    def _show(self) -> None:
        for stream in self._streams.values():
            self._log.write(stream.take())
        self._log.flush()

    def _drain(self) -> None:
        """Read what is left in the pipes; a process elsewhere may hold them open for ever."""
        for descriptor in self._streams:
            for _ in range(DRAINED // CHUNK):
                before = self._streams[descriptor].printed
                if not self._receive(descriptor) or self._streams[descriptor].printed == before:
                    break
        self._show()

    def ended(self, log: BoundedLog) -> Ended:
        """Return how it ended."""
        end = self._end or {}
        code = os.waitstatus_to_exitcode(end.get("status") or 0)
        stdout, stderr = self._streams.values()
        return Ended(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            was_stopped=self._was_stopped,
            was_killed=self._was_killed,
            printed_bytes=stdout.printed + stderr.printed,
            dropped_bytes=log.left_out,
            last_stdout=stdout.text(),
            last_stderr=stderr.text(),
            peak_rss_mib=round(end.get("rss", 0) / KIB_PER_MIB, 1),
            cpu_s=round(end.get("cpu", 0.0), 3),
            left=tuple(end.get("left", ())),
            stuck=tuple(end.get("stuck", ())),
            log_error=log.error,
        )


def _signal_to_hand(number: int) -> int:
    """Return what a program is sent: it would ignore SIGURG, which this suite may be sent."""
    return int(signal.SIGTERM) if number == signal.SIGURG else int(number)


def _explain(launch: Launch, number: int | None, name: str, text: str) -> str:
    """Return the sentence for a program that could not be started."""
    program = launch.argv[0]
    if name == str(launch.cwd):
        return f"{launch.cwd}: the program's working folder cannot be entered ({text})"
    if number == errno.E2BIG:
        return (
            f"{program}: its arguments and environment are too long for this system; "
            "hand values over in a file: ${args_json_file}"
        )
    path = _path_of(launch)
    if number == errno.ENOENT and path is None:
        where = "" if "/" in program else " on PATH; is its environment active, its module loaded?"
        return f"{program}: there is no such program{where}"
    if number == errno.ENOENT:
        return (
            f"{program}: the interpreter that its first line names does not exist: {_shebang(path)}"
        )
    if number in (errno.EACCES, errno.ENOEXEC):
        return f"{program}: {_why_not_executable(number, path)}"
    return f"{program}: it could not be started ({text})"


def _why_not_executable(number: int, path: Path | None) -> str:
    if path is not None and path.is_dir():
        return "it is a folder, not a program"
    if number == errno.EACCES:
        return (
            "it may not be executed; make it executable (chmod +x) or name its interpreter: "
            'command: [python, "${program}", "${args}"]'
        )
    return (
        "it is no program for this machine (exec format error); begin it with a line like "
        "#!/bin/sh, or name its interpreter in `command`"
    )


def _path_of(launch: Launch) -> Path | None:
    program = launch.argv[0]
    if "/" in program:
        path = launch.cwd / program
        return path if os.path.lexists(path) else None
    found = shutil.which(program, os.F_OK, launch.environment.get("PATH", os.defpath))
    return None if found is None else Path(found)


def _shebang(path: Path | None) -> str:
    try:
        with open(path or "", "rb") as file:  # noqa: PTH123 - of a path that may be missing
            return file.readline(200).decode(errors="replace").strip()
    except OSError:
        return ""
