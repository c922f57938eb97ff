"""Learning rates as pure functions of the step, and for `plateau` of what was measured so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ONECYCLE_START = 1 / 25  # of the peak
ONECYCLE_END = 1e-4 / 25  # of the peak
ONECYCLE_RISE = 0.3  # of all steps, where no warm-up is given


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate of each step (0 first) of a training of `steps` steps.

    Args:
        kind: none, cosine (to 0), step, plateau or onecycle.
        lr: the peak.
        steps: of the whole training.
        steps_per_epoch: at least 1.
        warmup_steps: linear rise to the peak; the first step already moves. For onecycle: its
            rising part.
        decay_every: step: epochs between two decays.
        decay_patience: plateau: epochs without improvement before a decay.
        decay_factor: step, plateau.
        higher_is_better: plateau: of the monitored values.
    """

    kind: str
    lr: float
    steps: int
    steps_per_epoch: int
    warmup_steps: int = 0
    decay_every: int = 10
    decay_patience: int = 3
    decay_factor: float = 0.1
    higher_is_better: bool = True

    def lr_at(self, step: int, monitored: Sequence[float] = ()) -> float:
        """Return the learning rate of `step`.

        Args:
            step: optimizer updates before this one.
            monitored: value of the monitored metric after each epoch so far.
        """
        if self.kind == "onecycle":
            rise = self.warmup_steps or round(ONECYCLE_RISE * self.steps)
            return self.lr * _onecycle(step, self.steps, rise)
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        return self.lr * self._decay(step, monitored)

    def _decay(self, step: int, monitored: Sequence[float]) -> float:
        if self.kind == "cosine":
            share = _share(step - self.warmup_steps, self.steps - self.warmup_steps)
            return (1 + math.cos(math.pi * share)) / 2
        if self.kind == "step":
            return float(self.decay_factor ** (step // self.steps_per_epoch // self.decay_every))
        if self.kind == "plateau":
            plateaus = count_plateaus(monitored, self.decay_patience, self.higher_is_better)
            return float(self.decay_factor**plateaus)
        return 1.0


def count_plateaus(values: Sequence[float], patience: int, higher_is_better: bool) -> int:
    """Count how often `patience` values in a row were no better than the best before them.

    After a plateau the count begins anew.

    >>> count_plateaus([1.0, 2.0, 2.0, 1.9, 1.8, 1.7], patience=2, higher_is_better=True)
    2
    """
    best, waited, plateaus = -math.inf, 0, 0
    for value in values:
        score = value if higher_is_better else -value
        if score > best:
            best, waited = score, 0
        elif (waited := waited + 1) == patience:
            waited, plateaus = 0, plateaus + 1
    return plateaus


def _onecycle(step: int, steps: int, rise: int) -> float:
    """Return the share of the peak: cosine up over `rise` steps, then down to almost 0."""
    if step < rise:
        return _between(ONECYCLE_START, 1.0, _share(step, rise))
    return _between(1.0, ONECYCLE_END, _share(step - rise, steps - rise - 1))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _share(done: int, whole: int) -> float:
    return min(1.0, done / whole) if whole > 0 else 1.0
