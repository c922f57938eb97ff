"""One attempt at a run: build, continue what an earlier attempt left, train, test, and say how it ended."""

from __future__ import annotations

import errno
import importlib
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from anlp.core.metrics import higher_is_better
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import ClaimLostError, Interrupted
from anlp.core.training_settings import TrainingSettings
from anlp.data import DatasetCache
from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunError, RunResult
from anlp.tasks import TASKS
from anlp.tracking import Tracker
from anlp.tracking.jsonl import JsonlTracker
from anlp.training import checkpoint
from anlp.training.device import describe_device, prepare_device
from anlp.training.evaluate import evaluate
from anlp.training.optimizers import make_optimizer
from anlp.training.predictions import write_predictions
from anlp.training.schedules import Schedule
from anlp.training.trainer import DivergedError, Metrics, Trainer
from anlp.training.workload import Workload, describe_data

SAVE_INTERVAL_S = (
    1.0  # checkpoints that are due sooner are left out: a second of work is cheaper than writing
)


class Attempt:
    """Carries one run as far as it gets.

    Args:
        spec: the run.
        options: how it is carried out.
        folder: where its files are; this process holds its claim.
        sources: the data sets.
        open_mirrors: opens the trackers beside `metrics.jsonl`, after that file says where the run stands.
        should_stop: asked before each step.
        is_ours: asked before each file is written: whether this process still holds the claim.
        saves_first: write a checkpoint before the first step. In an image that is more than safety: the signals that
            end a job also end the process that mounts the image, and what was not read by then cannot be read any more.
    """

    def __init__(
        self,
        spec: RunSpec,
        options: RunOptions,
        folder: RunFolder,
        sources: DatasetCache,
        *,
        open_mirrors: Callable[[], Sequence[Tracker]] = tuple,
        should_stop: Callable[[], bool] = lambda: False,
        is_ours: Callable[[], bool] = lambda: True,
        saves_first: bool = False,
    ) -> None:
        self.spec = spec
        self.options = options
        self.folder = folder
        self.sources = sources
        self.should_stop = should_stop
        self.is_ours = is_ours
        self.saves_first = saves_first
        self.open_mirrors = open_mirrors

        self.found: tuple[tuple[int, int], int] | None = (
            None  # epoch and step of an earlier checkpoint, and its time
        )
        self.trackers: list[Tracker] = []
        self.trainer: Trainer | None = None
        self.device_name = ""
        self.seconds_before = 0.0
        self.ready_seconds = 0.0
        self.started = self.saved_at = time.perf_counter()

    def run(self) -> RunResult:
        """Trains and tests; a diverged or failed run is a result too, with the trackers told.

        Raises:
            Interrupted: it was asked to stop and has saved its checkpoint.
        """
        try:
            result = self._train_and_test()
        except (Interrupted, ClaimLostError):
            self._finish_trackers("interrupted", {})
            raise
        except DivergedError:
            print("the loss is not finite any more: the run diverged")
            result = self._result(Outcome.DIVERGED)
        except (
            Exception
        ) as error:  # whatever a run raises is its result; the process goes on to the next run
            text = traceback.format_exc()
            print(text)
            result = self._result(Outcome.FAILED, error=self._describe(error, text))
        self._finish_trackers(result.outcome.value, result.to_summary())
        return result

    def _train_and_test(self) -> RunResult:
        device = prepare_device(self.options.device)
        self.device_name = describe_device(device)
        settings = _training_settings(self.spec)
        problem = _build(self.spec, self.sources, device)
        keeps_best = "best" in (settings.test_at, self.options.keep)
        self.trainer = trainer = make_trainer(
            settings, problem, self.spec.seed, keeps_best=keeps_best
        )
        lines = self._continue(trainer)
        self.trackers = [JsonlTracker(self.folder.metrics, lines)]
        self.trackers += self.open_mirrors()
        self.ready_seconds = time.perf_counter() - self.started
        if self.saves_first and trainer.history:
            self._save()
        try:
            trainer.fit(self._record, after_epoch=self._save_if_due, should_stop=self.should_stop)
        except Interrupted:
            self._save()
            raise
        return self._test(trainer, settings)

    def _test(self, trainer: Trainer, settings: TrainingSettings) -> RunResult:
        """Measures the test set once, with the weights that `test_at` names, and keeps the weights asked for."""
        best = trainer.best_epoch if trainer.epoch else 0
        epoch = best if settings.test_at == "best" else trainer.epoch
        self._keep_weights(trainer)
        metrics = {name: value for name, value in trainer.history[epoch].items() if "/" in name}
        if epoch != trainer.epoch and trainer.best_weights is not None:
            trainer.problem.model.load_state_dict(trainer.best_weights)
        if self.options.predictions:
            write_predictions(self.folder.predictions, trainer.problem, trainer.precision)
        if "test/loss" not in metrics:
            metrics |= evaluate(trainer.problem, trainer.problem.test, "test", trainer.precision)
        return self._result(Outcome.OK, metrics=metrics, epoch=epoch)

    def _keep_weights(self, trainer: Trainer) -> None:
        if self.options.keep == "none":
            return
        keeps_best = self.options.keep == "best" and trainer.best_weights is not None
        weights = trainer.best_weights if keeps_best else trainer.problem.model.state_dict()
        epoch = trainer.best_epoch if keeps_best else trainer.epoch
        checkpoint.save(self.folder.weights, {"epoch": epoch, "model": weights})

    def _continue(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Puts the trainer where the last checkpoint was taken; the lines of `metrics.jsonl` up to there."""
        saved = self._load_checkpoint(trainer.device)
        if saved is None:
            return []
        lines = read_metrics(self.folder.metrics)[: saved["epoch"] + 1]
        if [line.get("epoch") for line in lines] != list(range(saved["epoch"] + 1)):
            print(
                f"{self.folder.metrics}: epochs before the checkpoint are missing; starting from scratch"
            )
            return []
        history = [
            {name: value for name, value in line.items() if name != "epoch"} for line in lines
        ]
        trainer.load(saved["trainer"], history)
        self.found = (trainer.epoch, trainer.step), self.folder.checkpoint.stat().st_mtime_ns
        self.seconds_before = saved["seconds"]
        print(f"continuing after epoch {trainer.epoch}, step {trainer.step}")
        return lines

    def _load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        try:
            return checkpoint.load(self.folder.checkpoint, device)
        except checkpoint.UnreadableError as error:
            aside = self.folder.checkpoint.with_suffix(".unreadable")
            self.folder.checkpoint.replace(aside)
            print(
                f"{self.folder.checkpoint}: unreadable ({error}); set aside as {aside.name}, starting from scratch"
            )
            return None

    def _record(self, metrics: Metrics, epoch: int) -> None:
        self._check_claim()
        for tracker in self.trackers:
            tracker.log(metrics, epoch)
        print(render_epoch(metrics, epoch), flush=True)
        if self.saves_first and epoch == 0:
            self._save()

    def _save_if_due(self) -> None:
        is_due = (
            self.trainer is not None and self.trainer.epoch % self.options.checkpoint_every == 0
        )
        if is_due and time.perf_counter() - self.saved_at >= SAVE_INTERVAL_S:
            self._save()

    def _save(self) -> None:
        if self.trainer is None:
            return
        self._check_claim()
        content = {
            "epoch": self.trainer.epoch,
            "seconds": self._seconds(),
            "trainer": self.trainer.state(),
        }
        checkpoint.save(self.folder.checkpoint, content)
        if self.found is not None and self.found[0] == (self.trainer.epoch, self.trainer.step):
            os.utime(
                self.folder.checkpoint, ns=(self.found[1],) * 2
            )  # a later time would say that it got further
        self.saved_at = time.perf_counter()

    def _check_claim(self) -> None:
        if not self.is_ours():
            raise ClaimLostError

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started

    def _finish_trackers(self, outcome: str, summary: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.finish(outcome, summary)

    def _describe(self, error: Exception, text: str) -> RunError:
        epoch = None if self.trainer is None else self.trainer.epoch
        message = f"{error}; free some space, then retry" if _is_out_of_space(error) else str(error)
        return RunError(type(error).__name__, message, text, epoch)

    def _result(
        self,
        outcome: Outcome,
        *,
        metrics: Metrics | None = None,
        epoch: int | None = None,
        error: RunError | None = None,
    ) -> RunResult:
        trainer = self.trainer
        problem = None if trainer is None else trainer.problem
        return RunResult(
            run_id=self.spec.run_id,
            outcome=outcome,
            metrics=metrics or {},
            epoch=epoch,
            epochs=0 if trainer is None else trainer.epoch,
            steps=0 if trainer is None else trainer.updates,
            baselines={} if problem is None else problem.baselines,
            sizes={} if problem is None else problem.sizes(),
            seconds=self._seconds(),
            error=error,
            provenance={
                "device": self.device_name,
                "torch": torch.__version__,
                "ready_seconds": self.ready_seconds,
                **({} if problem is None else describe_data(problem)),
            },
        )


def make_trainer(
    settings: TrainingSettings, problem: Workload, seed: int, *, keeps_best: bool
) -> Trainer:
    """The trainer that the settings describe; the last place that knows them."""
    optimizer = make_optimizer(
        settings.optimizer,
        [parameter for parameter in problem.model.parameters() if parameter.requires_grad]
        or [_nothing()],
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )
    return Trainer(
        problem,
        optimizer,
        _make_schedule(settings, -(-len(problem.train) // settings.batch_size)),
        seed=seed,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        clip_norm=settings.clip_norm,
        precision={"fp32": torch.float32, "bf16": torch.bfloat16}[settings.precision],
        patience=settings.patience,
        monitor=settings.monitor,
        keeps_best=keeps_best,
        test_each_epoch=settings.test_each_epoch,
        reshuffles=not settings.overfit_batches,
    )


def _nothing() -> nn.Parameter:
    """For an optimizer of a model without gradients: it wants at least one parameter."""
    return nn.Parameter(torch.zeros(()))


def _make_schedule(settings: TrainingSettings, steps_per_epoch: int) -> Schedule:
    return Schedule(
        settings.schedule,
        settings.lr,
        steps=settings.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=round(settings.warmup_epochs * steps_per_epoch),
        decay_every=settings.decay_every,
        decay_patience=settings.decay_patience,
        decay_factor=settings.decay_factor,
        higher_is_better=higher_is_better(settings.monitor),
    )


def _is_out_of_space(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def render_epoch(metrics: Metrics, epoch: int) -> str:
    """The line of the log for people."""
    values = "  ".join(
        f"{name} {value:.4g}" for name, value in metrics.items() if name != "seconds"
    )
    return f"epoch {epoch}  {values}  {metrics['seconds']:.2f} s"


def _training_settings(spec: RunSpec) -> TrainingSettings:
    if not isinstance(spec.settings, TrainingSettings):
        raise TypeError(
            f"task {spec.task}: expected settings of a training, got {type(spec.settings).__name__}"
        )
    return spec.settings


def _build(spec: RunSpec, sources: DatasetCache, device: torch.device) -> Workload:
    module, function = TASKS[spec.task].builder.split(":")
    problem = getattr(importlib.import_module(module), function)(
        spec.settings, spec.seed, sources, device
    )
    if not isinstance(problem, Workload):
        raise TypeError(
            f"task {spec.task}: its builder returned {type(problem).__name__}, expected Problem"
        )
    return problem
