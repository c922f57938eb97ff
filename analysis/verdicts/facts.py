"""What a verdict is, and what several rules look at on a curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.stats.chance import Chance
from analysis.stats.intervals import Array

# of the learned range; a change of level also exceeds what a validation set of this size shows:
DRAWDOWN = 0.25
# standard errors; the largest drop among 33 equal scores exceeds 5 in 2 %
DROP_ERRORS = 5.0
# of the loss that knows the classes' shares: a validation loss below is no chance
TOLD = 0.6
FINAL = 3  # epochs at the end that may be a level of their own
ROUGH_TRIM, ROUGH_FACTOR = 0.10, 0.657  # mean size of the smaller 90 % of normal steps


class Label(str, Enum):
    """The verdicts as they are shown."""

    CONVERGED = "converged"
    IMPROVING = "improving"
    OVERFIT = "overfit"
    UNSTABLE = "unstable"
    COLLAPSED = "collapsed"
    STUCK = "stuck"
    DIVERGED = "diverged"
    TOO_SHORT = "too short"
    CRASHED = "crashed"
    MISSING = "missing"

    @property
    def is_convergent(self) -> bool:
        """Return whether the run learned and kept what it learned."""
        return self in (Label.CONVERGED, Label.IMPROVING, Label.OVERFIT)

    @property
    def is_divergent(self) -> bool:
        """Return whether the run did not learn, lost what it learned, or never came to rest."""
        return self in (Label.UNSTABLE, Label.COLLAPSED, Label.STUCK, Label.DIVERGED)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run logged; arrays are (n_epochs,) and parallel.

    Epoch 0, before the first update, is first where it was logged.
    """

    epochs: Array
    score: Array  # validation accuracy or R²
    train_loss: Array  # NaN throughout where not logged
    val_loss: Array  # likewise
    # entropy in nats of the classes that were predicted for the validation set; None or NaN
    # throughout where not logged
    entropy: Array | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The label, why, and the numbers that `analysis.verdicts.evidence` puts in words."""

    label: Label
    cause: str
    # the epoch at which it began; for `converged` the one at which it had come to rest
    onset: int | None = None
    learned: float = 0.0  # best score less chance
    numbers: Mapping[str, float] = field(default_factory=dict)
    # the probability that another validation set of this size leaves the verdict as it is
    certainty: float = 1.0
    instead: Label | None = None  # the verdict that the nearest border separates it from
    direction: str = ""  # what the rest of the grid says of the learning rate


class Run:
    """A curve with everything that several rules look at."""

    def __init__(self, curve: Curve, chance: Chance) -> None:
        self.chance = chance
        self.epochs, self.score = curve.epochs, curve.score
        self.train, self.val = curve.train_loss, curve.val_loss
        self.entropy = curve.entropy
        self.n = self.score.size
        self.tail = min(max(5, self.n // 3), self.n)
        self.last = min(max(FINAL, self.tail // 3), self.n)
        self.best_at = int(self.score.argmax())
        self.best = float(self.score[self.best_at])
        self.unknown = math.isnan(chance.level)
        self.level = float(self.score[0]) if self.unknown else chance.level
        self.bound = -math.inf if self.unknown else chance.bound(self.n)
        # a level that lasts has to exceed the bound of one evaluation only
        self.lasting_bound = -math.inf if self.unknown else chance.bound(1)
        self.learned = self.best - self.level
        if self.learned <= 0:  # below chance all along: what it gained on its start
            self.learned = self.best - float(self.score[0])
        self.margins: list[tuple[float, Label]] = []

    def error(self, score: float) -> float:
        """Return the standard error of a score; from its scatter where the samples are unknown."""
        if self.unknown:
            return self.scatter
        if self.chance.kind not in ("r2", "correlation"):  # 20 of 20 right are no certainty
            score = (score * self.chance.samples + 1) / (self.chance.samples + 2)
        return self.chance.error(score)

    def is_near(self, statistic: float, border: float, error: float, other: Label) -> None:
        """Note how far a verdict was from a border, in standard errors."""
        if error > 0 and math.isfinite(statistic) and math.isfinite(border):
            self.margins.append((abs(statistic - border) / error, other))

    def certainty(self, label: Label) -> tuple[float, Label | None]:
        """Return the certainty of a label, and the one behind the nearest border."""
        others = [(margin, other) for margin, other in self.margins if other is not label]
        if not others:
            return 1.0, None
        margin, other = min(others, key=lambda near: near[0])
        return float(ndtr(margin)), other

    @cached_property
    def end(self) -> float:
        """Return the level at the end.

        That is the median of the last third of the tail; of the last three epochs where they are
        at another level.
        """
        settled = float(np.median(self.score[-self.last :]))
        final = float(np.median(self.score[-FINAL:]))
        step = DROP_ERRORS * self.error((settled + final) / 2)
        return final if abs(final - settled) > max(DRAWDOWN * self.learned, step) else settled

    @cached_property
    def lasting(self) -> float:
        """Return the level of the tail; that of the end where the tail has two levels."""
        tail = float(np.median(self.score[-self.tail :]))
        settled = float(np.median(self.score[-self.last :]))
        return tail if self.end == settled else self.end

    @cached_property
    def is_above(self) -> bool:
        """Return whether the run ended above the chance band."""
        by_score = self.end > self.bound or min(self.lasting, self.end) > self.lasting_bound
        return by_score or self._is_above_by_loss

    @cached_property
    def _is_above_by_loss(self) -> bool:
        """Return whether the validation loss shows what a score of few samples cannot."""
        informed = self.chance.informed_loss
        if self.chance.kind in ("r2", "correlation") or not self.has_val_loss:
            return False
        at_end = float(np.median(self.val[-self.last :]))
        return at_end < TOLD * informed and self.end > self.level + self.error(self.level)

    @cached_property
    def high(self) -> float:
        """Return the highest level that lasted three epochs."""
        if self.n < FINAL:
            return self.best
        return float(running_median(self.score).max())

    @cached_property
    def scatter(self) -> float:
        """Return the standard deviation of the score around its trend, once it has risen.

        Single jumps do not count.
        """
        risen = int((self.score >= self.level + 0.9 * (self.best - self.level)).argmax())
        since = min(max(risen, self.n - 2 * self.n // 3), self.n - self.tail)
        return step_scatter(self.score[since:])

    @cached_property
    def has_train_loss(self) -> bool:
        """Return whether a training loss was logged in every epoch."""
        return bool(np.isfinite(self.train).all())

    @cached_property
    def has_val_loss(self) -> bool:
        """Return whether a validation loss was logged in every epoch."""
        return bool(np.isfinite(self.val).all())

    @cached_property
    def end_loss(self) -> float:
        """Return the level of the training loss at the end."""
        return float(np.median(self.train[-self.last :]))

    @cached_property
    def fall(self) -> float:
        """Return the share by which the training loss fell to its lowest; NaN if not logged."""
        start = self.train[0]
        return float((start - self.train.min()) / abs(start)) if start else 0.0

    def epoch(self, index: int) -> int:
        """Return the epoch at an index."""
        return int(self.epochs[index])

    def first_lasting(self, flags: npt.NDArray[np.bool_]) -> int:
        """Return the index of the last change to true, 0 where all are true."""
        false = np.flatnonzero(~flags)
        return min(int(false[-1]) + 1, self.n - 1) if false.size else 0


def running_median(series: Array) -> Array:
    """Return the medians of three neighbours each, two values fewer."""
    windows = np.stack([series[:-2], series[1:-1], series[2:]])
    medians: Array = np.median(windows, axis=0)
    return medians


def step_scatter(series: Array) -> float:
    """Return the standard deviation of independent noise on a series that changes slowly.

    From the smaller nine tenths of its steps.
    """
    steps = np.diff(series)
    if not steps.size:
        return 0.0
    sizes = np.sort(np.abs(steps - np.median(steps)))
    kept = max(int((1 - ROUGH_TRIM) * sizes.size), 1)
    return float(sizes[:kept].mean() / ROUGH_FACTOR / math.sqrt(2))
