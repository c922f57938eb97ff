"""Settings of the task `mnist`: handwritten digits, dense or convolutional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from anlp.core.spec import ActiveWhen, Scalar
from anlp.core.training_settings import Count, Fraction, OfClasses, TrainingSettings


class MnistSettings(TrainingSettings):
    """Handwritten digits.

    `data: mnist` is 28x28 (60,000 + 10,000), `data: digits` scikit-learn's 8x8 (1,797, built in).
    """

    data: Literal["mnist", "digits"] = "mnist"
    model: Literal["dense", "cnn"] = "dense"
    dropout: Fraction = 0.0
    hidden: Count = 512  # dense: units of both hidden layers
    filters: Count = 16  # cnn: filters of the first convolution, the second has twice as many
    units: Count = 128  # cnn: units of the fully connected layer
    label_smoothing: Fraction = 0.0
    # shift: by up to an eighth of the width, each sample its own
    augment: Literal["none", "shift"] = "none"
    monitor: OfClasses = "val/acc"

    builder: ClassVar[str] = "anlp.builders.mnist:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {"data": "digits", "epochs": 1, "train_samples": 128}
    loaders: ClassVar[Mapping[str, str]] = {
        "mnist": "anlp.data.mnist:load_mnist",
        "digits": "anlp.data.digits:load_digits",
    }
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **TrainingSettings.only_for,
        "hidden": ActiveWhen("model", frozenset({"dense"})),
        "filters": ActiveWhen("model", frozenset({"cnn"})),
        "units": ActiveWhen("model", frozenset({"cnn"})),
    }
