"""Runs that step through their epochs without training: claims, files, signals and exit codes are
real.

`site/sitecustomize.py` puts this into the programs that Slurm starts. STEP_S is the time of an
epoch;
STEP_EAT and STEP_STUBBORN name learning rates of runs that take memory, or do not listen; STEP_FAIL
of runs that fail,
STEP_STAY of runs that do not go on until they have been ended twice.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from anlp import run
from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import StopFlag
from anlp.records.files import read_metrics
from anlp.records.results import Outcome, RunError, RunResult
from anlp.tracking.jsonl import JsonlTracker

MUCH = 400 << 20
PATIENCE_S = 300


def install() -> None:
    """From now on runs of this process step instead of training."""
    run._Run._train = _train  # type: ignore[method-assign]  # the one thing that takes time


def _train(self: run._Run, held: lease.Lease, spec: RunSpec) -> RunResult:
    settings = spec.settings.values()
    rate, epochs = float(settings["lr"]), int(settings["epochs"])
    if _is_named("STEP_EAT", rate):
        _eat()
    kept = read_metrics(self.folder.metrics)
    tracker = JsonlTracker(self.folder.metrics, kept)
    for epoch in range(len(kept), epochs + 1):
        time.sleep(float(os.environ.get("STEP_S", "0")))
        if not _is_named("STEP_STUBBORN", rate):
            self.flag.raise_if_set()
        tracker.log({"val/acc": rate}, epoch)
        if _is_named("STEP_STAY", rate) and int(held.path.stem) < 3:
            _stay(self.flag)
    outcome = Outcome.FAILED if _is_named("STEP_FAIL", rate) else Outcome.OK
    error = (
        RunError("ValueError", "as it was told", "Traceback", 0)
        if outcome is Outcome.FAILED
        else None
    )
    metrics = {} if error else {"val/acc": rate, "test/acc": rate}
    made = RunResult(spec.run_id, outcome, metrics=metrics, epochs=epochs, seconds=1.0, error=error)
    return replace(made, provenance=self._provenance(held, outcome))


def _eat() -> None:
    block = bytearray(MUCH)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(10)


def _stay(flag: StopFlag) -> None:
    for _ in range(PATIENCE_S * 10):
        flag.raise_if_set()
        time.sleep(0.1)


def _is_named(variable: str, rate: float) -> bool:
    return str(rate) in os.environ.get(variable, "").split()
