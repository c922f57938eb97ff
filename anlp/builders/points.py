"""Task `points`: the class of a point of the plane."""

from __future__ import annotations

import torch
from torch import Tensor

from anlp.data import DataSet, DatasetCache
from anlp.models.mlp import Mlp
from anlp.tasks.points import PointsSettings
from anlp.workloads import seeding
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload

MAP_SIDE = 200  # points of the map of decisions in each direction
MAP_MARGIN = 0.05  # of the data's width around it


def build(
    settings: PointsSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    torch.manual_seed(seeding.key(seed, "init"))
    train, val, test = make_splits(data, settings, seed, device)
    model = Mlp(
        2,
        data.classes,
        depth=settings.depth,
        width=settings.width,
        batch_norm=settings.batch_norm,
        residual=settings.residual,
        dropout=0.0 if settings.overfit_batches else settings.dropout,
        mean=data.mean,
        std=data.std,
    ).to(device)
    return Workload(
        model=model,
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(),
        is_stochastic=settings.dropout > 0,
        eval_batch=10_000,
        baselines=classification_baselines(data),
        layers=model.layers() if settings.layer_norms else {},
        probe=(map_of(data).to(device),),
    )


def map_of(data: DataSet) -> Tensor:
    """Return places that cover the data in rows, for a map of the model's decisions.

    The shape is (MAP_SIDE ** 2, 2).
    """
    places = data.train.inputs[0]
    low, high = places.amin(0), places.amax(0)
    margin = MAP_MARGIN * (high - low)
    along, up = (
        torch.linspace(float(a), float(b), MAP_SIDE)
        for a, b in zip(low - margin, high + margin, strict=True)
    )
    return torch.cartesian_prod(along, up)
