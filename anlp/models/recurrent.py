"""Sequences to vectors: recurrent nets, with attention over their states, and plain pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from typing_extensions import Self

from anlp.models.layers import Dropout, Standardize
from anlp.models.pooling import pool, valid_frames


class Recurrent(nn.Module):
    """GRU or LSTM over the frames, self-attention over its states where asked for, then pooling.

    A padded batch gives what each sequence alone would: states behind the end of a sequence are
    neither computed nor attended to.

    Args:
        inputs: features per frame.
        cell: "gru" or "lstm".
        hidden: units per layer and direction.
        layers: stacked.
        bidirectional: a second net reads from the end.
        heads: of the attention, which adds to the states; 0: none.
        pooling: of the states: mean, max, sum or last. With two directions "last" is the last state
            of each.
        dropout: of states between layers, in [0, 1).
        mean: of the stored features; they enter as (value - mean) / std.
        std: of the stored features.
    """

    def __init__(
        self,
        inputs: int,
        *,
        cell: str = "gru",
        hidden: int = 96,
        layers: int = 2,
        bidirectional: bool = False,
        heads: int = 0,
        pooling: str = "last",
        dropout: float = 0.0,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        between = dropout if layers > 1 else 0.0
        self.cells = kind(
            inputs, hidden, layers, batch_first=True, bidirectional=bidirectional, dropout=between
        )
        self.size = 2 * hidden if bidirectional else hidden
        self.attention = (
            nn.MultiheadAttention(self.size, heads, batch_first=True) if heads else None
        )
        self.norm = nn.LayerNorm(self.size) if heads else None
        self.pooling = pooling
        self.hidden = hidden

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return vectors (B, size) of padded sequences (B, T, inputs) with lengths (B,)."""
        packed = pack_padded_sequence(
            self.standardize(x), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.cells(packed)[0], batch_first=True)  # (B, T, size)
        if self.attention is not None and self.norm is not None:
            outside = ~valid_frames(states, lengths)  # (B, T)
            attended, _ = self.attention(
                states, states, states, key_padding_mask=outside, need_weights=False
            )
            states = self.norm(states + attended)  # (B, T, size)
        if self.pooling == "last" and self.cells.bidirectional:
            forward = pool(states[..., : self.hidden], lengths, "last")  # (B, hidden)
            backward = states[:, 0, self.hidden :]  # it ends at the first frame
            return torch.cat([forward, backward], 1)
        return pool(states, lengths, self.pooling)


class Pooled(nn.Module):
    """Two dense layers over pooled frames, whose order does not count.

    Args:
        inputs: features per frame.
        units: of the first layer.
        squeeze: of the second layer.
        pooling: mean, max or sum over the frames.
        mean: of the stored features; they enter as (value - mean) / std.
        std: of the stored features.
    """

    def __init__(
        self,
        inputs: int,
        *,
        units: int = 100,
        squeeze: int = 10,
        pooling: str = "mean",
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        self.layers = nn.Sequential(
            nn.Linear(inputs, units), nn.ReLU(), nn.Linear(units, squeeze), nn.ReLU()
        )
        self.pooling = pooling
        self.size = squeeze

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return vectors (B, squeeze) of padded sequences (B, T, inputs) with lengths (B,)."""
        vectors: Tensor = self.layers(pool(self.standardize(x), lengths, self.pooling))
        return vectors


class Headed(nn.Module):
    """A backbone that makes vectors, dropout, and a linear read-out.

    The backbone can be taken to another task.

    Args:
        backbone: has the attribute `size`, the length of its vectors.
        outputs: values per sample.
        dropout: of the vectors, in [0, 1).
    """

    def __init__(self, backbone: nn.Module, outputs: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        size = backbone.size
        assert isinstance(size, int)  # noqa: S101 - for the type checker
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(size, outputs))
        self.is_frozen = False

    def freeze(self) -> None:
        """Let only the read-out learn from here on; the backbone neither changes nor is random."""
        self.is_frozen = True
        self.backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode as for any module, but keep a frozen backbone in evaluation mode."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return outputs (B, outputs) of the backbone's inputs."""
        outputs: Tensor = self.head(self.backbone(*inputs))
        return outputs
