"""A submit in a forked child that is killed at one of its steps: before each thing it does to a
disk or a command.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir", "os.truncate")


def run_until(step: int | None, act: Callable[[], int], root: Path) -> tuple[int | None, int]:
    """Its exit code, None where it was killed before it was done, and how many steps it made.

    Args:
        step: the one that it does not live to make; None: it lives.
        act: what the child does.
        root: only what happens below this folder counts, and commands.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _silence()
        _count_steps(step, root, writer)
        code = 70
        try:
            code = act()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as steps:
        made = len(steps.read())
    _, status = os.waitpid(child, 0)
    return (None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), made


def _count_steps(step: int | None, root: Path, writer: int) -> None:
    made = 0

    def make() -> None:
        nonlocal made
        if made == step:
            os.kill(os.getpid(), signal.SIGKILL)
        made += 1
        os.write_uncounted(writer, b".")  # type: ignore[attr-defined]  # set below

    def hear(event: str, args: tuple[Any, ...]) -> None:
        is_file = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if (
            (is_file or event in CHANGES) and str(args[0]).startswith(str(root))
        ) or event == "subprocess.Popen":
            make()

    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        make()
        done = real(descriptor, content)
        make()
        return done

    os.write_uncounted = real  # type: ignore[attr-defined]
    os.write = write  # type: ignore[assignment]  # bytes are all that anybody here writes
    sys.addaudithook(hear)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
