"""Means over the samples of an epoch; the sums stay on the device, without synchronisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class MetricAccumulator:
    """Running sums in double precision.

    Args:
        names: of the measures of an objective, the loss first.
        device: where they are summed.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        self.sums = [torch.zeros((), dtype=torch.float64, device=device) for _ in names]
        self.samples = 0
        self.norm = torch.zeros((), dtype=torch.float64, device=device)
        self.norms = 0
        self.layers: dict[str, Tensor] = {}

    def add(self, measures: Sequence[Tensor], samples: int) -> None:
        """Count a batch: its mean loss and the sums of the other measures."""
        self.sums[0].add_(measures[0].detach(), alpha=samples)
        for total, value in zip(self.sums[1:], measures[1:], strict=True):
            total.add_(value)
        self.samples += samples

    def add_norm(self, norm: Tensor) -> None:
        """Count the gradient norm of one step."""
        self.norm.add_(norm)
        self.norms += 1

    def add_layers(self, norms: Mapping[str, Tensor]) -> None:
        """Count the gradient norm of each layer in the step that `add_norm` counts next."""
        for name, norm in norms.items():
            self.layers[name] = self.layers.get(name, 0.0) + norm.detach().double()

    def is_finite(self) -> bool:
        """Tell whether no loss so far was NaN or infinite (waits for the device)."""
        return math.isfinite(self.sums[0].item())

    def means(self, prefix: str) -> dict[str, float]:
        """Return the mean of each measure per sample, named `prefix/name`."""
        return {
            f"{prefix}/{name}": total.item() / self.samples
            for name, total in zip(self.names, self.sums, strict=True)
        }

    def mean_norm(self) -> float:
        """Return the mean of the counted gradient norms."""
        return self.norm.item() / max(1, self.norms)

    def layer_norms(self) -> dict[str, float]:
        """Return the mean gradient norm of each layer, named `grad_norm/name`."""
        return {
            f"grad_norm/{name}": total.item() / max(1, self.norms)
            for name, total in self.layers.items()
        }

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "sums": self.sums,
            "samples": self.samples,
            "norm": self.norm,
            "norms": self.norms,
            "layers": self.layers,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        for total, value in zip(self.sums, state["sums"], strict=True):
            total.copy_(value)
        self.norm.copy_(state["norm"])
        self.samples, self.norms = state["samples"], state["norms"]
        self.layers = dict(state.get("layers", {}))
