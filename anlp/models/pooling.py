"""Pooling of many frames to one vector; frames behind the end of a sequence never count."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_frames(frames: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, T) whether a frame of (B, T, F) is within its sequence of (B,) lengths."""
    return torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]


def pool(frames: Tensor, lengths: Tensor, how: str) -> Tensor:
    """Return (B, F): mean, max, sum or last of the frames of each sequence of (B, T, F)."""
    if how == "last":
        return frames[torch.arange(len(frames), device=frames.device), lengths - 1]
    outside = ~valid_frames(frames, lengths).unsqueeze(-1)  # (B, T, 1)
    if how == "max":
        return frames.masked_fill(outside, -torch.inf).amax(1)
    total = frames.masked_fill(outside, 0.0).sum(1)
    return total if how == "sum" else total / lengths.unsqueeze(-1)


def parts(frames: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Return (B, count, F): the means of `count` even parts of each sequence of (B, T, F).

    Parts begin and end as those of `torch.nn.AdaptiveAvgPool1d` on the sequence alone; they overlap
    where the frames cannot be divided evenly.
    """
    at = torch.arange(frames.shape[1], device=frames.device)
    number = torch.arange(count, device=frames.device)
    starts = number * lengths[:, None] // count  # (B, count)
    ends = -(-(number + 1) * lengths[:, None] // count)
    inside = (at >= starts.unsqueeze(-1)) & (at < ends.unsqueeze(-1))  # (B, count, T)
    return inside.to(frames.dtype) @ frames / (ends - starts).unsqueeze(-1)
