"""Task `fma_genre`: the genre of a piece of music from its spectrogram."""

from __future__ import annotations

import torch
from torch import nn

from anlp.data import DataSet, DatasetCache
from anlp.models.recurrent import Headed, Recurrent
from anlp.models.spectrogram_cnn import SpectrogramCnn
from anlp.tasks.fma import FmaGenreSettings, SpectrogramSettings
from anlp.workloads import seeding
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.batching import trim
from anlp.workloads.objectives import Classification
from anlp.workloads.split_metrics import macro_f1
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload


def build(
    settings: FmaGenreSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    dropout = 0.0 if settings.overfit_batches else settings.dropout
    torch.manual_seed(seeding.key(seed, "init"))
    model = Headed(make_backbone(settings, data, dropout), data.classes, dropout=dropout).to(device)
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(
        model=model,
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(),
        summary=macro_f1,
        collate=trim,
        lengths=data.train.inputs[1][train.rows.cpu()],
        is_stochastic=dropout > 0,
        eval_batch=64,
        baselines=classification_baselines(data),
        origins=data.origins,
    )


def make_backbone(settings: SpectrogramSettings, data: DataSet, dropout: float) -> nn.Module:
    """Make the part of the model that turns a piece into a vector."""
    features = data.train.inputs[0].shape[2]
    if settings.model == "cnn2d":
        return SpectrogramCnn(
            features,
            filters=settings.filters,
            size=settings.feature_size,
            mean=data.mean,
            std=data.std,
        )
    return Recurrent(
        features,
        cell="lstm",
        hidden=settings.hidden,
        layers=settings.layers,
        bidirectional=settings.bidirectional,
        pooling="last",
        dropout=dropout,
        mean=data.mean,
        std=data.std,
    )
