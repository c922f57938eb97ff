"""Perceptron of any depth and width."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from anlp.models.layers import BatchNorm, Dropout, Standardize


class Mlp(nn.Module):
    """Hidden layers of one width, then a linear read-out.

    A hidden layer is linear, batch norm where asked for, ReLU, dropout. `Dense` is the net of the
    task `mnist` with two hidden layers; it stays apart, because its layers are made in another
    order: its initial weights, and so the numbers of its runs, are others.

    Args:
        inputs: values per sample.
        outputs: logits per sample.
        depth: hidden layers; 0: a linear model.
        width: units of each.
        batch_norm: before each activation.
        residual: hidden layers from the second on add their output, divided by the root of the
            depth, to their input; undivided, a net of 100 layers begins with a loss of 1e9.
        dropout: share of hidden units that are dropped in training, in [0, 1).
        mean: of the stored input values; they enter as (value - mean) / std.
        std: of the stored input values.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int = 6,
        width: int = 16,
        batch_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        sizes = [inputs] + [width] * depth
        self.hidden = nn.ModuleList(_hidden(a, b, batch_norm, dropout) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], outputs)
        self.share = depth**-0.5 if residual and depth else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of samples (B, ...)."""
        x = self.standardize(x).flatten(1)  # (B, inputs)
        for number, layer in enumerate(self.hidden):
            y = layer(x)  # (B, width)
            x = x + self.share * y if self.share and number > 0 else y
        logits: Tensor = self.head(x)
        return logits

    def layers(self) -> dict[str, nn.Module]:
        """Return the linear layers by number, the read-out last, for gradient norms."""
        linear = [next(iter(block.children())) for block in self.hidden]
        return {f"{number:03d}": layer for number, layer in enumerate([*linear, self.head])}


def _hidden(inputs: int, width: int, batch_norm: bool, dropout: float) -> nn.Sequential:
    norm = [BatchNorm(width)] if batch_norm else []
    drop = [Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Linear(inputs, width), *norm, nn.ReLU(), *drop)
