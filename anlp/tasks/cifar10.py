"""Settings of the task `cifar10`: small colour images in classes, by nets of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from anlp.core.spec import ActiveWhen, Scalar
from anlp.core.training_settings import Count, Fraction, OfClasses, TrainingSettings

DENSE = frozenset({"nn", "nn_residual"})
RESNETS = frozenset({"resnet18", "resnet34"})
CNN = frozenset({"cnn"})


class Cifar10Settings(TrainingSettings):
    """Small colour images; `data` is `cifar10`, or a folder of images in the data folder.

    The folder has `train/CLASS/*.jpg` and `test/CLASS/*.jpg`.
    """

    data: str = "cifar10"
    image_size: Annotated[int, Field(ge=8, le=512)] = 32
    model: Literal["nn", "nn_residual", "cnn", "resnet18", "resnet34"] = "cnn"
    dense_layers: Annotated[int, Field(ge=1, le=100)] = 5  # nn: hidden layers
    conv_layers: Annotated[int, Field(ge=1, le=10)] = 3
    fc_layers: Annotated[int, Field(ge=1, le=10)] = 2  # cnn: dense layers, the read-out included
    filters: Count = 64
    kernel_size: Annotated[int, Field(ge=1, le=11)] = 3
    padding: Annotated[int, Field(ge=0, le=5)] = 1
    hidden: Count = 256  # nn, cnn: units of the dense layers
    batch_norm: bool = False
    residual: bool = False  # cnn: each block adds a second convolution to its output
    dropout: Fraction = 0.0
    pretrained: bool = False  # resnets: begin with weights trained on ImageNet
    # crop: by up to an eighth of the side; flip: left and right
    augment: Literal["none", "crop_flip"] = "none"
    monitor: OfClasses = "val/acc"

    builder: ClassVar[str] = "anlp.builders.cifar10:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {
        "data": "made",
        "image_size": 16,
        "epochs": 1,
        "train_samples": 40,
        "filters": 8,
        "hidden": 16,
        "pretrained": False,
    }
    needs: ClassVar[tuple[str, ...]] = ("torchvision",)
    loaders: ClassVar[Mapping[str, str]] = {
        "cifar10": "anlp.data.images:load_cifar10",
        "made": "anlp.data.images:make_images",
        "": "anlp.data.images:load_image_folder",
    }
    loader_args: ClassVar[tuple[str, ...]] = ("image_size",)
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **TrainingSettings.only_for,
        "dense_layers": ActiveWhen("model", DENSE),
        "conv_layers": ActiveWhen("model", CNN),
        "fc_layers": ActiveWhen("model", CNN),
        "filters": ActiveWhen("model", CNN),
        "kernel_size": ActiveWhen("model", CNN),
        "padding": ActiveWhen("model", CNN),
        "residual": ActiveWhen("model", CNN),
        "hidden": ActiveWhen("model", DENSE | CNN),
        "batch_norm": ActiveWhen("model", DENSE | CNN),
        "pretrained": ActiveWhen("model", RESNETS),
    }

    def assets(self) -> tuple[str, ...]:
        """Return the weights to begin with."""
        return (self.model,) if self.pretrained else ()

    @model_validator(mode="after")
    def _something_is_left_of_the_image(self) -> Self:
        side = self.image_size
        for _ in range(self.conv_layers if self.model == "cnn" else 0):
            side = (side + 2 * self.padding - self.kernel_size + 1) // 2
        if side < 1:
            raise ValueError(
                f"conv_layers: {self.conv_layers} with kernel_size {self.kernel_size} "
                f"and padding {self.padding} leave nothing of {self.image_size} pixels"
            )
        return self
