"""What a job's attributes mean: its phase and, once it ended, why; by its comment first, then by its exit status.

A number alone says little: 271 is what qdel leaves, and on older releases the time limit as well; a sub-job that was
deleted before it ran has the exit status of whichever sub-job ended last.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from jobs.schedulers.base import Cause, JobState, Phase
from jobs.schedulers.pbs_answers import Record
from jobs.schedulers.pbs_request import Dialect

PHASES: Mapping[str, Phase] = {
    "Q": Phase.QUEUED,
    "H": Phase.QUEUED,
    "W": Phase.QUEUED,
    "T": Phase.QUEUED,  # on its way to another queue
    "M": Phase.QUEUED,  # moved to another server
    "R": Phase.RUNNING,
    "E": Phase.RUNNING,  # its output is being copied
    "B": Phase.RUNNING,
    "S": Phase.RUNNING,  # suspended
    "U": Phase.RUNNING,  # suspended: its node is in use
    "X": Phase.ENDED,
    "F": Phase.ENDED,
    "C": Phase.ENDED,  # Torque
}
NO_RECORD = "Subjob finished"  # comment of a sub-job that the server has nothing about but that it is over
FULL = 0.95  # of its memory, from which on a kill is taken for the kernel's

EXITS: Mapping[int, str] = {
    70: "exit code 70: an exception escaped; the job's output has its traceback",
    72: "exit code 72: its script could not begin; the job's output says why",
    126: "exit code 126: a program on the node cannot be executed",
    127: "exit code 127: a program was not found on the node",
}
_PRO: Mapping[int, tuple[Cause, str]] = {
    -29: (Cause.TIMEOUT, "exceeded its time limit"),
    -28: (Cause.TIMEOUT, "exceeded its CPU time"),
    -27: (Cause.OUT_OF_MEMORY, "exceeded its memory"),
    -26: (Cause.OUT_OF_MEMORY, "exceeded its virtual memory"),
    -23: (Cause.EXIT, "Kerberos credentials were missing"),
    -2: (Cause.NODE, "the node could not start it: is the home directory there?"),
}
_TORQUE: Mapping[int, tuple[Cause, str]] = {
    -10: (Cause.OUT_OF_MEMORY, "exceeded its memory"),
    -11: (Cause.TIMEOUT, "exceeded its time limit"),
    -12: (Cause.TIMEOUT, "exceeded its CPU time"),
}


def state_of(record: Record, dialect: Dialect, *, has_history: bool = True) -> JobState:
    """The state of a job or sub-job; letters that we do not know count as alive.

    Args:
        record: its attributes.
        dialect: whose numbers they are.
        has_history: whether the server keeps ended jobs; where it does not, `Subjob finished` says nothing more.
    """
    phase = PHASES.get(record.get("job_state"), Phase.QUEUED)
    if phase is not Phase.ENDED:
        return JobState(phase, None, _waits_for(record) if phase is Phase.QUEUED else "")
    cause, detail = _judge(record, dialect, has_history)
    return JobState(phase, cause, detail)


def _waits_for(record: Record) -> str:
    """Why it does not run, where that will not change by itself."""
    comment = record.get("comment")
    if comment.startswith("Can Never Run"):
        return comment
    if record.get("job_state") == "H":
        return f"held ({record.get('hold_types') or 'by PBS'})" + (f": {comment}" if comment else "")
    return ""


def _judge(record: Record, dialect: Dialect, has_history: bool) -> tuple[Cause | None, str]:
    comment, status = record.get("comment"), _number(record.get("exit_status"))
    if comment == NO_RECORD:
        return _judge_without_record(has_history)
    if exceeded := re.search(r"exceeded resource (\w+)", comment):
        return _cause_of_resource(exceeded[1]), f"exceeded resource {exceeded[1]}{_used(record, exceeded[1])}"
    if deleted := re.search(r"terminated by (\S+)", comment):
        return Cause.CANCELLED, f"deleted by {deleted[1]}"
    if status is None:
        return _judge_never_ran(record, dialect)
    table = _PRO if dialect is Dialect.PRO else _TORQUE
    if status in table:
        cause, words = table[status]
        return cause, f"{words} (exit status {status})"
    if status < 0:
        return Cause.NODE, f"the node could not run it (exit status {status})"
    return _judge_status(status, record, dialect)


def _judge_without_record(has_history: bool) -> tuple[Cause, str]:
    if has_history:
        return Cause.CANCELLED, "deleted before it ran"
    return Cause.UNKNOWN, "over, and PBS keeps no record of it (its history is off)"


def _judge_never_ran(record: Record, dialect: Dialect) -> tuple[Cause, str]:
    if record.get("substate") == "91" or dialect is Dialect.TORQUE:
        return Cause.CANCELLED, "deleted before it ran"
    if record.get("depend").startswith("after"):
        return Cause.CANCELLED, "never started: what it waited for ended otherwise"
    return Cause.UNKNOWN, "never started"


def _judge_status(status: int, record: Record, dialect: Dialect) -> tuple[Cause | None, str]:
    if status in (0, 1):
        return None, ""
    if status == 3:
        return Cause.CONTINUE, "it saved a checkpoint and left"
    if status == 4:
        return None, "another process is training it"
    number = status - 256 if status > 256 else status - 128
    if status > 128 and 0 < number < 65:
        return _judge_signal(number, status, record, dialect)
    return Cause.EXIT, EXITS.get(status, f"exit code {status}")


def _judge_signal(number: int, status: int, record: Record, dialect: Dialect) -> tuple[Cause, str]:
    is_kill = number in (signal.SIGTERM, signal.SIGKILL)
    if is_kill and _is_used_up(record, "walltime", 1.0):
        return Cause.TIMEOUT, f"killed at its time limit{_used(record, 'walltime')}"
    if number == signal.SIGKILL and _is_used_up(record, "mem", FULL):
        return Cause.OUT_OF_MEMORY, f"killed when its memory was full{_used(record, 'mem')}"
    if dialect is Dialect.TORQUE and status == 256 + signal.SIGTERM:
        return Cause.CANCELLED, "deleted (exit status 271)"
    name = f" ({signal.Signals(number).name})" if number in signal.valid_signals() and number < signal.SIGRTMIN else ""
    return Cause.SIGNAL, f"signal {number}{name}"


def _cause_of_resource(name: str) -> Cause:
    if name in ("walltime", "cput"):
        return Cause.TIMEOUT
    return Cause.OUT_OF_MEMORY if name.endswith("mem") else Cause.EXIT


def _used(record: Record, name: str) -> str:
    used, asked = record.get(f"resources_used.{name}"), record.get(f"Resource_List.{name}")
    return f": used {used} of {asked}" if used and asked else ""


def _is_used_up(record: Record, name: str, share: float) -> bool:
    used, asked = (_amount(record.get(f"{kind}.{name}")) for kind in ("resources_used", "Resource_List"))
    return used is not None and asked is not None and asked > 0 and used >= share * asked


def _amount(text: str) -> float | None:
    """Seconds of `00:01:30`, KiB of `7260kb`; None for anything else."""
    if re.fullmatch(r"\d+(:\d+){1,2}", text):
        seconds = 0
        for part in text.split(":"):
            seconds = seconds * 60 + int(part)
        return seconds
    match = re.fullmatch(r"(\d+)([kmgt]?)b", text, re.IGNORECASE)
    return (
        int(match[1]) * {"": 1 / 1024, "k": 1, "m": 1024, "g": 1024**2, "t": 1024**3}[match[2].lower()]
        if match
        else None
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text) else None
