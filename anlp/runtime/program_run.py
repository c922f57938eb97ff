"""Carries out a run of the user's own program or function."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from anlp.core.errors import SpecError
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import StopFlag
from anlp.programs.attempt import ProgramAttempt, ProgramHooks
from anlp.programs.environment import ProgramRun, wandb_mode
from anlp.records.files import read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions
from anlp.records.program import Program, read_program
from anlp.records.results import Outcome, RunError, RunResult
from anlp.records.wandb_offline import leave_for_sync
from anlp.runtime.cgroups import count_memory_kills

if TYPE_CHECKING:
    from anlp.tracking import Tracker

LOG_LIMIT_BYTES = 20_000_000


def run_program(
    spec: RunSpec,
    options: RunOptions,
    folder: RunFolder,
    flag: StopFlag,
    holds_lease: Callable[[], bool],
) -> RunResult:
    """Return the result of the run of a program.

    Raises:
        Interrupted: it was asked to stop; any submit starts it again.
        ProgramLostError: it was killed, or its time was up.
        LeaseLostError: another process has taken over the run.
        SpecError: the record of the program is missing or damaged.
    """
    run = ProgramRun(spec, options, folder, find_program(options, folder))
    hooks = ProgramHooks(
        stop_signal=lambda: flag.signal,
        holds_lease=holds_lease,
        memory_kills=count_memory_kills,
    )
    attempt = ProgramAttempt(run, hooks, LOG_LIMIT_BYTES)
    result = attempt.run()
    if not attempt.log.is_wandb and options.wandb.mode != "disabled":
        _mirror(run, result)
    return result


def find_program(options: RunOptions, folder: RunFolder) -> Program:
    """Return the program of a run.

    Raises:
        SpecError: its record is missing or damaged.
    """
    grid = GridFolder(folder.path.parent)
    program = read_program(grid, options.program)
    if program is None:
        raise SpecError(
            f"{grid.programs}/{options.program}.json: missing or damaged; submit the grid again"
        )
    return program


def _mirror(run: ProgramRun, result: RunResult) -> None:
    """Copy the run to wandb, or leave that to `jobs.sync` where no server is within reach."""
    if wandb_mode(run.options.wandb.mode) == "offline":
        leave_for_sync(run.folder, time.time())
        return
    # imported here: a program that logs to wandb itself needs none of it
    from anlp.tracking.wandb import open_mirror

    mirror = open_mirror(run.spec, run.options, run.folder)
    for row in read_metrics(run.folder.metrics):
        values = {name: value for name, value in row.items() if name != "epoch"}
        mirror.log(values, int(row["epoch"]))
    mirror.finish(result.outcome.value, result.to_summary())


def run_function(
    spec: RunSpec,
    options: RunOptions,
    folder: RunFolder,
    flag: StopFlag,
    holds_lease: Callable[[], bool],
) -> RunResult:
    """Return the result of the run of a function, which is called in this process.

    Raises:
        Interrupted: it was asked to stop; any submit continues it.
        LeaseLostError: another process has taken over the run.
        SpecError: the record of the function is missing or damaged.
    """
    # imported here: a program needs none of it
    from anlp.functions.attempt import FunctionAttempt, FunctionRun

    def open_mirrors() -> Sequence[Tracker]:
        if options.wandb.mode == "disabled":
            return ()
        from anlp.tracking.wandb import open_mirror

        return (open_mirror(spec, options, folder),)

    program = find_program(options, folder)
    run = FunctionRun(spec, options, folder, program, flag, holds_lease, open_mirrors)
    return FunctionAttempt(run).run()


def load_task(spec: RunSpec, options: RunOptions, folder: RunFolder) -> RunSpec | RunResult:
    """Return the run of a whole task of the user's own, with settings of its class.

    Where the class cannot be loaded, the result of a run that failed.

    Raises:
        SpecError: the record of the task is missing or damaged.
    """
    # imported here: a program needs none of it
    from anlp.functions.task import typed_spec

    run = ProgramRun(spec, options, folder, find_program(options, folder))
    try:
        return typed_spec(spec, run.code_folder, run.program.path, run.program.function)
    except Exception as error:  # the user's own module may raise anything
        text = traceback.format_exc()
        print(text)
        failure = RunError(type(error).__name__, str(error), text)
        return RunResult(spec.run_id, Outcome.FAILED, error=failure)
