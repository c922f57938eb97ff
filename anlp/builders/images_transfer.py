"""Task `images_transfer`: a net from scratch, frozen, fine-tuned, and two without gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from anlp.builders.cifar10 import weights_file
from anlp.data import DataSet, DatasetCache, Samples
from anlp.data.feature_cache import cached
from anlp.models.recurrent import Headed
from anlp.models.resnet import ResNet
from anlp.tasks.images_transfer import ON_FEATURES, ImagesTransferSettings
from anlp.training.closed_form import Fitted, gradient_boosting, logistic_regression
from anlp.workloads import seeding
from anlp.workloads.baselines import classification_baselines
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload

FEATURE_BATCH = 64
UNTRAINED_SEED = 0  # of the net whose features are those of no training


def build(
    settings: ImagesTransferSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    images = datasets.get(settings.data_key())
    torch.manual_seed(seeding.key(seed, "init"))
    data, model = _prepare(settings, images, seed, datasets, device)
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(
        model=model.to(device),
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Classification(),
        fit=model.fit if isinstance(model, Fitted) else None,
        pictures=images.test.inputs[0],
        eval_batch=64,
        baselines=classification_baselines(data),
    )


def _prepare(
    settings: ImagesTransferSettings,
    images: DataSet,
    seed: int,
    datasets: DatasetCache,
    device: torch.device,
) -> tuple[DataSet, nn.Module]:
    """Return what a method sees of the images, and its model."""
    if settings.method == "xgboost":
        classifier = gradient_boosting(settings.trees, settings.tree_depth, seed, device)
        return _shrunk(images, settings.pixels), Fitted(classifier, images.classes)
    if settings.method in ON_FEATURES:
        data = _featured(settings, images, datasets, device)
        if settings.method == "logistic_regression":
            return data, Fitted(logistic_regression(settings.penalty, seed), data.classes)
        return data, nn.Linear(data.train.inputs[0].shape[1], data.classes)
    backbone = _make_backbone(
        settings, images, datasets, with_weights=settings.method == "finetune"
    )
    return images, Headed(backbone, images.classes)


def _make_backbone(
    settings: ImagesTransferSettings, images: DataSet, datasets: DatasetCache, *, with_weights: bool
) -> ResNet:
    trained = with_weights and settings.weights == "imagenet"
    weights = weights_file(settings.backbone, datasets) if trained else None
    return ResNet(
        settings.backbone,
        side=settings.image_size,
        weights=weights,
        mean=images.mean,
        std=images.std,
    )


def _shrunk(images: DataSet, side: int) -> DataSet:
    def shrink(samples: Samples) -> Tensor:
        pieces = torch.split(samples.inputs[0], FEATURE_BATCH)
        return torch.cat(
            [functional.interpolate(piece.float(), (side, side), mode="area") for piece in pieces]
        )

    return _with_inputs(images, {name: shrink(part) for name, part in _parts(images).items()})


def _featured(
    settings: ImagesTransferSettings, images: DataSet, datasets: DatasetCache, device: torch.device
) -> DataSet:
    """Return the vectors of the frozen net.

    They are computed once, for all runs that use them on one kind of device.
    """
    source = datasets.data_dir / images.name

    def compute() -> dict[str, Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(UNTRAINED_SEED)  # every run gets one untrained net
            net = _make_backbone(settings, images, datasets, with_weights=True).to(device).eval()
        return {name: _features(net, part, device) for name, part in _parts(images).items()}

    options = {
        "features": settings.backbone,
        "weights": settings.weights,
        "image_size": settings.image_size,
        "device": device.type,
    }
    if not source.exists():  # generated images: no folder to keep features beside
        return _with_inputs(images, compute())
    kept = cached(
        source,
        options,
        lambda: {name: value.numpy() for name, value in compute().items()},
        datasets.runs,
    )
    return _with_inputs(images, {name: torch.from_numpy(value) for name, value in kept.items()})


def _parts(images: DataSet) -> dict[str, Samples]:
    parts = {"train": images.train, "test": images.test}
    return parts if images.val is None else {**parts, "val": images.val}


def _with_inputs(images: DataSet, inputs: Mapping[str, Tensor]) -> DataSet:
    """Return the data set with other inputs for its samples."""
    made = {name: Samples((inputs[name],), part.targets) for name, part in _parts(images).items()}
    return DataSet(images.name, made["train"], made["test"], images.names, val=made.get("val"))


@torch.inference_mode()
def _features(net: nn.Module, samples: Samples, device: torch.device) -> Tensor:
    pieces = torch.split(samples.inputs[0], FEATURE_BATCH)
    return torch.cat([net(piece.to(device)).float().cpu() for piece in pieces]).clone()
