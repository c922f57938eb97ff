"""Batches of sequences of like length: less padding, and another order every epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from anlp.data.samples import Samples

BATCHES_PER_BUCKET = 32  # random batches whose samples are sorted together by length


def like_lengths_together(lengths: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """Return a random order in which each batch holds samples of like length.

    Args:
        lengths: (N,) of the samples, on the CPU.
        batch_size: samples per batch; a last, smaller batch stays last.
        generator: of randomness.

    Returns:
        (N,) positions.
    """
    shuffled = torch.randperm(len(lengths), generator=generator)
    buckets = torch.split(shuffled, batch_size * BATCHES_PER_BUCKET)
    ordered = torch.cat([bucket[lengths[bucket].argsort(stable=True)] for bucket in buckets])
    batches = list(torch.split(ordered, batch_size))
    whole = len(batches) - (len(batches[-1]) < batch_size)
    turns = torch.randperm(whole, generator=generator).tolist()
    return torch.cat([*(batches[turn] for turn in turns), *batches[whole:]])


def trim(batch: Samples) -> Samples:
    """Cut a batch of padded sequences (B, T, ...) to its longest; its second input has lengths."""
    sequences, lengths, *others = batch.inputs
    return Samples((sequences[:, : int(lengths.max())], lengths, *others), batch.targets)
