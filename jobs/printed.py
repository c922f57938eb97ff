"""What a job itself printed, beside the logs of its runs: why its script, its image or its Python did not begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from anlp.record import GridFolder
from jobs.journal import Journal
from jobs.logfile import tail
from jobs.schedulers import pbs_script, slurm_render
from jobs.schedulers.base import Job
from jobs.state import RunStatus

# Where each cluster puts it: batch file, job, index within the job.
PLACES: Mapping[str, Callable[[Path, Job, int], Path]] = {
    "pbs": lambda batch, job, index: pbs_script.find_output(batch, job.first, job.native_id, index),
    "slurm": lambda batch, job, index: slurm_render.output_of(batch, job.native_id, index),
}


def printed_of(status: RunStatus) -> Path | None:
    """The file with what the last job of a run printed; None where there is none, as for runs on this machine."""
    handle = status.handle
    if handle is None or handle.scheduler not in PLACES:
        return None
    folder = GridFolder(status.folder.path.parent)
    for submission in Journal(folder).submissions().values():
        for job in submission.jobs:
            if (submission.scheduler, job.native_id) == (handle.scheduler, handle.native_id):
                path = PLACES[handle.scheduler](folder.path / submission.batch, job, handle.index)
                return path if path.is_file() and path.stat().st_size else None
    return None


def last_printed(status: RunStatus, lines: int) -> list[str]:
    """The last lines of that, below one that says where they are from; nothing where there is no such file."""
    path = printed_of(status)
    return [f"(its job printed, in {path})", *tail(path, lines)] if path else []
