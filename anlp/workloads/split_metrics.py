"""Metrics of a whole split that are no means over samples: macro F1, rank correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anlp.workloads.objectives import as_columns


def macro_f1(outputs: Tensor, targets: tuple[Tensor, ...]) -> Mapping[str, float]:
    """Return `f1`: the mean over all classes that occur in the targets or the answers.

    Args:
        outputs: (N, C) logits.
        targets: one of (N,) classes.
    """
    (target,) = targets
    classes = outputs.shape[1]
    answers = outputs.argmax(1)
    pairs = (
        torch.bincount(target * classes + answers, minlength=classes * classes)
        .view(classes, classes)
        .double()
    )
    hits, support, given = pairs.diagonal(), pairs.sum(1), pairs.sum(0)
    occurs = support + given > 0
    return {"f1": (2 * hits / (support + given).clamp(min=1))[occurs].mean().item()}


def spearman(
    outputs: Tensor, targets: tuple[Tensor, ...], names: Sequence[str] = ()
) -> Mapping[str, float]:
    """Return `spearman`, the rank correlation, and for several targets `spearman_NAME` of each.

    `spearman` is then the mean over the targets.

    Args:
        outputs: (N, K) values.
        targets: one of (N, K), or K of (N,).
        names: of the K targets.
    """
    wanted = as_columns(targets)
    each = [
        _correlation(_ranks(a), _ranks(b))
        for a, b in zip(outputs.unbind(1), wanted.unbind(1), strict=True)
    ]
    found = {"spearman": sum(each) / len(each)}
    if len(each) > 1:
        found |= {f"spearman_{name}": r for name, r in zip(names, each, strict=True)}
    return found


def _ranks(values: Tensor) -> Tensor:
    """Return (N,) ranks from 0; equal values share their mean rank."""
    found: tuple[Tensor, Tensor, Tensor] = torch.unique(
        values.double(), return_inverse=True, return_counts=True
    )
    _, places, counts = found
    ranks: Tensor = counts.cumsum(0).double() - (counts + 1) / 2
    return ranks[places]


def _correlation(a: Tensor, b: Tensor) -> float:
    """Return Pearson's correlation; 0 where one of both does not vary."""
    a, b = a - a.mean(), b - b.mean()
    scale = (a.square().sum() * b.square().sum()).sqrt()
    return (a * b).sum().div(scale).item() if scale > 0 else 0.0
