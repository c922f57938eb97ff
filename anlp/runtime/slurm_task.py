"""`python -m anlp.runtime.slurm_task`: one task of a Slurm array, requeued when time is up.

SIGUSR2 makes the run save a checkpoint and leave with exit code 3; the task is then requeued under
its own id by submitit's contract, without its pickle per element.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from anlp.console.command import run_command
from anlp.core.errors import EXIT_CONTINUE, EXIT_ESCAPED, EXIT_REQUEUE, UserError
from anlp.core.signals import signal_pipe
from anlp.records.circuit_breaker import CANCEL_PENDING
from anlp.runtime.container import exit_process
from anlp.runtime.submitit_requeue import TaskRequeue

WARNING = signal.SIGUSR2
# before the time limit, where Slurm's warning, which comes earlier, did not arrive
OWN_WARNING_S = 45.0


def execute(run: Callable[[], int], slurm: TaskRequeue, limit_min: int) -> int:
    """Run an element; after a warning the task is requeued, and Slurm ends this process.

    Args:
        run: the element.
        slurm: the task that this process is.
        limit_min: the time limit; 0: not known.

    Returns:
        The element's exit code: 3 where it was stopped and the next submit continues it.
    """
    # a run's stop flag takes the handlers over and keeps no number: the pipe has them
    with signal_pipe() as arrived, own_warning(limit_min):
        code = slurm.run(run)
        signals = arrived.take()
    if code == EXIT_CONTINUE and WARNING in signals and signal.SIGTERM not in signals:
        slurm.requeue(WARNING)
    return code


@contextlib.contextmanager
def own_warning(limit_min: int) -> Iterator[None]:
    """Send this process the warning when its time is nearly over, as Slurm should have done before.

    Args:
        limit_min: the time limit of the job, which began just now; 0: not known, so that there is
            no warning.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), WARNING))
    if limit_min:
        signal.setitimer(signal.ITIMER_REAL, max(1.0, limit_min * 60 - OWN_WARNING_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the element of the task's index; exit codes as of `anlp.run`, 70 for an exception."""
    # blocked until a run listens (its stop flag unblocks it): while torch loads it must be neither
    # lost nor deadly
    signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING})
    given = _parser().parse_args(argv)
    slurm = TaskRequeue(
        given.batch.with_suffix(".slurm"),
        continuations=given.continuations,
        limit_min=given.limit_min,
        in_image=given.in_image,
    )
    if slurm.array_task is None:
        raise UserError(
            "anlp.runtime.slurm_task runs inside a task of a Slurm job array; "
            "elsewhere use python -m anlp.run"
        )
    index = given.first + int(slurm.array_task)
    run_element = _resolve(given.runner)
    job = f"slurm:{slurm.job_id}"
    array = slurm.job_id.partition("_")[0]
    os.environ[CANCEL_PENDING] = f"scancel --quiet --state=PENDING {array}"
    try:
        return execute(lambda: run_element(given.batch, index, job=job), slurm, given.limit_min)
    except UserError:
        raise
    except Exception:  # the run left no result, which exit code 1 would claim
        traceback.print_exc()
        return EXIT_ESCAPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anlp.runtime.slurm_task",
        description="Carries out one element of a batch file as a task of a Slurm array. "
        "job.sh calls it.",
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
