"""One attempt at a run of the user's own function."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anlp.core.files import UnwritableError, make_folder
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import Interrupted, LeaseLostError, StopFlag
from anlp.functions.load import load_function, make_settings
from anlp.functions.run import Run
from anlp.records.files import read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.logged import LoggedResult, result_of_log
from anlp.records.options import RunOptions
from anlp.records.program import Program, declare_program_goal
from anlp.records.results import Outcome, RunError, RunResult
from anlp.tracking import Tracker
from anlp.tracking.jsonl import JsonlTracker


@dataclass(frozen=True, slots=True)
class FunctionRun:
    """A run of a function, with all that carrying it out takes.

    Args:
        spec: the run.
        options: how it is carried out.
        folder: where its files are.
        program: the function.
        flag: set when it is to stop.
        holds_lease: whether this process still holds the run's lease.
        open_mirrors: opens the trackers beside `metrics.jsonl`.
    """

    spec: RunSpec
    options: RunOptions
    folder: RunFolder
    program: Program
    flag: StopFlag
    holds_lease: Callable[[], bool]
    open_mirrors: Callable[[], Sequence[Tracker]] = tuple

    @property
    def code_folder(self) -> Path:
        """Return where the project's code is: its copy, or the project itself."""
        if not self.program.code:
            return Path(self.program.project)
        return GridFolder(self.folder.path.parent).path / self.program.code


@dataclass(slots=True)
class RunSink:
    """Keeps what a function logs, in its run's files and for its result."""

    run: FunctionRun
    rows: list[dict[str, float]] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    trackers: list[Tracker] = field(default_factory=list)
    pending: dict[str, float] = field(default_factory=dict)
    epoch: int = 0  # of `pending`

    def begin(self, after: int) -> None:
        """Open the trackers with the lines of the epochs that are not repeated."""
        lines = read_metrics(self.run.folder.metrics) if after else []
        kept = [line for line in lines if line.get("epoch", after + 1) <= after]
        self.rows = [
            {name: math.nan if value is None else value for name, value in line.items()}
            for line in kept
        ]
        self.trackers = [JsonlTracker(self.run.folder.metrics, kept), *self.run.open_mirrors()]

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Record metrics of an epoch, written once the epoch is over."""
        if epoch != self.epoch:
            self.flush()
        self.epoch = epoch
        self.pending |= metrics

    def report(self, metrics: Mapping[str, float]) -> None:
        """Record final metrics."""
        self.flush()
        self.summary |= metrics

    def flush(self) -> None:
        """Write the metrics of the present epoch."""
        if not self.pending:
            return
        if not self.run.holds_lease():
            raise LeaseLostError
        metrics, self.pending = self.pending, {}
        self.rows.append({"epoch": self.epoch, **metrics})
        for tracker in self.trackers:
            tracker.log(metrics, self.epoch)
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        print(f"epoch {self.epoch}  {values}", flush=True)

    def finish(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Close the trackers."""
        for tracker in self.trackers:
            tracker.finish(outcome, summary)


class FunctionAttempt:
    """Carries the run of a function to its end.

    Args:
        run: the run.
    """

    def __init__(self, run: FunctionRun) -> None:
        self.run_of = run
        self.sink = RunSink(run)
        self.started = time.perf_counter()

    def run(self) -> RunResult:
        """Call the function and return the run's result; a failed run is one, too.

        Raises:
            Interrupted: it was asked to stop, or left by itself; any submit continues it.
            LeaseLostError: another process has taken over the run.
        """
        declare_program_goal(self.run_of.program)
        try:
            self._call()
            result = self._ended()
        except (Interrupted, LeaseLostError):
            self.sink.finish("interrupted", {})
            raise
        except UnwritableError:  # of the run's own files: there is no place for a result
            self.sink.finish("interrupted", {})
            raise
        except Exception as error:  # any exception of a run is its result
            text = traceback.format_exc()
            print(text)
            failure = RunError(type(error).__name__, str(error), text, self._last_epoch())
            result = self._result(Outcome.FAILED, error=failure)
        self.sink.finish(result.outcome.value, result.to_summary())
        return result

    def _call(self) -> None:
        run = self.run_of
        program = run.program
        train = load_function(run.code_folder, program.path or program.name, program.function)
        settings = make_settings(train, run.spec.settings.values())
        make_folder(run.folder.files)
        train(settings, self._handle())
        self.sink.flush()
        if run.flag.is_set() and not self.sink.summary:
            raise Interrupted("stopped")  # it has reported no end

    def _handle(self) -> Run:
        run = self.run_of
        handle = Run(
            seed=run.spec.seed,
            folder=run.folder.files,
            checkpoint=run.folder.checkpoint,
            device=run.options.device,
            sink=self.sink,
            stop=run.flag,
        )
        handle.run_id = run.spec.run_id
        return handle

    def _last_epoch(self) -> int | None:
        return int(self.sink.rows[-1]["epoch"]) if self.sink.rows else None

    def _ended(self) -> RunResult:
        metrics = self.run_of.program.metrics
        logged = result_of_log(self.sink.rows, self.sink.summary, metrics)
        if logged.is_missing:
            names = ", ".join(sorted(logged.metrics)) or "nothing"
            message = f"the function ended well but logged no {metrics.select}; it logged: {names}"
            return self._result(
                Outcome.FAILED, logged, error=RunError("MetricMissing", message, "")
            )
        return self._result(Outcome.DIVERGED if logged.is_diverged else Outcome.OK, logged)

    def _result(
        self,
        outcome: Outcome,
        logged: LoggedResult | None = None,
        *,
        error: RunError | None = None,
    ) -> RunResult:
        program = self.run_of.program
        provenance: dict[str, Any] = {
            "program": program.provenance,
            "logged_by": "function",
        }
        if logged is not None and logged.select:
            provenance |= {"select": logged.select, "report": program.metrics.report}
        return RunResult(
            run_id=self.run_of.spec.run_id,
            outcome=outcome,
            metrics={} if logged is None else logged.metrics,
            epoch=None if logged is None else logged.epoch,
            epochs=self._last_epoch() or 0,
            seconds=time.perf_counter() - self.started,
            error=error,
            baselines=program.metrics.baselines,
            sizes=program.metrics.sizes,
            provenance=provenance,
        )
