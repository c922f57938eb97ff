"""Settings of the task `images_transfer`: a pretrained net on a small set of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from anlp.core.spec import ActiveWhen, Scalar
from anlp.core.training_settings import Count, OfClasses, Positive, TrainingSettings

BY_GRADIENT = frozenset({"scratch", "linear_probe", "finetune"})
ON_FEATURES = frozenset({"linear_probe", "logistic_regression"})
OF_TRAINING = (
    "epochs",
    "batch_size",
    "lr",
    "optimizer",
    "weight_decay",
    "schedule",
    "warmup_epochs",
    "clip_norm",
    "precision",
    "patience",
    "test_at",
)


class ImagesTransferSettings(TrainingSettings):
    """`data`: a folder of images in the data folder: `train/CLASS/`, `test/CLASS/`, or `CLASS/`."""

    data: str = "faces"
    method: Literal["scratch", "linear_probe", "finetune", "logistic_regression", "xgboost"] = (
        "finetune"
    )
    backbone: Literal["resnet18", "resnet34"] = "resnet18"
    weights: Literal["imagenet", "random"] = "imagenet"  # random: features of an untrained net
    image_size: Annotated[int, Field(ge=16, le=512)] = 224
    penalty: Positive = 1.0  # logistic_regression: strength of its L2 term
    pixels: Annotated[int, Field(ge=8, le=256)] = 64  # xgboost: side of the images that it sees
    trees: Count = 100  # xgboost
    tree_depth: Annotated[int, Field(ge=1, le=20)] = 6  # xgboost
    monitor: OfClasses = "val/acc"

    builder: ClassVar[str] = "anlp.builders.images_transfer:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {
        "data": "made",
        "weights": "random",
        "image_size": 16,
        "epochs": 1,
        "train_samples": 40,
        "pixels": 16,
        "trees": 5,
    }
    needs: ClassVar[tuple[str, ...]] = ("torchvision",)
    loaders: ClassVar[Mapping[str, str]] = {
        "made": "anlp.data.images:make_images",
        "": "anlp.data.images:load_image_folder",
    }
    loader_args: ClassVar[tuple[str, ...]] = ("image_size",)
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **TrainingSettings.only_for,
        **{name: ActiveWhen("method", BY_GRADIENT) for name in OF_TRAINING},
        "backbone": ActiveWhen("method", BY_GRADIENT | ON_FEATURES),
        "weights": ActiveWhen("method", ON_FEATURES | {"finetune"}),
        "penalty": ActiveWhen("method", frozenset({"logistic_regression"})),
        "pixels": ActiveWhen("method", frozenset({"xgboost"})),
        "trees": ActiveWhen("method", frozenset({"xgboost"})),
        "tree_depth": ActiveWhen("method", frozenset({"xgboost"})),
    }

    def assets(self) -> tuple[str, ...]:
        """Return the weights to begin with."""
        if self.weights == "imagenet" and self.method in ON_FEATURES | {"finetune"}:
            return (self.backbone,)
        return ()
