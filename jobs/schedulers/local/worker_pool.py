"""Start, speak to and end a pool process (`python -m anlp.runtime.pool`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from anlp.core import pool_messages
from anlp.core.files import AppendedFile
from jobs.containers.apptainer import Container
from jobs.schedulers.local.slots import SlotPlan


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Says what a pool loads and how it ends its runs; tests put other runners in."""

    runner: str = "anlp.run:run_element"
    prepare: str | None = "anlp.runtime.preload:prepare"
    modules: tuple[str, ...] = ("torch",)
    grace_s: float = 20.0  # from SIGTERM to SIGKILL
    container: Container | None = None  # the image it runs in


def render_argv(plan: SlotPlan, options: PoolOptions) -> list[str]:
    """Return the command that starts the pool."""
    loads = [word for module in options.modules for word in ("--import", module)]
    prepare = ["--prepare", options.prepare] if options.prepare else []
    words = [
        *("-m", "anlp.runtime.pool"),
        *("--slots", str(plan.slots)),
        *("--grace-s", f"{options.grace_s:g}"),
        *("--runner", options.runner),
        *prepare,
        *loads,
        *("--devices", *plan.devices),
    ]
    if options.container is None:
        return [sys.executable, *words]
    return [*options.container.python_argv(*words)]


def render_environment(
    inherited: Mapping[str, str], container: Container | None = None
) -> dict[str, str]:
    """Return the pool's environment: one thread per process, and CUDA left to the forks."""
    environment = {**inherited, **pool_messages.FORKING}
    return environment if container is None else container.environment(environment)


class PoolProcess:
    """Holds a running pool, in a session of its own: Ctrl-C reaches its launcher alone."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.is_ready = False
        with AppendedFile(log) as errors:
            self._process = subprocess.Popen(  # noqa: S603 - argv is a list, nothing reaches a shell
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                bufsize=0,
                start_new_session=True,
            )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        self._lines = pool_messages.LineBuffer()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are replies or the pool has ended."""
        return self._replies.fileno()

    def send(self, *requests: pool_messages.Request) -> None:
        """Hand requests over; `read` notices a pool that is dead by now."""
        rest = b"".join(pool_messages.render(request) for request in requests)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[self._requests.write(rest) :]

    def read(self) -> list[pool_messages.Reply] | None:
        """Wait for replies and return them; None once the pool has ended."""
        piece = os.read(self.fileno(), 1 << 16)
        replies = [pool_messages.parse_reply(line) for line in self._lines.feed(piece)]
        self.is_ready = self.is_ready or any(
            isinstance(reply, pool_messages.ReadyReply) for reply in replies
        )
        return replies if piece else None

    def terminate(self) -> None:
        """Ask it to stop by a signal, for a pool that does not read requests yet."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once; the kernel tells its children."""
        self._process.kill()

    def close(self, timeout_s: float) -> int:
        """Let it end, by force after `timeout_s`; return its exit code, negative for a signal."""
        self._requests.close()
        self._replies.close()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        if self.log.exists() and self.log.stat().st_size == 0:
            self.log.unlink(missing_ok=True)
        return code

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it left no message"
