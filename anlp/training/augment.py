"""Changes to training batches, batched on the device; draws from torch's default generators, seeded per step."""

from __future__ import annotations

import torch
from torch.nn import functional

from anlp.data.samples import Samples


class RandomShift:
    """Moves each image by its own offsets of up to `reach` pixels in both directions; what moves in is 0.

    Args:
        reach: pixels, at least 1.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def __call__(self, batch: Samples) -> Samples:
        """The batch with its images (B, C, H, W) moved."""
        images, *others = batch.inputs
        count, _, height, width = images.shape
        padded = functional.pad(images, (self.reach,) * 4)  # (B, C, H + 2 reach, W + 2 reach)
        offsets = torch.randint(0, 2 * self.reach + 1, (2, count, 1), device=images.device)
        rows = offsets[0] + torch.arange(height, device=images.device)  # (B, H)
        columns = offsets[1] + torch.arange(width, device=images.device)  # (B, W)
        sample = torch.arange(count, device=images.device)
        moved = padded.permute(0, 2, 3, 1)[sample[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        return Samples((moved.permute(0, 3, 1, 2), *others), batch.targets)
