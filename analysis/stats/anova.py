"""Decompose the variance of a factorial grid exactly (functional ANOVA, no surrogate model)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from analysis.stats.intervals import Array

Subset = tuple[int, ...]  # axes of the design, ascending


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The variance of a design in its parts.

    In an exact one `parts` and `noise` add up to `total`.
    """

    levels: tuple[int, ...]  # per axis
    parts: Mapping[Subset, float]  # V_S of every subset of axes, as it is
    corrected: Mapping[Subset, float]  # V_S less what noise alone puts there, not below 0
    noise: float  # mean variance within cells (n in its denominator)
    seed_variance: float  # of single seeds (n - 1 in its denominator), NaN where no cell has two
    total: float

    @property
    def signal(self) -> float:
        """Return the variance between cells beyond noise, of which the shares below are parts."""
        return sum(self.corrected.values())

    @property
    def seed_share(self) -> float:
        """Return the part of the total variance within cells; 0 where nothing varies."""
        return self.noise / self.total if self.total > 0 else 0.0

    @property
    def first(self) -> Array:
        """Return (n_axes,) the share that each axis explains alone."""
        return np.array([self.share((axis,)) for axis in range(len(self.levels))])

    @property
    def joint(self) -> Array:
        """Return (n_axes,) the share of all effects with an axis ("total order").

        Together they are more than 1 where axes interact.
        """
        return self._per_axis(divided=False)

    @property
    def shapley(self) -> Array:
        """Return (n_axes,) shares with interactions split evenly among their axes; 1 together."""
        return self._per_axis(divided=True)

    def share(self, subset: Subset) -> float:
        """Return the part of the signal that belongs to `subset` alone."""
        return self.corrected.get(subset, 0.0) / self.signal if self.signal > 0 else 0.0

    def interactions(self) -> list[tuple[Subset, float]]:
        """Return subsets of two and more axes with their shares, largest first."""
        found = [(subset, self.share(subset)) for subset in self.corrected if len(subset) > 1]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def _per_axis(self, *, divided: bool) -> Array:
        shares = np.zeros(len(self.levels))
        for subset in self.corrected:
            shares[list(subset)] += self.share(subset) / (len(subset) if divided else 1)
        return shares


def factorial_anova(scores: Array) -> Decomposition:
    """Decompose a full factorial with the same number of seeds everywhere.

    Args:
        scores: (levels of axis 0, levels of axis 1, ..., n_seeds) finite.

    Source: Sobol 1993, Hutter et al. 2014; the parts add up to the total
    (tests/analysis/stats/test_anova.py).
    """
    return anova_of_cells(
        scores.mean(axis=-1), scores.var(axis=-1), np.full(scores.shape[:-1], scores.shape[-1])
    )


def anova_of_cells(means: Array, variances: Array, counts: Array) -> Decomposition:
    """Decompose a full factorial given as cells, which may differ in seeds; all weigh the same.

    Args:
        means: (levels of axis 0, ...) mean over seeds.
        variances: likewise, over seeds with n in the denominator.
        counts: likewise, seeds per cell, at least 1.
    """
    parts = {
        subset: float((effect**2).mean()) for subset, effect in effects(means).items() if subset
    }
    noise = float(variances.mean())
    seed_variance = pooled_variance(variances, counts)
    per_cell = 0.0 if np.isnan(seed_variance) else seed_variance * float((1 / counts).mean())
    corrected = {
        subset: max(part - degrees(means.shape, subset) * per_cell / means.size, 0.0)
        for subset, part in parts.items()
    }
    return Decomposition(
        means.shape, parts, corrected, noise, seed_variance, float(means.var()) + noise
    )


def effects(cells: Array) -> dict[Subset, Array]:
    """Return the effect of every subset of axes, of length 1 along the axes that are not in it.

    One axis after the other, every array is split into its mean along the axis and the rest.
    """
    found: dict[Subset, Array] = {(): cells}
    for axis in range(cells.ndim):
        split: dict[Subset, Array] = {}
        for subset, array in found.items():
            mean = array.mean(axis=axis, keepdims=True)
            split[subset], split[(*subset, axis)] = mean, array - mean
        found = split
    return found


def degrees(levels: tuple[int, ...], subset: Subset) -> int:
    """Return the degrees of freedom of an effect."""
    return prod(levels[axis] - 1 for axis in subset)


def pooled_variance(variances: Array, counts: Array) -> float:
    """Return the variance of single seeds over all cells; NaN where no cell has two."""
    freedom = float((counts - 1).sum())
    return float((variances * counts).sum()) / freedom if freedom else float("nan")
