"""Task `cifar10`: the class of a small colour image."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from anlp.core.errors import UserError
from anlp.data import DataSet, DatasetCache
from anlp.datasets import catalogue
from anlp.models.convnet import ConvNet
from anlp.models.mlp import Mlp
from anlp.models.recurrent import Headed
from anlp.models.resnet import ResNet
from anlp.tasks.cifar10 import Cifar10Settings
from anlp.workloads import seeding
from anlp.workloads.augment import RandomFlip, RandomShift, in_turn
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload

CROP_PART = 8  # images move by up to a side / 8


def build(
    settings: Cifar10Settings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    is_debugging = settings.overfit_batches > 0
    augments = settings.augment == "crop_flip" and not is_debugging
    dropout = 0.0 if is_debugging else settings.dropout
    torch.manual_seed(seeding.key(seed, "init"))
    model = _make_model(settings, data, dropout, datasets).to(device)
    train, val, test = make_splits(data, settings, seed, device)
    shift = RandomShift(settings.image_size // CROP_PART)
    return Workload(
        model=model,
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(),
        augment=in_turn(shift, RandomFlip()) if augments else None,
        is_stochastic=dropout > 0 or augments,
        baselines=classification_baselines(data),
    )


def _make_model(
    settings: Cifar10Settings, data: DataSet, dropout: float, datasets: DatasetCache
) -> nn.Module:
    if settings.model in ("resnet18", "resnet34"):
        weights = weights_file(settings.model, datasets) if settings.pretrained else None
        backbone = ResNet(
            settings.model, side=settings.image_size, weights=weights, mean=data.mean, std=data.std
        )
        return Headed(backbone, data.classes, dropout=dropout)
    if settings.model == "cnn":
        return ConvNet(
            settings.image_size,
            data.classes,
            conv_layers=settings.conv_layers,
            fc_layers=settings.fc_layers,
            filters=settings.filters,
            kernel_size=settings.kernel_size,
            padding=settings.padding,
            hidden=settings.hidden,
            batch_norm=settings.batch_norm,
            residual=settings.residual,
            dropout=dropout,
            mean=data.mean,
            std=data.std,
        )
    return Mlp(
        3 * settings.image_size**2,
        data.classes,
        depth=settings.dense_layers,
        width=settings.hidden,
        batch_norm=settings.batch_norm,
        residual=settings.model == "nn_residual",
        dropout=dropout,
        mean=data.mean,
        std=data.std,
    )


def weights_file(name: str, datasets: DatasetCache) -> Path:
    """Return the downloaded file with the weights of a net that was trained on ImageNet.

    Raises:
        UserError: the file is missing, or not the published one.
    """
    found = catalogue.find(name, datasets.data_dir)
    if found is None:
        raise UserError(catalogue.where_to_put(name, datasets.data_dir))
    catalogue.verify(name, datasets.data_dir)
    (path,) = found.values()
    return path
