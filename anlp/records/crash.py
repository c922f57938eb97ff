"""Why a run died beside others of its job: recorded by the process that forked it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anlp.core import lease
from anlp.records.folders import RunFolder

LOST = "lost"


@dataclass(frozen=True, slots=True)
class CrashRecord:
    """The end of a run without a result."""

    cause: str  # a value of `jobs.schedulers.base.Cause`
    detail: str  # one line


class ProgramLostError(Exception):
    """The user's own program ended without a result: killed, or stopped by its time limit."""

    def __init__(self, crash: CrashRecord) -> None:
        self.crash = crash
        super().__init__(f"{crash.cause}: {crash.detail}")


def record_crash(
    folder: RunFolder, pid: int | None, loss: CrashRecord, *, job: str, batch: str
) -> None:
    """Record the end in the attempt that died, or in a new one where the run died before it began.

    Args:
        folder: of the run.
        pid: of the process that died, a child of this one; None: it was never started.
        loss: why.
        job: the scheduler's name for the job.
        batch: tag of the submission.
    """
    ending = {"ending": LOST, "cause": loss.cause, "detail": loss.detail}
    if pid is not None and lease.end_dead(folder.attempts, pid, **ending):
        return
    current = lease.latest(folder.attempts)
    if current is None or not lease.is_alive(current):
        # where another process has begun the run again, it is not lost any more
        with contextlib.suppress(lease.HeldError):
            lease.acquire(folder.attempts, {"job": job, "batch": batch}).release(**ending)


def read_crash(folder: RunFolder, batch: str) -> CrashRecord | None:
    """Return why the run was lost in the submission `batch`, None where it was not."""
    current = lease.read_latest(folder.attempts)
    return None if current is None else crash_in(current.record, batch)


def crash_in(record: Mapping[str, Any], batch: str) -> CrashRecord | None:
    """Like `read_crash`, from the record of the run's latest attempt."""
    if record.get("ending") != LOST or record.get("batch") != batch:
        return None
    return CrashRecord(str(record.get("cause", "")), str(record.get("detail", "")))
