"""A set of samples: tensors that share their first dimension; a batch is a gather from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs and targets of some samples, row by row.

    Both are tuples: a sequence may bring its length along, and a sample may have several targets.
    Inputs keep the type they are stored in (bytes for images); the model's first step makes them
    floats, batch by batch.
    """

    inputs: tuple[Tensor, ...]  # each (N, ...)
    targets: tuple[Tensor, ...]  # each (N, ...)

    def __len__(self) -> int:
        return len(self.targets[0])

    def gather(self, index: Tensor) -> Samples:
        """Return the rows `index`, in its order, as a copy."""
        return Samples(
            tuple(tensor.index_select(0, index) for tensor in self.inputs),
            tuple(tensor.index_select(0, index) for tensor in self.targets),
        )

    def to(self, device: torch.device) -> Samples:
        """Return these samples on `device`; nothing is copied if they are there."""
        return Samples(
            tuple(tensor.to(device) for tensor in self.inputs),
            tuple(tensor.to(device) for tensor in self.targets),
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """A label as the files have it, before labels were merged and dropped.

    Args:
        label: in the files.
        becomes: the class it is counted to; empty: it is dropped.
        train: samples of the training set that have it.
        test: likewise.
    """

    label: str
    becomes: str
    train: int
    test: int


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set with its fixed test split.

    Args:
        names: of the classes in the order of their numbers; of the targets where they are
            quantities.
        mean: of all training input values, as stored; a tensor has one value per feature, the last
            dimension.
        std: of all training input values, as stored.
        val: held out by the data set itself; None: split by the run's seed.
        groups: (N,) of the training samples: a group (the utterances of a speaker, say) is never
            on both sides of that split; None: each sample is on its own.
        origins: of the classes, where labels were merged or dropped.
    """

    name: str
    train: Samples
    test: Samples
    names: tuple[str, ...]
    mean: float | Tensor = 0.0
    std: float | Tensor = 1.0
    val: Samples | None = None
    groups: Tensor | None = None
    origins: tuple[Origin, ...] = ()

    @property
    def classes(self) -> int:
        """Return how many there are."""
        return len(self.names)
