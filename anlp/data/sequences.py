"""Sequences of any length as one padded tensor and their lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anlp.data.samples import Samples

CONSTANT = 1e-6  # what rounding to 32 bits makes of a constant, as a share of it


def pad(sequences: Sequence[Tensor], targets: tuple[Tensor, ...]) -> Samples:
    """Return samples with two inputs: (N, T, F) frames padded with zeros, and (N,) lengths.

    Args:
        sequences: N of (T_k, F), T_k at least 1.
        targets: each (N, ...).
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    frames = torch.zeros(len(sequences), int(lengths.max()), sequences[0].shape[1])
    for row, sequence in zip(frames, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Samples((frames, lengths), targets)


def feature_moments(samples: Samples) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (F,) of each feature, without the padding.

    A constant feature has 1 as deviation: it may vary in the test set, where it would become huge.
    """
    frames, lengths = samples.inputs
    valid = torch.arange(frames.shape[1]) < lengths[:, None]  # (N, T)
    taken = frames[valid].double()  # (frames, F)
    mean, std = taken.mean(0), taken.std(0)
    changes = std > CONSTANT * mean.abs().clamp(min=1.0)  # NaN, of a single frame, does not
    return mean.float(), torch.where(changes, std, torch.ones_like(std)).float()
