"""The one way in which `jobs` runs a command and reads its answer: no shell, no terminal, always a time limit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

NOT_FOUND = 127
TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said; `code` is 127 where it does not exist and 124 where it took too long."""

    code: int
    out: str
    err: str


def run(argv: Sequence[str], *, timeout_s: float = 30.0) -> Answer:
    """Runs `argv` with stdin closed, so that a command which would ask for a password fails instead of waiting.

    Ctrl-C does not reach it: what a scheduler is about to accept is accepted, and its answer read.
    """
    try:
        done = subprocess.run(  # noqa: S603 - argv is a list, nothing reaches a shell
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            start_new_session=True,  # no terminal: a ticket's password is asked for on /dev/tty, not on stdin
        )
    except FileNotFoundError:
        return Answer(NOT_FOUND, "", f"{argv[0]}: no such command")
    except subprocess.TimeoutExpired:
        return Answer(TIMED_OUT, "", f"{argv[0]}: no answer after {timeout_s:g} s")
    return Answer(done.returncode, done.stdout, done.stderr)
