"""Convolutional network of any number of layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anlp.models.layers import Dropout, Standardize


class ConvNet(nn.Module):
    """Blocks of convolution, batch norm, ReLU and pooling, then dense layers with dropout.

    `Cnn` is the two-block net of the task `mnist`; it stays apart, because its initialisation and
    the order of its layers, and so the numbers of its runs, are others.

    Args:
        side: height and width of the images.
        outputs: logits per sample.
        conv_layers: blocks; each halves the side.
        fc_layers: dense layers, the read-out included.
        filters: of every convolution.
        kernel_size: of every convolution.
        padding: of every convolution.
        hidden: units of the dense layers before the read-out.
        batch_norm: behind every convolution.
        residual: each block adds a second convolution of its output, which keeps its shape.
        dropout: share of dense units that are dropped in training, in [0, 1).
        channels: of the images.
        mean: of the stored values; they enter as (value - mean) / std.
        std: of the stored values.
    """

    def __init__(
        self,
        side: int,
        outputs: int,
        *,
        conv_layers: int = 3,
        fc_layers: int = 2,
        filters: int = 64,
        kernel_size: int = 3,
        padding: int = 1,
        hidden: int = 128,
        batch_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        channels: int = 3,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        widths = [channels] + [filters] * conv_layers
        self.blocks = nn.ModuleList(
            _Block(a, filters, kernel_size, padding, batch_norm=batch_norm, residual=residual)
            for a in widths[:-1]
        )
        left = side_after(side, conv_layers, kernel_size, padding)
        sizes = [filters * left * left] + [hidden] * (fc_layers - 1)
        dense: list[nn.Module] = []
        for size in sizes[:-1]:
            dense += [nn.Linear(size, hidden), nn.ReLU(), Dropout(dropout)]
        self.head = nn.Sequential(nn.Flatten(), *dense, nn.Linear(sizes[-1], outputs))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stubs

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of images (B, channels, side, side)."""
        x = self.standardize(x)
        for block in self.blocks:
            x = block(x)  # (B, filters, side / 2, side / 2)
        logits: Tensor = self.head(x)
        return logits


def side_after(side: int, conv_layers: int, kernel_size: int, padding: int) -> int:
    """Return the side of the maps behind so many blocks; below 1: nothing is left of the image."""
    for _ in range(conv_layers):
        side = (side + 2 * padding - kernel_size + 1) // 2
    return side


class _Block(nn.Module):
    def __init__(
        self,
        inputs: int,
        filters: int,
        kernel_size: int,
        padding: int,
        *,
        batch_norm: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        self.first = _convolution(inputs, filters, kernel_size, padding, batch_norm)
        self.second = (
            _convolution(filters, filters, kernel_size, "same", batch_norm) if residual else None
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of half the side."""
        y = self.first(x)
        if self.second is not None:
            y = y + self.second(y)
        pooled: Tensor = self.pool(y)
        return pooled


def _convolution(
    inputs: int, filters: int, kernel_size: int, padding: int | str, batch_norm: bool
) -> nn.Sequential:
    norm = [nn.BatchNorm2d(filters)] if batch_norm else []
    return nn.Sequential(nn.Conv2d(inputs, filters, kernel_size, padding=padding), *norm, nn.ReLU())
