"""Three-layer perceptron."""

from __future__ import annotations

from torch import Tensor, nn

from anlp.models.layers import Dropout, Standardize


class Dense(nn.Module):
    """ReLU network with two hidden layers and dropout after each.

    `Mlp` has any depth, but its layers are made in another order: merging the two would change the
    initial weights, and so the numbers of every run of `mnist`.

    Args:
        inputs: values per sample.
        outputs: logits per sample.
        hidden: units of both hidden layers.
        dropout: share of hidden units that are dropped in training, in [0, 1).
        mean: of the stored input values; they enter as (value - mean) / std.
        std: of the stored input values.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 512,
        dropout: float = 0.0,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Standardize(mean, std),  # (B, ...) of any type -> (B, ...) floats
            nn.Flatten(),  # (B, inputs)
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            Dropout(dropout),  # (B, hidden)
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Dropout(dropout),  # (B, hidden)
            nn.Linear(hidden, outputs),  # (B, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of samples (B, ...)."""
        logits: Tensor = self.layers(x)
        return logits
