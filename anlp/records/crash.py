"""Why a run died beside others that go on in the same job: said by the process that forked it, read by `jobs.runs.status`."""

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


def record_crash(
    folder: RunFolder, pid: int | None, loss: CrashRecord, *, job: str, batch: str
) -> None:
    """Puts it on record in the attempt that died, or in one of its own where the run died before it began.

    Args:
        folder: of the run.
        pid: of the process that died, a child of this one; None: it never came to be.
        loss: why.
        job: the scheduler's name for the job.
        batch: tag of the submission.
    """
    ending = {"ending": LOST, "cause": loss.cause, "detail": loss.detail}
    if pid is not None and lease.end_dead(folder.attempts, pid, **ending):
        return
    current = lease.latest(folder.attempts)
    if current is None or not lease.is_alive(current):
        with contextlib.suppress(
            lease.HeldError
        ):  # somebody has begun it anew: it is not lost any more
            lease.acquire(folder.attempts, {"job": job, "batch": batch}).release(**ending)


def read_crash(folder: RunFolder, batch: str) -> CrashRecord | None:
    """Return why the run was lost in the submission `batch`, None where it was not (or was begun again since)."""
    current = lease.read_latest(folder.attempts)
    return None if current is None else crash_in(current.record, batch)


def crash_in(record: Mapping[str, Any], batch: str) -> CrashRecord | None:
    """Return the same from the record of the run's latest attempt."""
    if record.get("ending") != LOST or record.get("batch") != batch:
        return None
    return CrashRecord(str(record.get("cause", "")), str(record.get("detail", "")))
