"""The training loop: epochs of batches, stoppable between any two steps, continued bit for bit."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from anlp.core.metrics import higher_is_better
from anlp.core.stop_flag import Interrupted
from anlp.training import early_stopping
from anlp.training.evaluate import evaluate
from anlp.training.meters import MetricAccumulator
from anlp.training.norms import total_norm
from anlp.training.schedules import Schedule
from anlp.workloads import seeding
from anlp.workloads.batching import like_lengths_together
from anlp.workloads.workload import Split, Workload

CHECK_EVERY = 50  # steps between two looks for NaN: looking waits for the device
NORMS_PER_EPOCH = 16  # gradient norms in the mean `grad_norm`; every step's with clipping
UNTRAINED_SAMPLES = 2000  # of the training set, measured before the first update

Metrics = dict[str, float]


class DivergedError(Exception):
    """The loss became NaN or infinite."""


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """How a workload is trained.

    Args:
        seed: of the run: the order of the samples and the masks follow from it.
        epochs: at most.
        batch_size: samples per step; the last step of an epoch may have fewer.
        clip_norm: gradients are scaled down to this norm; 0: never.
        precision: of the forward pass (float32 or bfloat16).
        patience: epochs without a better `monitor` before stopping; 0: never.
        monitor: name of the metric that decides which epoch is best, see `anlp.core.metrics`.
        keeps_best: whether the weights of the best epoch are kept in memory.
        test_each_epoch: whether the test set is measured after every epoch.
        reshuffles: whether every epoch has a new order of the samples.
    """

    seed: int
    epochs: int
    batch_size: int
    clip_norm: float = 0.0
    precision: torch.dtype = torch.float32
    patience: int = 0
    monitor: str = "val/acc"
    keeps_best: bool = True
    test_each_epoch: bool = False
    reshuffles: bool = True


class Trainer:
    """Trains a workload; `state` has everything that it remembers between two steps.

    Args:
        workload: model, data and objective.
        optimizer: of the model's parameters.
        schedule: learning rate of each step.
        config: how it is trained.
    """

    def __init__(
        self, workload: Workload, optimizer: Optimizer, schedule: Schedule, config: TrainerConfig
    ) -> None:
        self.workload = workload
        self.optimizer = optimizer
        self.schedule = schedule
        self.config = config

        self.epochs = min(config.epochs, 1) if workload.fit else config.epochs
        self.device = workload.train.rows.device
        self.parameters = [
            parameter for parameter in workload.model.parameters() if parameter.requires_grad
        ]
        self.generators = seeding.default_generators(self.device)
        self.steps_per_epoch = -(-len(workload.train) // config.batch_size)
        self.norm_every = 1 if config.clip_norm else -(-self.steps_per_epoch // NORMS_PER_EPOCH)

        self.epoch = 0  # completed
        self.step = 0  # completed, of the epoch under way
        self.meters = self._new_meters()
        self.history: list[Metrics] = []  # epoch 0 first
        self.best_weights: dict[str, Tensor] | None = None
        self.epoch_seconds = 0.0  # spent on the epoch under way by earlier attempts

    @property
    def updates(self) -> int:
        """Number of optimizer updates so far."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def monitored(self) -> list[float]:
        """Return the monitored metric after each completed epoch.

        Epoch 1 is first: an untrained model is never the best.
        """
        return [metrics[self.config.monitor] for metrics in self.history[1:]]

    @property
    def best_epoch(self) -> int:
        """Return the completed epoch with the best monitored value; 0 before the first."""
        return early_stopping.best_epoch(self.monitored, self._higher_is_better)

    def fit(
        self,
        on_epoch: Callable[[Metrics, int], None],
        *,
        after_epoch: Callable[[], None] = lambda: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the end, from the state that `load` has set.

        Args:
            on_epoch: gets the metrics of an epoch as soon as they are known, epoch 0 before the
                first update.
            after_epoch: called when an epoch is complete and another will follow.
            should_stop: asked before each step.

        Raises:
            Interrupted: `should_stop` returned True; `state` is what to continue from.
            DivergedError: the loss is not finite any more.
        """
        if not self.history:
            self._record(self._untrained_metrics(), on_epoch)
        while not self._is_done():
            if self.epoch and not self.step:
                after_epoch()
            self._train_epoch(should_stop)
            self._record(self._epoch_metrics(), on_epoch)

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs, tensors and plain values."""
        return {
            "model": self.workload.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "tally": self.meters.state(),
            "epoch_seconds": self.epoch_seconds,
            "best_weights": self.best_weights,
        }

    def load(self, state: dict[str, Any], history: list[Metrics]) -> None:
        """Continue from `state`.

        Args:
            state: from `state` of a trainer made alike.
            history: the metrics that were recorded up to then, epoch 0 first.
        """
        self.workload.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.meters.load(state["tally"])
        self.epoch_seconds = state["epoch_seconds"]
        self.best_weights = state["best_weights"]
        self.history = list(history)

    @property
    def _higher_is_better(self) -> bool:
        return higher_is_better(self.config.monitor)

    def _is_done(self) -> bool:
        ran_out = self.epoch >= self.epochs
        return ran_out or early_stopping.should_stop(
            self.monitored, self.config.patience, self._higher_is_better
        )

    def _new_meters(self) -> MetricAccumulator:
        return MetricAccumulator(self.workload.objective.names, self.device)

    def _train_epoch(self, should_stop: Callable[[], bool]) -> None:
        started, before = time.perf_counter(), self.epoch_seconds
        monitored = self.monitored
        if self.workload.fit:
            self._fit_in_one_go(self.workload.fit)
            return
        self.workload.model.train()
        for rows in torch.split(self._order(self.epoch), self.config.batch_size)[self.step :]:
            if should_stop():
                raise Interrupted
            self._train_step(rows, self.schedule.lr_at(self.updates, monitored))
            self.step += 1
            self.epoch_seconds = before + time.perf_counter() - started
            if self.step % CHECK_EVERY == 0 and not self.meters.is_finite():
                raise DivergedError

    def _fit_in_one_go(self, fit: Callable[[Split], None]) -> None:
        """Fit the model; its training measures are those on the samples that it was fitted to."""
        started = time.perf_counter()
        train = self.workload.train
        fit(train)
        with torch.inference_mode():
            for batch in self.workload.batches(train):
                measures = self.workload.objective(
                    self.workload.model(*batch.inputs), batch.targets, training=False
                )
                self.meters.add(measures, len(batch))
        self.step = self.steps_per_epoch
        self.epoch_seconds += time.perf_counter() - started

    def _train_step(self, rows: Tensor, lr: float) -> None:
        """Make one update; everything random in it follows from the seed and the step's number."""
        workload = self.workload
        if workload.is_stochastic:
            self._seed_step()
        batch = workload.train.samples.gather(rows)
        if workload.collate:
            batch = workload.collate(batch)
        if workload.augment:
            batch = workload.augment(batch)
        with self._autocast():
            measures = workload.objective(
                workload.model(*batch.inputs), batch.targets, training=True
            )
        for parameter in self.parameters:
            parameter.grad = None  # what `zero_grad` does, without its 40 us of profiling hooks
        torch.autograd.backward(measures[0])
        if self.step % self.norm_every == 0:
            # before clipping
            self.meters.add_layers(
                {name: _norm_of(layer) for name, layer in workload.layers.items()}
            )
            self.meters.add_norm(self._clip_or_measure())
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.meters.add(measures, len(batch))

    def _seed_step(self) -> None:
        key = seeding.key(self.config.seed, "step", self.updates)
        for generator in self.generators:
            generator.manual_seed(key)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.config.precision)

    def _clip_or_measure(self) -> Tensor:
        """Return the gradient's norm, before clipping where there is any."""
        if self.config.clip_norm:
            return nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        return total_norm([p.grad for p in self.parameters if p.grad is not None])

    def _order(self, epoch: int) -> Tensor:
        """Return rows of the training samples in the order of `epoch` (the first is 0)."""
        train = self.workload.train
        if not self.config.reshuffles:
            return train.rows
        generator = seeding.generator(self.config.seed, "order", epoch)
        if self.workload.lengths is not None:
            return train.take(
                like_lengths_together(self.workload.lengths, self.config.batch_size, generator)
            ).rows
        return train.take(torch.randperm(len(train), generator=generator)).rows

    def _untrained_metrics(self) -> Metrics:
        """Return the metrics of epoch 0, in evaluation mode.

        Training metrics are of 2,000 samples, the gradient norm is of the first batch.
        """
        started = time.perf_counter()
        train = self.workload.train
        part = Split(train.samples, train.rows[:UNTRAINED_SAMPLES])
        return {
            **evaluate(self.workload, part, "train", self.config.precision),
            **self._measure_held_out(),
            "lr": 0.0 if self.workload.fit else self.schedule.lr_at(0),
            "grad_norm": self._first_norm(),
            "seconds": time.perf_counter() - started,
        }

    def _first_norm(self) -> float:
        if self.workload.fit:
            return 0.0
        self.workload.model.eval()
        batch = self.workload.train.samples.gather(self._order(0)[: self.config.batch_size])
        if self.workload.collate:
            batch = self.workload.collate(batch)
        with self._autocast():
            loss = self.workload.objective(
                self.workload.model(*batch.inputs), batch.targets, training=False
            )[0]
        gradients = torch.autograd.grad(loss, self.parameters)
        return float(total_norm(gradients))

    def _epoch_metrics(self) -> Metrics:
        """Return the metrics of the epoch under way, and close it."""
        if not self.meters.is_finite():
            raise DivergedError
        started = time.perf_counter()
        lr = 0.0 if self.workload.fit else float(self.optimizer.param_groups[0]["lr"])
        found = {
            **self.meters.means("train"),
            **self._measure_held_out(),
            "lr": lr,
            "grad_norm": self.meters.mean_norm(),
        }
        found |= self.meters.layer_norms()
        seconds = self.epoch_seconds + time.perf_counter() - started
        self.epoch += 1
        self.step, self.epoch_seconds, self.meters = 0, 0.0, self._new_meters()
        return {**found, "seconds": seconds}

    def _measure_held_out(self) -> Metrics:
        found = evaluate(self.workload, self.workload.val, "val", self.config.precision)
        if self.config.test_each_epoch:
            found |= evaluate(self.workload, self.workload.test, "test", self.config.precision)
        if not all(map(math.isfinite, found.values())):
            raise DivergedError
        return found

    def _record(self, metrics: Metrics, on_epoch: Callable[[Metrics, int], None]) -> None:
        self.history.append(metrics)
        if self.config.keeps_best and self.best_epoch == self.epoch:
            self.best_weights = {
                name: value.clone() for name, value in self.workload.model.state_dict().items()
            }
        on_epoch(metrics, self.epoch)


def _norm_of(layer: nn.Module) -> Tensor:
    """Return the norm of the gradients of a layer's parameters."""
    return total_norm([p.grad for p in layer.parameters() if p.grad is not None])
