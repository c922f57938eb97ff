"""Tell a job's phase and, once it ended, the cause: by its comment first, then by its exit status.

A number alone says little: 271 is what qdel leaves, and on older releases the time limit as well; a
sub-job that was deleted before it ran has the exit status of the sub-job that ended last.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import replace

from jobs.schedulers.base import (
    Cause,
    JobState,
    Phase,
    can_never_run,
    state_of_exit,
    state_of_signal,
)
from jobs.schedulers.pbs.parse import Record
from jobs.schedulers.pbs.validate import Dialect

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
ENDED_LETTERS = frozenset(letter for letter, phase in PHASES.items() if phase is Phase.ENDED)
BEING_DELETED = "being deleted by"
COPIES_OUTPUT = "ended; PBS copies its output"
# Comment of a sub-job of which the server only knows that it is over: all else in its record is
# its array's, with the exit status of the sub-job that ended last. Current servers know the first
# comment, older ones all three.
NO_RECORD = re.compile(r"Subjob (finished|failed|terminated)")
HELD_BACK = JobState(Phase.ENDED, Cause.SKIPPED, "its canary did not pass")
FULL = 0.95  # of its memory, from which on a kill is taken for the kernel's
KIB_PER = {"": 1 / 1024, "k": 1, "m": 1024, "g": 1024**2, "t": 1024**3}

# What a node says where it could not run a job, or stopped it: PBS Pro's numbers, and those of
# Torque that differ.
_MOM_RESTARTED = (Cause.NODE, "its node's PBS was started anew")
_PRO: Mapping[int, tuple[Cause, str]] = {
    -29: (Cause.TIMEOUT, "exceeded its time limit"),
    -28: (Cause.TIMEOUT, "exceeded its CPU time"),
    -27: (Cause.OUT_OF_MEMORY, "exceeded its memory"),
    -26: (Cause.OUT_OF_MEMORY, "exceeded its virtual memory"),
    -25: (Cause.EXIT, "used more CPUs than it had asked for"),
    -24: (Cause.EXIT, "used more CPUs than it had asked for"),
    -23: (Cause.NOT_STARTED, "Kerberos credentials were missing"),
    -20: (Cause.NODE, "its node was lost"),
    -11: (Cause.PREEMPTED, "sent back to the queue"),
    **dict.fromkeys((-4, -5, -6), _MOM_RESTARTED),
    -2: (Cause.NOT_STARTED, "the node could not start it: is the home directory there?"),
}
_TORQUE: Mapping[int, tuple[Cause, str]] = {
    **dict.fromkeys((-4, -5, -6), _MOM_RESTARTED),
    -10: (Cause.OUT_OF_MEMORY, "exceeded its memory"),
    -11: (Cause.TIMEOUT, "exceeded its time limit"),
    -12: (Cause.TIMEOUT, "exceeded its CPU time"),
}


def state_of(record: Record, dialect: Dialect, *, has_history: bool = True) -> JobState:
    """Return the state of a job or sub-job; letters that are not known count as alive.

    Args:
        record: its attributes.
        dialect: whose numbers they are.
        has_history: whether the server keeps ended jobs; where it does not, `Subjob finished` says
            nothing more.
    """
    record = _without_comment_of_sub_jobs(record)
    phase = PHASES.get(record.get("job_state"), Phase.QUEUED)
    if phase is Phase.QUEUED:
        return JobState(phase, None, _waits_for(record))
    node = "" if NO_RECORD.fullmatch(record.get("comment")) else _node(record)
    if phase is Phase.RUNNING:
        return JobState(phase, None, _is_held_up(record), node)
    return replace(_end_of(record, dialect, has_history), node=node)


def _without_comment_of_sub_jobs(record: Record) -> Record:
    """Return an array without `Subjob finished`.

    A server writes that there when it is first asked about the sub-jobs of an array that never
    began; of the array it says nothing.
    """
    if "[]" not in record.id or not NO_RECORD.fullmatch(record.get("comment")):
        return record
    fields = {name: text for name, text in record.fields.items() if name != "comment"}
    return Record(record.id, fields)


def never_ran(record: Record) -> bool:
    """Return whether a job that has ended was never given to a node."""
    return not any(record.get(name) for name in ("exit_status", "stime", "start_time", "exec_host"))


def _waits_for(record: Record) -> str:
    """Return why it does not run, where that will not change by itself."""
    comment = record.get("comment")
    if can_never_run(comment) or comment.startswith("Not Running: Queue not started"):
        return comment
    if record.get("job_state") != "H":
        return ""
    if not comment and (after := re.search(r"\bafter\w+:([^,]+)", record.get("depend"))):
        return f"waits for {', '.join(job.partition('@')[0] for job in after[1].split(':'))}"
    return f"held ({record.get('hold_types') or 'by PBS'})" + (f": {comment}" if comment else "")


def _is_held_up(record: Record) -> str:
    """Return what is about to happen to it, or keeps it from running."""
    if deleted := re.search(r"terminated by (\S+)", record.get("comment")):
        return f"{BEING_DELETED} {deleted[1]}"
    return {"S": "suspended", "U": "suspended", "E": COPIES_OUTPUT}.get(record.get("job_state"), "")


def _node(record: Record) -> str:
    """Return `zia1` of `zia1/0*4+zia1/1`; several with commas."""
    hosts = (part.partition("/")[0] for part in record.get("exec_host").split("+"))
    return ",".join(dict.fromkeys(host for host in hosts if host))


def _end_of(record: Record, dialect: Dialect, has_history: bool) -> JobState:
    comment, status = record.get("comment"), _number(record.get("exit_status"))
    if unrecorded := NO_RECORD.fullmatch(comment):
        return _end_without_record(unrecorded[1], has_history)
    said = _end_by_comment(record, comment)
    if said is not None:
        return said
    if status is None:
        return _end_without_status(record)
    table = _PRO if dialect is Dialect.PRO else _TORQUE
    if status in table:
        cause, words = table[status]
        return JobState(Phase.ENDED, cause, f"{words} (exit status {status})")
    if status < 0:
        return JobState(
            Phase.ENDED, Cause.NOT_STARTED, f"the node could not run it (exit status {status})"
        )
    number = status - 256 if status > 256 else status - 128
    if status > 128 and 0 < number < 65:
        return _end_by_signal(number, status, record, dialect)
    return state_of_exit(status)


def _end_by_comment(record: Record, comment: str) -> JobState | None:
    without_nodes = re.sub(r"\(.*?\)", "", comment)
    if re.search("preempt", without_nodes, re.IGNORECASE):
        return JobState(Phase.ENDED, Cause.PREEMPTED, comment)
    if exceeded := re.search(r"exceeded resource (\w+)", comment):
        detail = f"exceeded resource {exceeded[1]}{_used(record, exceeded[1])}"
        return JobState(Phase.ENDED, _cause_of_resource(exceeded[1]), detail)
    if deleted := re.search(r"terminated by (\S+)", comment):
        return JobState(Phase.ENDED, Cause.CANCELLED, f"deleted by {deleted[1]}")
    return None


def _end_without_record(how: str, has_history: bool) -> JobState:
    if how == "terminated":
        return JobState(Phase.ENDED, Cause.CANCELLED, "deleted")
    if how == "failed":
        return JobState(Phase.ENDED, Cause.UNKNOWN, "failed, and PBS keeps no record of how")
    if has_history:
        return JobState(Phase.ENDED, Cause.CANCELLED, "deleted before it ran")
    words = "over, and PBS keeps no record of it (its history is off)"
    return JobState(Phase.ENDED, Cause.UNKNOWN, words)


def _end_without_status(record: Record) -> JobState:
    """Return the end of what never ran; Slurm's wrappers for Torque give no job a status."""
    ran = not never_ran(record)
    if record.get("substate") == "91":
        words = "deleted" if ran else "deleted before it ran"
        return JobState(Phase.ENDED, Cause.CANCELLED, words)
    if ran:
        return JobState(Phase.ENDED, Cause.UNKNOWN, "PBS does not say how it ended")
    if re.search(r"\bafter", record.get("depend")):
        return HELD_BACK
    if not record.get("substate"):  # Torque
        return JobState(Phase.ENDED, Cause.CANCELLED, "deleted before it ran")
    words = "PBS ended it before it ran, and does not say why"
    return JobState(Phase.ENDED, Cause.NOT_STARTED, words)


