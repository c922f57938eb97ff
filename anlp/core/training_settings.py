"""Settings that every gradient-trained task shares: optimizer, schedule, stopping, measuring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from anlp.core.spec import ActiveWhen, DefaultForHash, TaskSettings

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
OfClasses = Literal["val/loss", "val/acc"]  # `monitor` of a classification
Count = Annotated[int, Field(ge=1)]
CountOrOff = Annotated[int, Field(ge=0)]


class TrainingSettings(TaskSettings):
    """How a model is trained; 0 switches a feature off where the setting's bounds allow it."""

    epochs: Annotated[int, Field(ge=0, le=100_000)] = 10
    batch_size: Count = 64
    lr: Positive = 0.001
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "adam"
    momentum: Fraction = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    schedule: Literal["none", "cosine", "step", "plateau", "onecycle"] = "none"
    # linear rise from 0; for onecycle the rising part (0: 30 % of the training)
    warmup_epochs: NonNegative = 0.0
    decay_every: Count = 10  # step: epochs between two decays
    decay_patience: Count = 3  # plateau: epochs without a better `monitor` before a decay
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1  # step, plateau

    clip_norm: NonNegative = 0.0  # 0: no clipping
    precision: Literal["fp32", "bf16"] = "fp32"
    # early stopping after this many epochs without a better `monitor`; 0: never
    patience: CountOrOff = 0
    monitor: str = "val/acc"  # every task narrows it to the metrics that it has
    test_at: Literal["best", "last"] = "best"  # which epoch's weights are measured on the test set
    test_each_epoch: bool = False
    # the gradient norm of every layer, too
    layer_norms: Annotated[bool, DefaultForHash(False)] = False

    # share of the training set held out, split by the seed
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    train_samples: CountOrOff = 0  # use only this many samples of the training set; 0: all
    # train on this many batches only, the field's first debugging step; 0: off
    overfit_batches: CountOrOff = 0

    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        "momentum": ActiveWhen("optimizer", frozenset({"sgd", "rmsprop"})),
        "nesterov": ActiveWhen("optimizer", frozenset({"sgd"})),
        "decay_every": ActiveWhen("schedule", frozenset({"step"})),
        "decay_patience": ActiveWhen("schedule", frozenset({"plateau"})),
        "decay_factor": ActiveWhen("schedule", frozenset({"step", "plateau"})),
    }

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs momentum > 0, got momentum: 0")
        return self
