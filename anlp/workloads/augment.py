"""Changes to training batches on the device, drawn from torch's default generators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from anlp.data.samples import Samples


class RandomShift:
    """Moves each image by its own offset of up to `reach` pixels; 0 fills the edges.

    Args:
        reach: pixels, at least 1.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def __call__(self, batch: Samples) -> Samples:
        """Return the batch with its images (B, C, H, W) moved."""
        images, *others = batch.inputs
        count, _, height, width = images.shape
        padded = functional.pad(images, (self.reach,) * 4)  # (B, C, H + 2 reach, W + 2 reach)
        # (B, C, 2 reach + 1, 2 reach + 1, H, W), a view
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        down, right = torch.randint(0, 2 * self.reach + 1, (2, count), device=images.device)
        moved = windows[torch.arange(count, device=images.device), :, down, right]  # (B, C, H, W)
        return Samples((moved, *others), batch.targets)


class RandomFlip:
    """Mirrors each image, left to right, with probability 1/2."""

    def __call__(self, batch: Samples) -> Samples:
        """Return the batch with some of its images (B, C, H, W) mirrored."""
        images, *others = batch.inputs
        flips = torch.rand(len(images), device=images.device) < 0.5
        mirrored = torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)
        return Samples((mirrored, *others), batch.targets)


def in_turn(*changes: Callable[[Samples], Samples]) -> Callable[[Samples], Samples]:
    """Return one change that makes several, one after the other."""

    def change(batch: Samples) -> Samples:
        for each in changes:
            batch = each(batch)
        return batch

    return change
