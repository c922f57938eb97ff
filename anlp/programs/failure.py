"""Why a program failed: its own exception in many languages, else its exit code or signal."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

from anlp.core.signals import describe_signal
from anlp.programs.hints import with_hint
from anlp.programs.process import Ended
from anlp.programs.tracebacks import last_python_error
from anlp.records.crash import CrashRecord
from anlp.records.results import RunError

EXIT_CODE = "ExitCode"  # type of an error without an exception
SHELLS_SIGNAL = 128  # a shell's and a container's exit code is this plus the signal's number
MOST_OF_LINE = 500

# Values of `jobs.schedulers.base.Cause`.
OUT_OF_MEMORY = "out of memory"
TIME_LIMIT = "time limit"
KILLED = "killed by a signal"

_SIGNALS = frozenset(
    {
        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGILL, signal.SIGTRAP,
        signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL, signal.SIGUSR1,
        signal.SIGSEGV, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM,
        signal.SIGXCPU, signal.SIGXFSZ,
    }
)  # fmt: skip
_ELASTIC_SIGNAL = re.compile(
    r"^Root Cause \(first observed failure\):$.*?^\s*exitcode\s*: -(\d+) ", re.MULTILINE | re.DOTALL
)
_NOISE = re.compile(r"(?:\s*wandb: .*|Failed to export \w+ batch code: .*|[\W_]*)$")


def failure_of(ended: Ended, *, ran_out_of_memory: bool = False) -> RunError | CrashRecord | None:
    """Return why a program failed: an error of its own, or a loss; None where it ended well.

    A program that caught what went wrong and left with a code has failed; one that was ended by a
    signal was lost, unless it printed the exception that did it.

    Args:
        ended: how it ended, by itself: what a program does when it is asked to leave is the
            caller's to judge.
        ran_out_of_memory: the kernel killed a process of the job meanwhile.
    """
    if ended.code == 0:
        return None
    number = signal_of(ended)
    error = _error_in(ended.last_stderr)
    if number is not None and not (error is not None and number == signal.SIGABRT):
        return loss_by_signal(number, ran_out_of_memory=ran_out_of_memory)
    if error is not None:
        return with_hint(error)
    message = f"exit code {ended.code}"
    line = last_line(ended.last_stderr) or last_line(ended.last_stdout)
    return RunError(EXIT_CODE, f"{message}: {line}" if line else message, "")


def signal_of(ended: Ended) -> int | None:
    """Return the signal that ended the program, or a process that it passes the end of on."""
    if ended.signal is not None or ended.code is None:
        return ended.signal
    number = ended.code - SHELLS_SIGNAL
    if number in _SIGNALS:
        return number
    worker = _ELASTIC_SIGNAL.search(ended.last_stderr)
    return int(worker[1]) if worker else None


def loss_by_signal(number: int, *, ran_out_of_memory: bool = False) -> CrashRecord:
    """Return the record of a run that a signal ended."""
    if number == signal.SIGKILL and ran_out_of_memory:
        return CrashRecord(OUT_OF_MEMORY, "the kernel killed it: the memory of its job ran out")
    if number == signal.SIGXCPU:
        return CrashRecord(TIME_LIMIT, f"{describe_signal(number)}: its limit of processor time")
    return CrashRecord(KILLED, describe_signal(number))


def last_line(text: str) -> str:
    r"""Return the last line that says something; wandb's farewell and rulers do not.

    >>> last_line("train.py: error: no --lr\n=====\nwandb: Find logs at: wandb/run-1\n")
    'train.py: error: no --lr'
    """
    for line in reversed(text.splitlines()):
        if not _NOISE.match(line):
            return line.strip()[:MOST_OF_LINE]
    return ""


def _error_in(text: str) -> RunError | None:
    for find in _FINDERS:
        error = find(text)
        if error is not None:
            return error
    return None


_CPP = re.compile(
    r"^terminate called after throwing an instance of '(?P<type>[^']+)'"
    r"(?:\n\s*what\(\):\s*(?P<message>.*))?|"
    r"^libc\+\+abi: terminating due to uncaught exception of type "
    r"(?P<type_of_llvm>[^\s:]+(?:::\w+)*)"
    r"(?:: (?P<message_of_llvm>.*))?",
    re.MULTILINE,
)
_JULIA = re.compile(
    r"^ERROR: (?:LoadError: )*(?P<message>.+(?:\n(?!Stacktrace:).*){0,20})\nStacktrace:\n",
    re.MULTILINE,
)
_JULIA_TYPE = re.compile(
    r"(?P<type>\w+(?:Error|Exception)(?=\b))(?:\(.*\)$|:? ?)(?P<message>[\s\S]*)"
)
_R = re.compile(
    r"^Error(?: in (?P<call>.+?) ?)?: ?\n?\s*(?P<message>\S.*)"
    r"(?:\n.*){0,50}?\nExecution halted\s*$",
    re.MULTILINE,
)
_RUST = re.compile(r"^thread '.*' panicked at (?P<place>.+):\n(?P<message>.*)", re.MULTILINE)
_GO = re.compile(r"^panic: (?P<message>.*)\n(?:.*\n){0,50}?goroutine \d+ \[", re.MULTILINE)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return found


def _cpp_error(text: str) -> RunError | None:
    found = _last(_CPP, text)
    if found is None:
        return None
    name = found["type"] or found["type_of_llvm"]
    return RunError(name, (found["message"] or found["message_of_llvm"] or "").strip(), found[0])


def _julia_error(text: str) -> RunError | None:
    found = _last(_JULIA, text)
    if found is None:
        return None
    typed = _JULIA_TYPE.match(found["message"])
    if typed is None:
        return RunError("ErrorException", found["message"].strip(), text[found.start() :])
    return RunError(
        typed["type"], typed["message"].strip() or found["message"], text[found.start() :]
    )


def _r_error(text: str) -> RunError | None:
    found = _last(_R, text)
    return None if found is None else RunError("Error", found["message"].strip(), found[0])


def _rust_error(text: str) -> RunError | None:
    found = _last(_RUST, text)
    return None if found is None else RunError("panic", found["message"].strip(), found[0])


def _go_error(text: str) -> RunError | None:
    found = _last(_GO, text)
    return None if found is None else RunError("panic", found["message"].strip(), found[0])


_FINDERS: tuple[Callable[[str], RunError | None], ...] = (
    last_python_error,
    _cpp_error,
    _julia_error,
    _r_error,
    _rust_error,
    _go_error,
)
