"""submitit's checkpoint contract for a task of a Slurm array: count time limits, requeue.

The only module that knows submitit. Two things that submitit keeps to itself are used here, in its
versions 1.5: `DelayedSubmission._timeout_countdown` (the count) and `JobEnvironment._requeue`
(which an image has to replace); `setup.cfg` holds submitit below version 2 for their sake.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths, UncompletedJobError
from submitit.slurm.slurm import SlurmJobEnvironment

from anlp.core.errors import EXIT_REQUEUE
from anlp.records.files import write_json

CANNOT_REQUEUE = (FileNotFoundError, PermissionError, subprocess.SubprocessError)


class TaskRequeue:
    """Runs a task and requeues it under its own id.

    The one file that this leaves behind has the count of time limits that a requeued task may still
    reach.

    Args:
        folder: where that file is kept.
        continuations: how often the task may be requeued after reaching its time limit.
        limit_min: the time limit; 0: not known, so that every warning counts as that of the time
            limit.
        in_image: whether this process runs in an image, where there is no scontrol: the job's
            script requeues.
    """

    def __init__(
        self, folder: Path, *, continuations: int, limit_min: int, in_image: bool = False
    ) -> None:
        environment = _ImageEnvironment() if in_image else SlurmJobEnvironment()
        self.array_task: str | None = environment.array_task_id  # None outside an array
        self._environment = environment
        self._folder = folder
        self._continuations = continuations
        self._limit_min = limit_min

    @property
    def job_id(self) -> str:
        """Slurm's name for the task, such as `503_7`."""
        return str(self._environment.job_id)

    def run(self, task: Callable[[], int]) -> int:
        """Run the task and return its exit code; the job's time is counted from here."""
        paths = _Paths(self._folder, self.job_id)
        count = paths.submitted_pickle
        # of an attempt killed while it wrote
        count.with_suffix(".json.save_tmp").unlink(missing_ok=True)
        self._task = _Task(task)
        self._task.set_timeout(self._limit_min, _read_left(count, self._continuations))
        self._handler = SignalHandler(self._environment, paths, self._task)
        return int(self._task.result())

    def requeue(self, warning: int) -> None:
        """Requeue the task, which ends this process; return where that is not possible."""
        try:
            self._handler.checkpoint_and_try_requeue(warning)
        except UncompletedJobError as error:
            print(f"{error} The next submit continues it.", file=sys.stderr)
        except CANNOT_REQUEUE as error:
            print(f"could not requeue ({error}); the next submit continues it", file=sys.stderr)


class _Task(DelayedSubmission):
    """A function that submitit may run again: its run goes on from its own checkpoint."""

    def __init__(self, task: Callable[[], int]) -> None:
        super().__init__(_Function(task))

    def dump(self, filepath: str | Path) -> None:
        """Write how many time limits are left, where submitit would pickle the function."""
        write_json(Path(filepath), {"left": self._timeout_countdown})


class _Function:
    def __init__(self, task: Callable[[], int]) -> None:
        self.task = task

    def __call__(self) -> int:
        return self.task()

    def checkpoint(self) -> _Task:
        """Return what is to be done after the requeue; submitit asks for it by this name."""
        return _Task(self.task)


class _Paths(JobPaths):
    """Where the count is kept."""

    @property
    def submitted_pickle(self) -> Path:
        """submitit's name for the file; no pickle here."""
        return Path(self._folder) / f"{self.job_id}.left.json"


class _ImageEnvironment(SlurmJobEnvironment):
    """In an image there is no scontrol: the job's script, which is outside, requeues."""

    def _requeue(self, countdown: int) -> None:
        print(f"to be requeued ({countdown} remaining timeouts)", flush=True)
        raise SystemExit(EXIT_REQUEUE)


def _read_left(path: Path, continuations: int) -> int:
    """Read how many time limits are left; without a readable file, go by Slurm's own count."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads(path.read_text(encoding="utf-8"))["left"])
    return continuations - int(os.environ.get("SLURM_RESTART_COUNT", "0"))
