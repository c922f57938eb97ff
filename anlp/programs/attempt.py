"""One attempt at a run of the user's own program: started, followed, and its end told."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anlp.core.files import make_folder, write_whole
from anlp.core.spec import epochs_in
from anlp.core.stop_flag import Interrupted, LeaseLostError
from anlp.programs.collect import ProgramLog
from anlp.programs.command import RunValues, args_json, render_command
from anlp.programs.environment import ProgramRun, environment_of, wandb_config
from anlp.programs.failure import failure_of
from anlp.programs.image import image_environment, in_image, why_not_started
from anlp.programs.process import Ended, Launch, Limits, ProgramNotStartedError, supervise
from anlp.records.crash import CrashRecord, ProgramLostError
from anlp.records.files import write_json
from anlp.records.logged import LoggedResult, result_of_log
from anlp.records.program import declare_program_goal
from anlp.records.results import Outcome, RunError, RunResult

TICK_S = 1.0
GRACE_S = 15.0  # from the signal to SIGKILL; less than schedulers leave
CHECKPOINTS = "checkpoints"
ARGS_FILE = "args.json"
WANDB_CONFIG = "wandb-config.yaml"
WITHOUT_WANDB = (
    "wandb is disabled, also in the program; `wandb: {mode: offline}` keeps its log here"
)
NO_CONTINUATION = "the program does not continue where it stopped; give it more time"


@dataclass(frozen=True, slots=True)
class ProgramHooks:
    """How an attempt is tied to the process that carries it out.

    Args:
        stop_signal: the signal that asked this process to stop, None while it may go on.
        holds_lease: whether this process still holds the run's lease.
        memory_kills: how many processes the kernel has killed for lack of memory in this job.
    """

    stop_signal: Callable[[], int | None] = lambda: None
    holds_lease: Callable[[], bool] = lambda: True
    memory_kills: Callable[[], int] = lambda: 0


class ProgramAttempt:
    """Carries a run's program to its end.

    Args:
        run: the run and its program.
        hooks: how it is tied to this process.
        log_limit_bytes: of what the program prints.
    """

    def __init__(self, run: ProgramRun, hooks: ProgramHooks, log_limit_bytes: int) -> None:
        self.run_of = run
        self.hooks = hooks
        self.limits = Limits(TICK_S, GRACE_S, log_limit_bytes)
        self.log = ProgramLog(run)
        self.started = time.perf_counter()

    def run(self) -> RunResult:
        """Run the program and return the run's result.

        Raises:
            Interrupted: it was asked to stop; any submit starts it again.
            ProgramLostError: it was killed, or its time was up.
            LeaseLostError: another process has taken over the run.
        """
        program = self.run_of.program
        declare_program_goal(program)
        self._prepare()
        environment = self._environment()
        argv = self._argv(environment)
        print(f"$ {shlex.join(argv)}", flush=True)
        workdir = self._workdir()
        launch = Launch(
            in_image(program, workdir, argv),
            workdir,
            image_environment(program, environment),
            is_wrapped=bool(program.container),
        )
        kills_before = self.hooks.memory_kills()
        try:
            ended = supervise(
                launch,
                self.run_of.folder.log,
                self.limits,
                on_tick=self._tick,
                stop_signal=self.hooks.stop_signal,
            )
        except ProgramNotStartedError as error:
            return self._result(Outcome.FAILED, error=RunError("NotStarted", str(error), ""))
        self.log.finish(ended.last_stdout)
        for note in (*ended.notes, *self.log.notes):
            print(f"note: {note}", flush=True)
        failure = why_not_started(ended) if program.container else None
        if failure is not None:
            return self._failed(failure)
        if ended.was_stopped:
            return self._stopped(ended)
        if self._asks_again(ended):
            raise Interrupted(f"exit code {ended.code}: it asks to be started again")
        has_memory_kill = self.hooks.memory_kills() > kills_before
        return self._ended(ended, has_memory_kill=has_memory_kill)

    def _prepare(self) -> None:
        """Make the folder that the program may write to; an attempt that starts anew is alone."""
        folder = self.run_of.folder
        make_folder(folder.files)
        if self._has_checkpoints():
            print("its checkpoints are there: it may continue", flush=True)
            return
        left = [path for path in (folder.metrics, folder.logged, folder.wandb) if path.exists()]
        if left:
            print("it starts anew: what the attempt before logged is left out", flush=True)
        for path in left:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in folder.files.rglob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)

    def _has_checkpoints(self) -> bool:
        with contextlib.suppress(OSError):
            return any((self.run_of.folder.files / CHECKPOINTS).iterdir())
        return False

    def _argv(self, environment: Mapping[str, str]) -> list[str]:
        run, program = self.run_of, self.run_of.program
        settings = run.spec.settings.values()
        json_file = run.folder.path / ARGS_FILE
        if any("${args_json_file}" in word for word in program.command):
            text = args_json(settings, program.seed_flag, run.spec.seed)
            write_whole(json_file, text.encode())
        values = RunValues(
            settings,
            run.spec.seed,
            run.spec.run_id,
            run.executable,
            run.folder.files,
            json_file,
            environment,
        )
        return render_command(program, values)

    def _workdir(self) -> Path:
        program = self.run_of.program
        places = {
            "project": Path(program.project),
            "code": self.run_of.code_folder,
            "run": self.run_of.folder.files,
        }
        return places.get(program.workdir, Path(program.workdir))

    def _environment(self) -> dict[str, str]:
        config = None
        if self.run_of.options.wandb.mode != "disabled":
            config = self.run_of.folder.path / WANDB_CONFIG
            write_json(config, wandb_config(self.run_of.spec, self.run_of.program.metrics))
        return environment_of(self.run_of, os.environ, config)

    def _tick(self) -> None:
        if not self.hooks.holds_lease():
            raise LeaseLostError
        self.log.refresh()

    def _stopped(self, ended: Ended) -> RunResult:
        """Return the result of a program that was asked to stop, where it says that it was done."""
        program = self.run_of.program
        if ended.code == 0 and program.resume_code is not None:
            return self._ended(ended)
        if ended.was_killed:
            print(f"it did not leave within {GRACE_S:g} s and was killed", flush=True)
        if self._asks_again(ended) or self._has_checkpoints():
            raise Interrupted("stopped; it continues")
        if self.hooks.stop_signal() == signal.SIGUSR2:
            raise ProgramLostError(CrashRecord("time limit", NO_CONTINUATION))
        print("it was stopped; the next submit starts it anew", flush=True)
        raise Interrupted("stopped; it starts anew")

    def _asks_again(self, ended: Ended) -> bool:
        """Tell whether the exit code says that the program is to be started again."""
        code = self.run_of.program.resume_code
        return code is not None and ended.code == code

    def _ended(self, ended: Ended, *, has_memory_kill: bool = False) -> RunResult:
        failure = failure_of(ended, ran_out_of_memory=has_memory_kill)
        if failure is not None:
            return self._failed(failure)
        logged = result_of_log(self.log.rows, self.log.summary, self.run_of.program.metrics)
        if logged.is_missing:
            return self._result(Outcome.FAILED, logged, error=self._missing_metric(logged))
        if not logged.metrics and not logged.is_diverged:
            why = f"; {WITHOUT_WANDB}" if self._is_without_wandb else ""
            print(f"note: it logged no metric, so that tables have nothing of it{why}", flush=True)
        outcome = Outcome.DIVERGED if logged.is_diverged else Outcome.OK
        return self._result(outcome, logged)

    @property
    def _is_without_wandb(self) -> bool:
        return self.run_of.options.wandb.mode == "disabled"

    def _failed(self, failure: RunError | CrashRecord) -> RunResult:
        if isinstance(failure, CrashRecord):
            raise ProgramLostError(failure)
        return self._result(Outcome.FAILED, error=failure)

    def _missing_metric(self, logged: LoggedResult) -> RunError:
        select = self.run_of.program.metrics.select
        names = ", ".join(sorted(logged.metrics)) or "nothing"
        message = f"the program ended well but logged no {select}; it logged: {names}"
        if self._is_without_wandb:
            message = f"{message} ({WITHOUT_WANDB})"
        return RunError("MetricMissing", message, "")

    def _result(
        self,
        outcome: Outcome,
        logged: LoggedResult | None = None,
        *,
        error: RunError | None = None,
    ) -> RunResult:
        run, program = self.run_of, self.run_of.program
        result = RunResult(
            run_id=run.spec.run_id,
            outcome=outcome,
            metrics={} if logged is None else logged.metrics,
            epoch=None if logged is None else logged.epoch,
            epochs=epochs_in(run.spec.settings.values()) or len(self.log.rows) or 1,
            seconds=time.perf_counter() - self.started,
            error=error,
            baselines=program.metrics.baselines,
            sizes=program.metrics.sizes,
            provenance=self._provenance(),
        )
        if logged is not None and logged.select:
            chosen = {"select": logged.select, "report": program.metrics.report}
            result = replace(result, provenance={**result.provenance, **chosen})
        return result

    def _provenance(self) -> dict[str, Any]:
        program = self.run_of.program
        found: dict[str, Any] = {
            "program": program.provenance,
            "logged_by": self.log.source or "nothing",
        }
        image = self.run_of.options.container
        if program.container and image is not None:
            found["container"] = {
                "image": image.image,
                "program": image.program,
                "sha256": image.sha256,
            }
        if self.log.notes:
            found["notes"] = list(self.log.notes)
        return found
