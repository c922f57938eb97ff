"""What is minimised, and what else is measured on the way."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Objective(Protocol):
    """Turns a model's output into a loss and further measures."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measures, "loss" first."""

    def __call__(
        self, output: Any, targets: tuple[Tensor, ...], *, training: bool
    ) -> tuple[Tensor, ...]:
        """Return the mean loss over the batch, then for each further name its SUM over the batch.

        Args:
            output: of the model.
            targets: of the batch.
            training: regularisation of the loss (label smoothing) applies in training only.
        """


def as_columns(targets: tuple[Tensor, ...]) -> Tensor:
    """Return targets as (B, K): one tensor of (B, K) or of (B,), or K of (B,)."""
    if len(targets) == 1:
        return targets[0].reshape(len(targets[0]), -1)
    return torch.stack(targets, 1)


class Classification:
    """Cross-entropy of logits (B, C) against classes (B,), and accuracy.

    Args:
        label_smoothing: share of the target's weight that is spread over all classes, in training
            only.
    """

    names = ("loss", "acc")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(
        self, output: Tensor, targets: tuple[Tensor, ...], *, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy, and how many of the batch are classified correctly."""
        (target,) = targets
        logits = output.float()  # bf16 is too coarse for a sum over classes
        smoothing = self.label_smoothing if training else 0.0
        loss = functional.cross_entropy(logits, target, label_smoothing=smoothing)
        return loss, (logits.detach().argmax(1) == target).sum()


class Regression:
    """Mean squared error of values (B, K) against quantities, and the mean absolute error.

    Args:
        weights: of the K targets in the loss; None: 1 each. The loss is the weighted sum of their
            errors, so that several targets at once are multitask learning.
    """

    names = ("loss", "mae")

    def __init__(self, weights: tuple[float, ...] | None = None) -> None:
        self.weights = weights

    def __call__(
        self, output: Tensor, targets: tuple[Tensor, ...], *, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the sum of absolute errors.

        A sample's error is the mean over its targets.

        Args:
            output: (B, K).
            targets: one of (B, K) or of (B,), or K of (B,).
            training: makes no difference here.
        """
        del training
        values = output.float()
        errors = values - as_columns(targets).float()
        weights = errors.new_tensor(self.weights or (1.0,) * errors.shape[1])
        loss = (errors.square().mean(0) * weights).sum()
        return loss, errors.detach().abs().mean(1).sum()
