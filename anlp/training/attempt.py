"""One attempt at a run: build, continue from a checkpoint, train, test, and report how it ended."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from anlp.core.files import is_unwritable
from anlp.core.metrics import higher_is_better
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import Interrupted, LeaseLostError
from anlp.core.training_settings import TrainingSettings
from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunError, RunResult
from anlp.tracking import Tracker
from anlp.tracking.jsonl import JsonlTracker
from anlp.training import checkpoint
from anlp.training.device import describe_device, prepare_device
from anlp.training.evaluate import evaluate
from anlp.training.optimizers import OptimizerOptions, make_optimizer
from anlp.training.predictions import write_predictions
from anlp.training.schedules import Schedule
from anlp.training.trainer import DivergedError, Metrics, Trainer, TrainerConfig
from anlp.workloads.workload import Workload, describe_data

# a checkpoint due sooner is skipped: repeating a second is cheaper than writing
SAVE_INTERVAL_S = 1.0
PRECISIONS: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class AttemptHooks:
    """How an attempt is tied to the process that carries it out.

    Args:
        open_mirrors: opens the trackers beside `metrics.jsonl`, once that file shows where the run
            stands.
        should_stop: asked before each step.
        holds_lease: asked before each file is written: whether this process still holds the run's
            lease.
        saves_first: whether a checkpoint is written before the first step. In an image that is more
            than safety: a signal to the whole job also ends the process that mounts the image, and
            code that was not read by then cannot be read any more.
    """

    open_mirrors: Callable[[], Sequence[Tracker]] = tuple
    should_stop: Callable[[], bool] = lambda: False
    holds_lease: Callable[[], bool] = lambda: True
    saves_first: bool = False


class Attempt:
    """Carries one run as far as it gets.

    Args:
        spec: the run.
        options: how it is carried out.
        folder: where its files are; this process holds its lease.
        build: makes the run's workload on a device.
        hooks: how it is tied to this process.
    """

    def __init__(
        self,
        spec: RunSpec,
        options: RunOptions,
        folder: RunFolder,
        build: Callable[[torch.device], Workload],
        hooks: AttemptHooks,
    ) -> None:
        self.spec = spec
        self.options = options
        self.folder = folder
        self.build = build
        self.hooks = hooks

        # (epoch, step) of a checkpoint, its time
        self.found: tuple[tuple[int, int], int] | None = None
        self.trackers: list[Tracker] = []
        self.trainer: Trainer | None = None
        self.device_name = ""
        self.seconds_before = 0.0
        self.ready_seconds = 0.0
        self.started = self.saved_at = time.perf_counter()

    def run(self) -> RunResult:
        """Train and test; a diverged or failed run is a result, too.

        Raises:
            Interrupted: the run was asked to stop and has saved its checkpoint.
            LeaseLostError: another process has taken over the run.
            OSError: a file could not be written, or a disk is full: no fault of the run.
        """
        try:
            result = self._train_and_test()
        except (Interrupted, LeaseLostError):
            self._finish_trackers("interrupted", {})
            raise
        except DivergedError:
            print("the loss is not finite any more: the run diverged")
            result = self._result(Outcome.DIVERGED)
        except Exception as error:  # any exception of a run is its result, but not of its disk
            text = traceback.format_exc()
            if is_unwritable(error):
                self._finish_trackers("interrupted", {})
                raise
            print(text)
            result = self._result(Outcome.FAILED, error=self._describe(error, text))
        self._finish_trackers(result.outcome.value, result.to_summary())
        return result

    def _train_and_test(self) -> RunResult:
        device = prepare_device(self.options.device)
        self.device_name = describe_device(device)
        settings = _training_settings(self.spec)
        workload = self.build(device)
        keeps_best = "best" in (settings.test_at, self.options.keep)
        self.trainer = trainer = make_trainer(
            settings, workload, self.spec.seed, keeps_best=keeps_best
        )
        lines = self._continue(trainer)
        self.trackers = [JsonlTracker(self.folder.metrics, lines)]
        self.trackers += self.hooks.open_mirrors()
        self.ready_seconds = time.perf_counter() - self.started
        if self.hooks.saves_first and trainer.history:
            self._save()
        try:
            trainer.fit(
                self._record, after_epoch=self._save_if_due, should_stop=self.hooks.should_stop
            )
        except Interrupted:
            self._save()
            raise
        return self._test(trainer, settings)

    def _test(self, trainer: Trainer, settings: TrainingSettings) -> RunResult:
        """Measure the test set with the weights of `test_at`, and keep the weights asked for."""
        best = trainer.best_epoch if trainer.epoch else 0
        epoch = best if settings.test_at == "best" else trainer.epoch
        self._keep_weights(trainer)
        metrics = {name: value for name, value in trainer.history[epoch].items() if "/" in name}
        if epoch != trainer.epoch and trainer.best_weights is not None:
            trainer.workload.model.load_state_dict(trainer.best_weights)
        if self.options.predictions:
            write_predictions(self.folder.predictions, trainer.workload, trainer.config.precision)
        if "test/loss" not in metrics:
            metrics |= evaluate(
                trainer.workload, trainer.workload.test, "test", trainer.config.precision
            )
        return self._result(Outcome.OK, metrics=metrics, epoch=epoch)

    def _keep_weights(self, trainer: Trainer) -> None:
        if self.options.keep == "none":
            return
        weights, epoch = trainer.workload.model.state_dict(), trainer.epoch
        if self.options.keep == "best" and trainer.best_weights is not None:
            weights, epoch = trainer.best_weights, trainer.best_epoch
        checkpoint.save_weights(self.folder.weights, weights, epoch)

    def _continue(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Load the last checkpoint; return the lines of `metrics.jsonl` up to there."""
        saved = self._load_checkpoint(trainer.device)
        if saved is None:
            return []
        lines = read_metrics(self.folder.metrics)[: saved["epoch"] + 1]
        if [line.get("epoch") for line in lines] != list(range(saved["epoch"] + 1)):
            print(f"{self.folder.metrics}: epochs are missing; starting from scratch")
            return []
        history = [{**line} for line in lines]
        for metrics in history:
            del metrics["epoch"]
        trainer.load(saved["trainer"], history)
        self.found = (trainer.epoch, trainer.step), self.folder.checkpoint.stat().st_mtime_ns
        self.seconds_before = saved["seconds"]
        print(f"continuing after epoch {trainer.epoch}, step {trainer.step}")
        return lines

    def _load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        try:
            return checkpoint.load_checkpoint(self.folder.checkpoint, device)
        except checkpoint.UnreadableError as error:
            aside = self.folder.checkpoint.with_suffix(".unreadable")
            self.folder.checkpoint.replace(aside)
            print(
                f"{self.folder.checkpoint}: unreadable ({error}); set aside as {aside.name}, "
                "starting from scratch"
            )
            return None

    def _record(self, metrics: Metrics, epoch: int) -> None:
        self._check_lease()
        for tracker in self.trackers:
            tracker.log(metrics, epoch)
        print(render_epoch(metrics, epoch), flush=True)
        if self.hooks.saves_first and epoch == 0:
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
        self._check_lease()
        content = {
            "epoch": self.trainer.epoch,
            "seconds": self._seconds(),
            "trainer": self.trainer.state(),
        }
        checkpoint.save_checkpoint(self.folder.checkpoint, content)
        if self.found is not None and self.found[0] == (self.trainer.epoch, self.trainer.step):
            # the file's time is when the run got so far, and it has got no further
            os.utime(self.folder.checkpoint, ns=(self.found[1], self.found[1]))
        self.saved_at = time.perf_counter()

    def _check_lease(self) -> None:
        if not self.hooks.holds_lease():
            raise LeaseLostError

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started

    def _finish_trackers(self, outcome: str, summary: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            _finish_tracker(tracker, outcome, summary)

    def _describe(self, error: Exception, text: str) -> RunError:
        epoch = None if self.trainer is None else self.trainer.epoch
        return RunError(type(error).__name__, str(error), text, epoch)

    def _result(
        self,
        outcome: Outcome,
        *,
        metrics: Metrics | None = None,
        epoch: int | None = None,
        error: RunError | None = None,
    ) -> RunResult:
        result = RunResult(
            run_id=self.spec.run_id,
            outcome=outcome,
            metrics=metrics or {},
            epoch=epoch,
            seconds=self._seconds(),
            error=error,
            provenance={
                "device": self.device_name,
                "torch": torch.__version__,
                "ready_seconds": self.ready_seconds,
            },
        )
        trainer = self.trainer
        if trainer is None:  # it failed before there was anything to train
            return result
        return replace(
            result,
            epochs=trainer.epoch,
            steps=trainer.updates,
            baselines=trainer.workload.baselines,
            sizes=trainer.workload.sizes(),
            provenance={**result.provenance, **describe_data(trainer.workload)},
        )


def make_trainer(
    settings: TrainingSettings, workload: Workload, seed: int, *, keeps_best: bool
) -> Trainer:
    """Make the trainer of some settings; code below this function does not know them."""
    trained = [parameter for parameter in workload.model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(
        settings.optimizer,
        trained or [_make_placeholder()],
        OptimizerOptions(
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        ),
    )
    config = TrainerConfig(
        seed=seed,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        clip_norm=settings.clip_norm,
        precision=PRECISIONS[settings.precision],
        patience=settings.patience,
        monitor=settings.monitor,
        keeps_best=keeps_best,
        test_each_epoch=settings.test_each_epoch,
        reshuffles=not settings.overfit_batches,
    )
    schedule = _make_schedule(settings, -(-len(workload.train) // settings.batch_size))
    return Trainer(workload, optimizer, schedule, config)


def _make_placeholder() -> nn.Parameter:
    """Make the parameter that an optimizer needs, for a model without gradients."""
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


def _finish_tracker(tracker: Tracker, outcome: str, summary: Mapping[str, Any]) -> None:
    try:
        tracker.finish(outcome, summary)
    except Exception as error:  # a mirror's fault must not cost the result
        if is_unwritable(error):
            raise
        traceback.print_exc()


def render_epoch(metrics: Metrics, epoch: int) -> str:
    """Return the line of `log.txt` for an epoch."""
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
