"""The one way in which `jobs` runs a command and reads its answer: no shell, no terminal, always a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NOT_FOUND = 127
NOT_STARTED = 126
TIMED_OUT = 124
SILENT_S = 2.0  # a wait that nobody need be told of
CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said; its code is 127 where there is none, 126 if it may not be run, 124 if it took too long."""

    code: int
    out: str
    err: str


def run(argv: Sequence[str], *, timeout_s: float = 30.0, name: str = "") -> Answer:
    """Runs `argv` with stdin closed, so that a command which would ask for a password fails instead of waiting.

    Ctrl-C does not reach it: what a scheduler is about to accept is accepted, and its answer read. Whoever waits for
    longer than a moment is told for what, on stderr.

    Args:
        argv: the command.
        timeout_s: after which it is killed.
        name: what it is called, where its first word does not say so.
    """
    name = name or argv[0]
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is a list, nothing reaches a shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # no terminal: a ticket's password is asked for on /dev/tty, not on stdin
        )
    except FileNotFoundError:
        return Answer(NOT_FOUND, "", f"{name}: no such command")
    except OSError as error:
        return Answer(NOT_STARTED, "", f"{name}: {error.strerror}")
    with process:
        try:
            out, err = _read(process, name, timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            return Answer(TIMED_OUT, "", f"{name}: no answer after {timeout_s:g} s")
        except BaseException:
            _kill(process)
            raise
        return Answer(process.wait(), out, err)


def _kill(process: subprocess.Popen[str]) -> None:
    """With all that it started: at some sites commands are scripts, and nothing of them may stay behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(process: subprocess.Popen[str], name: str, timeout_s: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=min(timeout_s, SILENT_S))
    except subprocess.TimeoutExpired:
        if timeout_s <= SILENT_S:
            raise
        with _waiting(f"waiting for {name}, {timeout_s:g} s at most"):
            return process.communicate(timeout=timeout_s - SILENT_S)


@contextmanager
def _waiting(words: str) -> Iterator[None]:
    """Says so meanwhile: on a terminal on a line that goes away again, elsewhere on one that stays."""
    stream = sys.stderr
    if not stream.isatty():
        print(words, file=stream, flush=True)
        yield
        return
    print(words, end="", file=stream, flush=True)
    try:
        yield
    finally:
        print(CLEAR_LINE, end="", file=stream, flush=True)
