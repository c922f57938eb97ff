"""The parts of a training (`Workload`), and the description of its data for the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anlp.data.samples import Origin, Samples
from anlp.workloads.objectives import Objective


def describe_data(workload: Workload) -> dict[str, Any]:
    """Return names and counts of the classes in every split, under `data`; {} for quantities.

    Where labels were merged or dropped, `origins` has what became of each.
    """
    target = workload.train.samples.targets[0]
    if not workload.names or target.dim() != 1 or target.is_floating_point():
        return {}
    splits = {"train": workload.train, "val": workload.val, "test": workload.test}
    counts = {name: _counts(split, len(workload.names)) for name, split in splits.items()}
    found: dict[str, Any] = {"names": list(workload.names), "counts": counts}
    if workload.origins:
        found["origins"] = [asdict(origin) for origin in workload.origins]
    return {"data": found}


def _counts(split: Split, classes: int) -> list[int]:
    labels = split.samples.targets[0].index_select(0, split.rows)
    counts: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return counts


Change = Callable[[Samples], Samples]
Summary = Callable[[Tensor, tuple[Tensor, ...]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Split:
    """Some rows of a data set, in an order; the data is not copied."""

    samples: Samples
    rows: Tensor  # (N,) indices into samples

    @classmethod
    def whole(cls, samples: Samples) -> Split:
        """Return all rows in their order."""
        return cls(samples, torch.arange(len(samples), device=samples.targets[0].device))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Split:
        """Return the rows of this split at the positions `rows`."""
        return Split(self.samples, self.rows[rows.to(self.rows.device)])

    def batches(self, size: int) -> Iterator[Samples]:
        """Yield the samples in order, `size` at a time; the last batch may be smaller."""
        return map(self.samples.gather, torch.split(self.rows, size))


@dataclass(frozen=True, slots=True)
class Workload:
    """The parts of a training.

    Args:
        model: on the device; called with the inputs of a batch.
        train: on the device, as are the others.
        objective: what is minimised and measured.
        names: of the classes, or of the targets where they are quantities.
        augment: changes a training batch on the device, drawing from torch's default generators.
        collate: changes every batch, of training or not: cuts off the padding that no sequence of
            it needs.
        lengths: (rows of the training samples,) on the CPU; batches are drawn from samples of like
            length.
        summary: measures of a whole split that are no means over samples (macro F1), from the
            model's output for all of it and the targets.
        fit: trains a model that has no gradients, in one go; the run then has one epoch.
        layers: modules whose gradient norms are recorded, by name.
        pictures: (rows of the test samples, channels, height, width) what people see of them, where
            the model is given something else.
        probe: inputs without targets for which outputs are kept with the predictions (a map of the
            plane).
        is_stochastic: whether a training step draws random numbers (dropout, augmentation).
        eval_batch: samples per batch where nothing is learned.
        baselines: test metric of predictors that learn nothing, by name.
        origins: labels before they were merged to classes, for the record.
    """

    model: nn.Module
    train: Split
    val: Split
    test: Split
    objective: Objective
    names: tuple[str, ...] = ()
    augment: Change | None = None
    collate: Change | None = None
    lengths: Tensor | None = None
    summary: Summary | None = None
    fit: Callable[[Split], None] | None = None
    layers: Mapping[str, nn.Module] = field(default_factory=dict)
    pictures: Tensor | None = None
    probe: tuple[Tensor, ...] | None = None
    is_stochastic: bool = False
    eval_batch: int = 256
    baselines: Mapping[str, float] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()

    def batches(self, split: Split) -> Iterator[Samples]:
        """Yield the samples of a split in order, as the model takes them in evaluation."""
        for batch in split.batches(self.eval_batch):
            yield self.collate(batch) if self.collate else batch

    def sizes(self) -> dict[str, int]:
        """Return the number of samples per split."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}
