"""Small convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anlp.models.layers import Dropout, Standardize


class Cnn(nn.Module):
    """Two convolutions with pooling, a fully connected layer with dropout, a linear read-out.

    `ConvNet` has any number of layers, but initialises and orders its layers in another way:
    merging the two would change the numbers of every run of `mnist`.

    Pooling comes before ReLU: both orders give equal numbers, and this one touches a quarter of
    them.

    Args:
        side: height and width of the images.
        outputs: logits per sample.
        channels: of the images.
        filters: of the first convolution; the second has twice as many.
        units: of the fully connected layer.
        dropout: share of its units that are dropped in training, in [0, 1).
        mean: of the stored input values; they enter as (value - mean) / std.
        std: of the stored input values.
    """

    def __init__(
        self,
        side: int,
        outputs: int,
        *,
        channels: int = 1,
        filters: int = 16,
        units: int = 128,
        dropout: float = 0.0,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Standardize(mean, std),  # (B, channels, side, side), floats
            nn.Conv2d(channels, filters, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),  # (B, filters, side / 2, side / 2)
            nn.Conv2d(filters, 2 * filters, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),  # (B, 2 filters, side / 4, side / 4)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * filters * (side // 4) ** 2, units),
            nn.ReLU(),
            Dropout(dropout),  # (B, units)
            nn.Linear(units, outputs),  # (B, outputs)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stubs

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of images (B, channels, side, side)."""
        logits: Tensor = self.head(self.features(x))
        return logits
