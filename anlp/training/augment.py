"""Changes to training batches, batched on the device; draws from torch's default generators, seeded per step."""

from __future__ import annotations

from collections.abc import Callable

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
        windows = padded.unfold(2, height, 1).unfold(
            3, width, 1
        )  # (B, C, 2 reach + 1, 2 reach + 1, H, W), a view
        down, right = torch.randint(0, 2 * self.reach + 1, (2, count), device=images.device)
        moved = windows[torch.arange(count, device=images.device), :, down, right]  # (B, C, H, W)
        return Samples((moved, *others), batch.targets)


class RandomFlip:
    """Mirrors every other image, at random, left and right."""

    def __call__(self, batch: Samples) -> Samples:
        """The batch with some of its images (B, C, H, W) mirrored."""
        images, *others = batch.inputs
        flips = torch.rand(len(images), device=images.device) < 0.5
        mirrored = torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)
        return Samples((mirrored, *others), batch.targets)


def in_turn(*changes: Callable[[Samples], Samples]) -> Callable[[Samples], Samples]:
    """Return one change after the other."""

    def change(batch: Samples) -> Samples:
        for each in changes:
            batch = each(batch)
        return batch

    return change
