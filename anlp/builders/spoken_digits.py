"""Task `spoken_digits`: the digit said, from a sequence of audio features.

Where the data set has both, a class is a digit said by a man or by a woman.
"""

from __future__ import annotations

import torch
from torch import nn

from anlp.data import DataSet, DatasetCache
from anlp.models.recurrent import Headed, Pooled, Recurrent
from anlp.tasks.spoken_digits import SpokenDigitsSettings
from anlp.workloads import seeding
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.batching import trim
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload


def build(
    settings: SpokenDigitsSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    dropout = 0.0 if settings.overfit_batches else settings.dropout
    torch.manual_seed(seeding.key(seed, "init"))
    model = Headed(_make_backbone(settings, data, dropout), data.classes, dropout=dropout).to(
        device
    )
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(
        model=model,
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(),
        collate=trim,
        lengths=data.train.inputs[1][train.rows.cpu()],
        is_stochastic=dropout > 0,
        baselines=classification_baselines(data),
    )


def _make_backbone(settings: SpokenDigitsSettings, data: DataSet, dropout: float) -> nn.Module:
    features = data.train.inputs[0].shape[2]
    if settings.model == "linear":
        return Pooled(
            features,
            units=settings.units,
            squeeze=settings.squeeze,
            pooling=settings.pooling,
            mean=data.mean,
            std=data.std,
        )
    return Recurrent(
        features,
        cell="lstm" if settings.model == "lstm" else "gru",
        hidden=settings.hidden,
        layers=settings.layers,
        bidirectional=settings.bidirectional,
        heads=settings.heads if settings.model == "gru_attention" else 0,
        pooling=settings.pooling,
        dropout=dropout,
        mean=data.mean,
        std=data.std,
    )
