"""Spectrograms to vectors by convolutions over time and frequency."""

from __future__ import annotations

from torch import Tensor, nn

from anlp.models.layers import Standardize
from anlp.models.pooling import valid_frames

KERNELS = (5, 5, 3, 3)
TIMES = 4  # parts of a piece that are told apart at the end, however long it is


class SpectrogramCnn(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and pooling; each but the first has twice the filters before it.

    What is left of the time is averaged in four parts, so that pieces of any length become vectors of one length and
    the net can be taken to other data.

    Args:
        inputs: features per frame.
        filters: of the first block.
        size: of the vectors.
        mean: of the stored features; they enter as (value - mean) / std, and padding as 0.
        std: of the stored features.
    """

    def __init__(
        self,
        inputs: int,
        *,
        filters: int = 32,
        size: int = 1000,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        widths = [1, *(filters * 2**k for k in range(len(KERNELS)))]
        blocks: list[nn.Module] = []
        for kernel, before, after in zip(KERNELS, widths[:-1], widths[1:], strict=True):
            blocks += [
                nn.Conv2d(before, after, kernel, padding=kernel // 2),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            inputs = -(-inputs // 2)
        self.blocks = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d((TIMES, inputs)))
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * TIMES * inputs, size), nn.ReLU())
        self.size = size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, size) of padded pieces (B, T, inputs) with lengths (B,)."""
        inside = valid_frames(x, lengths).unsqueeze(-1)  # (B, T, 1)
        spectrogram = (self.standardize(x) * inside).unsqueeze(1)  # (B, 1, T, inputs)
        vectors: Tensor = self.out(self.blocks(spectrogram))
        return vectors
