"""`python -m anlp.runtime.slurm_task`: what a task of a Slurm array executes: one element, continued after the time limit.

submitit's checkpoint contract, without its pickle per element: SIGUSR2 makes the run save a checkpoint and leave, and
submitit's handler then counts, says why, and requeues the task under its own id. The count of a requeued task is the
one file that this leaves behind, next to what the task printed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths, UncompletedJobError
from submitit.slurm.slurm import SlurmJobEnvironment

from anlp.core.errors import EXIT_CONTINUE, EXIT_ESCAPED, EXIT_REQUEUE, UserError, run_command
from anlp.records.circuit_breaker import CANCEL_PENDING
from anlp.records.files import write_json
from anlp.runtime.container import exit_process

WARNING = signal.SIGUSR2
OWN_WARNING_S = 45.0  # before the time limit: for a run that Slurm's warning, which comes earlier, did not reach
CANNOT_REQUEUE = (FileNotFoundError, PermissionError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True)
class Element:
    """An element as a function that submitit may call again: its run goes on from its own checkpoint."""

    run: Callable[..., int]
    batch: Path
    index: int
    job: str

    def __call__(self) -> int:
        """The element's exit code."""
        return int(self.run(self.batch, self.index, job=self.job))

    def checkpoint(self) -> Continuation:
        """What is to be done after the requeue: the same; the run has saved where it is."""
        return Continuation(self)


class Continuation(DelayedSubmission):
    """What submitit keeps of a task between its attempts: here one number, as JSON."""

    def dump(self, filepath: str | Path) -> None:
        """Writes how many time limits the task may still reach."""
        write_json(Path(filepath), {"left": self._timeout_countdown})


class ElementPaths(JobPaths):
    """Where that number is kept."""

    @property
    def submitted_pickle(self) -> Path:
        """submitit's name for it; no pickle here."""
        return Path(self._folder) / f"{self.job_id}.left.json"


class ImageJobEnvironment(SlurmJobEnvironment):
    """In an image there is no scontrol: the job's script, which is outside, requeues."""

    def _requeue(self, countdown: int) -> None:
        print(f"to be requeued ({countdown} remaining timeouts)", flush=True)
        raise SystemExit(EXIT_REQUEUE)


def execute(
    element: Element, environment: SlurmJobEnvironment, *, continuations: int, limit_min: int
) -> int:
    """Runs the element; after a warning it is requeued, and Slurm ends this process.

    Args:
        element: what is to be done.
        environment: the task that this is.
        continuations: how often it may be requeued after reaching its time limit.
        limit_min: the time limit; 0: not known, so that every warning counts as that of the time limit.

    Returns:
        The element's exit code: 3 where it was stopped and is for somebody else to continue.
    """
    paths = ElementPaths(element.batch.with_suffix(".slurm"), environment.job_id)
    paths.submitted_pickle.with_suffix(".json.save_tmp").unlink(
        missing_ok=True
    )  # of an attempt killed while it wrote
    delayed = Continuation(element)
    delayed.set_timeout(limit_min, _left(paths.submitted_pickle, continuations))
    handler = SignalHandler(environment, paths, delayed)  # counts the time from here
    with arrived_signals() as arrived, own_warning(limit_min):
        code = int(delayed.result())
        warned = WARNING in arrived() and signal.SIGTERM not in arrived()
    if code == EXIT_CONTINUE and warned:
        _requeue(handler)
    return code


def _left(path: Path, continuations: int) -> int:
    """How many time limits may still be reached; where the file is unreadable, as many as Slurm's own count leaves."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads(path.read_text())["left"])
    return continuations - int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _requeue(handler: Any) -> None:
    """Hands over to submitit, which ends this process; returns where the task cannot be requeued."""
    try:
        handler.checkpoint_and_try_requeue(WARNING)
    except UncompletedJobError as error:
        print(f"{error} The next submit continues it.", file=sys.stderr)
    except CANNOT_REQUEUE as error:
        print(f"could not requeue ({error}); the next submit continues it", file=sys.stderr)


@contextlib.contextmanager
def arrived_signals() -> Iterator[Callable[[], frozenset[int]]]:
    """Tells which signals have arrived, whoever handles them meanwhile.

    A run's stop flag takes the handlers over and says only that it was set; Python writes the number of every signal
    to this pipe before it calls a handler.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    seen: set[int] = set()

    def read() -> frozenset[int]:
        with contextlib.suppress(BlockingIOError):
            seen.update(os.read(reader, 4096))
        return frozenset(seen)

    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def own_warning(limit_min: int) -> Iterator[None]:
    """Warns this process by itself when its time is nearly over, as Slurm should have done before.

    Args:
        limit_min: the time limit of the job, which began just now; 0: not known, so nobody warns.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), WARNING))
    signal.setitimer(
        signal.ITIMER_REAL, max(1.0, limit_min * 60 - OWN_WARNING_S) if limit_min else 0.0
    )
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Executes the element that the task's index names; exit codes as of `anlp.run`, 70 where an exception escaped."""
    # held back until a run listens (its stop flag lets it through): it must not be lost or deadly while torch loads
    signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING})
    given = _parser().parse_args(argv)
    environment = ImageJobEnvironment() if given.in_image else SlurmJobEnvironment()
    if environment.array_task_id is None:
        raise UserError(
            "anlp.runtime.slurm_task runs inside a task of a Slurm job array; elsewhere use python -m anlp.run"
        )
    os.environ[CANCEL_PENDING] = f"scancel --quiet --state=PENDING {environment.array_job_id}"
    index = given.first + int(environment.array_task_id)
    element = Element(_resolve(given.runner), given.batch, index, f"slurm:{environment.job_id}")
    try:
        return execute(
            element, environment, continuations=given.continuations, limit_min=given.limit_min
        )
    except UserError:
        raise
    except (
        Exception
    ):  # whatever escapes a run has left no result: not 1, which says that there is one
        traceback.print_exc()
        return EXIT_ESCAPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anlp.runtime.slurm_task",
        description="Carries out one element of a batch file as a task of a Slurm array; job.sh calls it.",
    )
    parser.add_argument(
        "--batch", type=Path, required=True, metavar="FILE", help="runs/<grid>/batches/<n>.jsonl"
    )
    parser.add_argument(
        "--first", type=int, required=True, metavar="N", help="element of the array's task 0"
    )
    parser.add_argument(
        "--continuations",
        type=int,
        default=20,
        metavar="N",
        help="requeues after time limits, at most",
    )
    parser.add_argument(
        "--limit-min", type=int, default=0, metavar="N", help="time limit in minutes, 0: not known"
    )
    parser.add_argument(
        "--in-image",
        action="store_true",
        help=f"what is to be requeued leaves with {EXIT_REQUEUE}, and job.sh does it",
    )
    parser.add_argument("--runner", default="anlp.run:run_element", help=argparse.SUPPRESS)
    return parser


def _resolve(name: str) -> Callable[..., int]:
    module, _, function = name.partition(":")
    runner: Callable[..., int] = getattr(importlib.import_module(module), function)
    return runner


if __name__ == "__main__":
    exit_process(run_command(main), os.environ)