def _end_by_signal(number: int, status: int, record: Record, dialect: Dialect) -> JobState:
    is_kill = number in (signal.SIGTERM, signal.SIGKILL)
    if is_kill and _is_used_up(record, "walltime", 1.0):
        detail = f"killed at its time limit{_used(record, 'walltime')}"
        return JobState(Phase.ENDED, Cause.TIMEOUT, detail, signal=number)
    if number == signal.SIGKILL and _is_used_up(record, "mem", FULL):
        detail = f"killed when its memory was full{_used(record, 'mem')}"
        return JobState(Phase.ENDED, Cause.OUT_OF_MEMORY, detail, signal=number)
    if dialect is Dialect.TORQUE and status == 256 + signal.SIGTERM:
        return JobState(Phase.ENDED, Cause.CANCELLED, "deleted (exit status 271)", signal=number)
    return state_of_signal(number)


def _cause_of_resource(name: str) -> Cause:
    if name in ("walltime", "cput"):
        return Cause.TIMEOUT
    return Cause.OUT_OF_MEMORY if name.endswith("mem") else Cause.EXIT


def _used(record: Record, name: str) -> str:
    used, asked = record.get(f"resources_used.{name}"), record.get(f"Resource_List.{name}")
    return f": used {used} of {asked}" if used and asked else ""


def _is_used_up(record: Record, name: str, share: float) -> bool:
    used, asked = (
        _amount(record.get(f"{kind}.{name}")) for kind in ("resources_used", "Resource_List")
    )
    return used is not None and asked is not None and asked > 0 and used >= share * asked


def _amount(text: str) -> float | None:
    """Return seconds of `00:01:30`, KiB of `7260kb`; None for anything else."""
    if re.fullmatch(r"\d+(:\d+){1,2}", text):
        seconds = 0
        for part in text.split(":"):
            seconds = seconds * 60 + int(part)
        return seconds
    match = re.fullmatch(r"(\d+)([kmgt]?)b", text, re.IGNORECASE)
    return int(match[1]) * KIB_PER[match[2].lower()] if match else None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text) else None
