"""Spectrograms to vectors by convolutions over time and frequency."""

from __future__ import annotations

from torch import Tensor, nn

from anlp.models.layers import Standardize
from anlp.models.pooling import parts, valid_frames

KERNELS = (5, 5, 3, 3)
TIMES = 4  # parts of a piece that have a mean each at the end, however long it is


class SpectrogramCnn(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and pooling, then four means over time.

    Each block but the first has twice the filters of the one before it. The means let pieces of any
    length become vectors of one length, and the net be taken to other data. Behind each block, what
    lies beyond the end of a piece is set to 0 again: apart from batch norm's statistics in
    training, the other pieces of a batch make no difference.
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
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, kernel, padding=kernel // 2),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for kernel, before, after in zip(KERNELS, widths[:-1], widths[1:], strict=True)
        )
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        left = -(-inputs // 2 ** len(KERNELS))
        self.out = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * TIMES * left, size), nn.ReLU()
        )
        self.size = size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return vectors (B, size) of padded pieces (B, T, inputs) with lengths (B,)."""
        frames = self.standardize(x) * valid_frames(x, lengths).unsqueeze(-1)
        maps = frames.unsqueeze(1)  # (B, 1, T, inputs)
        for block in self.blocks:
            maps = block(maps)  # (B, C, T, F)
            inside = valid_frames(maps[:, 0], lengths)
            # ReLU leaves nothing below 0, so that the zeros outside never win
            maps = self.halve(maps * inside[:, None, :, None])
            lengths = (lengths + 1) // 2
        frames = maps.transpose(1, 2).flatten(2)  # (B, T, C * F)
        vectors: Tensor = self.out(parts(frames, lengths, TIMES))
        return vectors
