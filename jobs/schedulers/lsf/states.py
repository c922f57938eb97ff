"""Tell what LSF's states and termination reasons mean."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from jobs.schedulers.base import Cause, JobState, Phase, state_of_exit, state_of_signal
from jobs.schedulers.lsf.parse import Row

RUNNING: Mapping[str, str] = {
    "RUN": "",
    "USUSP": "suspended",
    "SSUSP": "suspended by LSF",
    "UNKWN": "its host does not answer",
    "ZOMBI": "its host does not answer",
}
ENDED = frozenset({"DONE", "EXIT"})
HELD_BACK = "its canary did not pass"
CAUSE_OF_REASON: Mapping[str, Cause] = {
    "TERM_RUNLIMIT": Cause.TIMEOUT,
    "TERM_CPULIMIT": Cause.TIMEOUT,
    "TERM_DEADLINE": Cause.TIMEOUT,
    "TERM_MEMLIMIT": Cause.OUT_OF_MEMORY,
    "TERM_SWAP": Cause.OUT_OF_MEMORY,
    "TERM_OWNER": Cause.CANCELLED,
    "TERM_ADMIN": Cause.CANCELLED,
    "TERM_FORCE_OWNER": Cause.CANCELLED,
    "TERM_FORCE_ADMIN": Cause.CANCELLED,
    "TERM_BUCKET_KILL": Cause.CANCELLED,
    "TERM_REMOVE_HUNG_JOB": Cause.CANCELLED,
    "TERM_REQUEUE_OWNER": Cause.CANCELLED,
    "TERM_REQUEUE_ADMIN": Cause.CANCELLED,
    "TERM_PREEMPT": Cause.PREEMPTED,
    "TERM_LOAD": Cause.PREEMPTED,
    "TERM_WINDOW": Cause.PREEMPTED,
    "TERM_RC": Cause.PREEMPTED,
    "TERM_REQUEUE_RC": Cause.PREEMPTED,
    "TERM_ZOMBIE": Cause.NODE,
    "TERM_RMS": Cause.NODE,
    "TERM_KUBE": Cause.NODE,
    "TERM_CSM_ALLOC": Cause.NOT_STARTED,
    "TERM_CWD_NOTEXIST": Cause.NOT_STARTED,
    "TERM_DATA": Cause.NOT_STARTED,
    "TERM_PRE_EXEC_FAIL": Cause.NOT_STARTED,
    "TERM_PROCESSLIMIT": Cause.EXIT,
    "TERM_THREADLIMIT": Cause.EXIT,
    "TERM_ORPHAN_SYSTEM": Cause.SKIPPED,
}


def state_of(row: Row) -> JobState:
    """Return the state of an element; states that are not known count as alive."""
    if row.state in RUNNING:
        return JobState(Phase.RUNNING, None, RUNNING[row.state], row.node)
    if row.state in ENDED:
        return _end_of(row)
    if re.search("never satisfied", row.pending, re.IGNORECASE):
        return JobState(Phase.ENDED, Cause.SKIPPED, HELD_BACK)
    return JobState(Phase.QUEUED, None, "held" if row.state == "PSUSP" else "")


def _end_of(row: Row) -> JobState:
    reason = re.search(r"\bTERM_\w+", row.reason)
    cause = CAUSE_OF_REASON.get(reason[0]) if reason else None
    if cause is Cause.SKIPPED:
        return JobState(Phase.ENDED, cause, HELD_BACK)
    if cause is not None:
        return JobState(Phase.ENDED, cause, row.reason, row.node)
    if row.state == "DONE":
        return state_of_exit(0, row.node)
    if row.exit_code is None:
        return JobState(Phase.ENDED, Cause.UNKNOWN, "LSF does not say how it ended", row.node)
    number = row.exit_code - 128
    if 0 < number < signal.NSIG:
        return state_of_signal(number, row.node)
    return state_of_exit(row.exit_code, row.node)
