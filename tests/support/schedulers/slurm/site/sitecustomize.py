"""What tests change in processes that they do not start themselves; Python imports this where it is
on PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def die_before(method: str) -> None:
    """The process is killed when it is about to call this method of the journal."""
    from jobs.runs.journal import Journal

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Journal, method, die)


def die_after(method: str) -> None:
    """The process is killed when that method has returned."""
    from jobs.runs.journal import Journal

    whole: Callable[..., None] = getattr(Journal, method)

    def die(*args: Any, **words: Any) -> None:
        whole(*args, **words)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Journal, method, die)


if "SLURM_JOB_ID" in os.environ:
    from tests.support.schedulers.slurm import stepping_runs

    stepping_runs.install()
elif "SUBMIT_DIES" in os.environ:
    when, _, name = os.environ["SUBMIT_DIES"].partition(" ")
    {"before": die_before, "after": die_after}[when](name)
