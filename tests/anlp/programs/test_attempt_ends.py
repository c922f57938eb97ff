"""How an attempt at a program ends where nothing says that it can be continued."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from anlp.core.stop_flag import Interrupted
from anlp.programs.attempt import ProgramAttempt, ProgramHooks
from anlp.programs.environment import ProgramRun
from anlp.records.crash import ProgramLostError
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.program import Program
from anlp.tasks import make_spec

KILLED = "import os; os.kill(os.getpid(), 9)"
WAITS = "import time; time.sleep(600)"


def attempt(
    folder: Path, script: str, stop: int | None = None, resume_code: int | None = None
) -> ProgramAttempt:
    (folder / "train.py").write_text(script)
    grid = GridFolder(folder / "runs" / "mine")
    spec = make_spec("program:train.py", {"lr": 0.1}, 0)
    options = RunOptions(wandb=WandbOptions(mode="disabled"))
    command = (sys.executable, "${program}")
    program = Program("train.py", str(folder), "train.py", command=command, resume_code=resume_code)
    run = ProgramRun(spec, options, grid.run(spec.run_id), program)
    run.folder.path.mkdir(parents=True)
    return ProgramAttempt(run, ProgramHooks(stop_signal=lambda: stop), 10_000)


def test_a_program_that_is_killed_is_lost(tmp_path: Path) -> None:
    with pytest.raises(ProgramLostError, match="killed by a signal"):
        attempt(tmp_path, KILLED).run()


def test_a_time_limit_without_a_way_to_continue_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramLostError, match="time limit: the program does not continue"):
        attempt(tmp_path, WAITS, signal.SIGUSR2).run()


def test_a_stopped_program_without_a_way_to_continue_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="it starts anew"):
        attempt(tmp_path, WAITS, signal.SIGTERM).run()


def test_its_exit_code_says_that_it_continues(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="exit code 7: it asks to be started again"):
        attempt(tmp_path, "raise SystemExit(7)", resume_code=7).run()
