"""Runs that end at once instead of training: claims, files and exit codes are real, the numbers are
made up.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp import run
from anlp.console.command import run_command
from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.records.files import write_jsonl
from anlp.records.results import Outcome, RunError, RunResult
from jobs import submit
from jobs.schedulers import plugins
from jobs.schedulers.base import Setup
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.local.worker_pool import PoolOptions
from tests.support.paths import ROOT

QUICK = PoolOptions(
    runner="tests.support.quick_runner:run_quickly", prepare=None, modules=(), grace_s=1.0
)


def run_quickly(batch: Path, index: int, **options: Any) -> int:
    """A pool's runner. QUICK_FAIL, QUICK_DIE, QUICK_DIE_ONCE, QUICK_DIVERGE and QUICK_SLEEP name
    learning rates.
    """
    run._Run._train = _train  # type: ignore[method-assign]  # the one thing that takes time
    return run.run_element(batch, index, **options)


def _train(self: run._Run, held: lease.Lease, spec: RunSpec) -> RunResult:
    rate = float(spec.settings.values()["lr"])
    if _is_named("QUICK_DIE", rate):
        os.kill(os.getpid(), signal.SIGKILL)
    if _is_named("QUICK_DIE_ONCE", rate) and int(held.path.stem) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while _is_named("QUICK_SLEEP", rate):
        time.sleep(0.01)
        self.flag.raise_if_set()
    write_jsonl(self.folder.metrics, [{"epoch": 0, "val/acc": rate}])
    failed, diverged = _is_named("QUICK_FAIL", rate), _is_named("QUICK_DIVERGE", rate)
    outcome = Outcome.FAILED if failed else Outcome.DIVERGED if diverged else Outcome.OK
    error = RunError("ValueError", "as it was told", "Traceback", 0) if failed else None
    monitor = str(spec.settings.values()["monitor"])
    metrics = {monitor: rate, "val/acc": rate, "test/acc": rate} if outcome is Outcome.OK else {}
    made = RunResult(spec.run_id, outcome, metrics=metrics, epochs=2, seconds=4.0, error=error)
    return replace(made, provenance=self._provenance(held, outcome))


def _is_named(variable: str, rate: float) -> bool:
    return str(rate) in os.environ.get(variable, "").split()


class QuickLocal(LocalScheduler):
    """This machine, with runs that take no time."""

    @classmethod
    def create(cls, setup: Setup) -> LocalScheduler:
        return cls(slots=setup.slots, pool=QUICK)


def use_quick_runner(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Has submits of this process run quickly, below `root`."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("ANLP_RUNS", str(root))
    monkeypatch.setitem(plugins._registered, "local", QuickLocal)


def call_submit(*words: object) -> int:
    """`python -m jobs.submit WORDS` in this process; its exit code."""
    argv: Sequence[str] = [str(word) for word in words]
    return run_command(lambda: submit.main(argv))
