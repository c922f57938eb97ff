"""Task `mnist`: one handwritten digit per image, dense or convolutional."""

from __future__ import annotations

import torch
from torch import nn

from anlp.data import DataSet, DatasetCache
from anlp.models.cnn import Cnn
from anlp.models.dense import Dense
from anlp.tasks.mnist import MnistSettings
from anlp.workloads import seeding
from anlp.workloads.augment import RandomShift
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload

EVAL_BATCH = {"dense": 1000, "cnn": 128}
SHIFT_PART = 8  # images move by up to a width / 8


def build(
    settings: MnistSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    # nothing may stand between the model and a loss of 0
    is_debugging = settings.overfit_batches > 0
    dropout = 0.0 if is_debugging else settings.dropout
    shifts = settings.augment == "shift" and not is_debugging
    torch.manual_seed(seeding.key(seed, "init"))
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(
        model=_make_model(settings, data, dropout).to(device),
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(0.0 if is_debugging else settings.label_smoothing),
        augment=RandomShift(data.train.inputs[0].shape[-1] // SHIFT_PART) if shifts else None,
        is_stochastic=dropout > 0 or shifts,
        eval_batch=EVAL_BATCH[settings.model],
        baselines=classification_baselines(data),
    )


def _make_model(settings: MnistSettings, data: DataSet, dropout: float) -> nn.Module:
    channels, side, _ = data.train.inputs[0].shape[1:]
    if settings.model == "dense":
        inputs = channels * side * side
        return Dense(
            inputs,
            data.classes,
            hidden=settings.hidden,
            dropout=dropout,
            mean=data.mean,
            std=data.std,
        )
    return Cnn(
        side,
        data.classes,
        channels=channels,
        filters=settings.filters,
        units=settings.units,
        dropout=dropout,
        mean=data.mean,
        std=data.std,
    )
