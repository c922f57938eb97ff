"""What a builder hands to the loop: a model, its data, and what is to be minimised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from anlp.data.samples import Samples
from anlp.training.objectives import Objective

Augment = Callable[[Samples], Samples]


@dataclass(frozen=True, slots=True)
class Split:
    """Some rows of a data set, in an order; the data itself is not copied."""

    samples: Samples
    rows: Tensor  # (N,) indices into samples

    @classmethod
    def whole(cls, samples: Samples) -> Split:
        """All rows in their order."""
        return cls(samples, torch.arange(len(samples), device=samples.targets[0].device))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Split:
        """The rows of this split at the positions `rows`."""
        return Split(self.samples, self.rows[rows.to(self.rows.device)])

    def batches(self, size: int) -> Iterator[Samples]:
        """Its samples in order, `size` at a time; the last batch may be smaller."""
        return map(self.samples.gather, torch.split(self.rows, size))


@dataclass(frozen=True, slots=True)
class Problem:
    """The parts of a training.

    Args:
        model: on the device; called with the inputs of a batch.
        train: on the device, as are the others.
        objective: what is minimised and measured.
        augment: changes a training batch on the device, drawing from torch's default generators.
        is_stochastic: whether a training step draws random numbers (dropout, augmentation).
        eval_batch: samples per batch where nothing is learned.
        baselines: test metric of predictors that learn nothing, by name.
    """

    model: nn.Module
    train: Split
    val: Split
    test: Split
    objective: Objective
    augment: Augment | None = None
    is_stochastic: bool = False
    eval_batch: int = 256
    baselines: Mapping[str, float] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """Samples per split."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}
