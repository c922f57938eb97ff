"""Run external commands and read their answers: no shell, no terminal, always a time limit."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from anlp.console.debug_log import shorten
from anlp.console.stdio import can_redraw

LOG = logging.getLogger("anlp.external")
NOT_FOUND = 127
NOT_STARTED = 126
TIMED_OUT = 124
SILENT_S = 2.0  # longer waits are announced
CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code.

    The code is 127 if there is no such command, 126 if it may not be run, 124 if it took too long.
    """

    code: int
    out: str
    err: str


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 30.0,
    name: str = "",
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Run a command with stdin closed: one that would ask for a password fails instead of waiting.

    Ctrl-C does not reach it: what a scheduler is about to accept is accepted, and its answer read.
    A wait of more than a moment is announced on stderr.

    Args:
        argv: the command.
        timeout_s: time limit, after which it is killed.
        name: for messages, where the first word does not say what it is.
        environment: of the command; None: this process's own.
    """
    began = time.monotonic()
    answer = _run(argv, timeout_s, name or argv[0], environment)
    LOG.debug(
        "%s: exit code %d after %.2f s\n  out: %s\n  err: %s",
        shlex.join(argv),
        answer.code,
        time.monotonic() - began,
        shorten(answer.out),
        shorten(answer.err),
    )
    return answer


def _run(
    argv: Sequence[str], timeout_s: float, name: str, environment: Mapping[str, str] | None
) -> Answer:
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is a list, nothing reaches a shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",  # the locale may say another
            errors="replace",
            env=environment,
            start_new_session=True,  # no terminal: passwords are asked for on /dev/tty
        )
    except FileNotFoundError:
        if found := shutil.which(argv[0]):
            return Answer(NOT_STARTED, "", f"{found}: the interpreter in its first line is missing")
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
    """Kill a command with all that it started: at some sites commands are scripts."""
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
    """Announce a wait: on a terminal in a line that is erased, elsewhere in one that stays."""
    stream = sys.stderr
    if not can_redraw(stream):
        print(words, file=stream, flush=True)
        yield
        return
    print(words, end="", file=stream, flush=True)
    try:
        yield
    finally:
        print(CLEAR_LINE, end="", file=stream, flush=True)
