"""Exact functional ANOVA of a factorial grid: how much of the variance each setting explains, no surrogate model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from analysis.stats.intervals import Array

Subset = tuple[int, ...]  # axes of the design, ascending


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The variance of a design in its parts; in an exact one `parts` and `noise` add up to `total`."""

    levels: tuple[int, ...]  # per axis
    parts: Mapping[Subset, float]  # V_S of every subset of axes, as it is
    corrected: Mapping[Subset, float]  # V_S less what noise alone puts there, not below 0
    noise: float  # mean variance within cells (n in its denominator)
    seed_variance: float  # of single seeds (n - 1 in its denominator), NaN where no cell has two
    total: float

    @property
    def signal(self) -> float:
        """Variance between cells beyond noise: what the shares below are shares of."""
        return sum(self.corrected.values())

    @property
    def seed_share(self) -> float:
        """Of the total variance, the part within cells; 0 where nothing varies."""
        return self.noise / self.total if self.total > 0 else 0.0

    @property
    def first(self) -> Array:
        """(n_axes,) what each axis explains alone."""
        return np.array([self.share((axis,)) for axis in range(len(self.levels))])

    @property
    def joint(self) -> Array:
        """(n_axes,) everything in which an axis takes part ("total order"): more than 1 together if axes interact."""
        return self._per_axis(divided=False)

    @property
    def shapley(self) -> Array:
        """(n_axes,) the same with every interaction split evenly among its axes: 1 together."""
        return self._per_axis(divided=True)

    def share(self, subset: Subset) -> float:
        """Of the signal, the part that belongs to `subset` alone."""
        return self.corrected.get(subset, 0.0) / self.signal if self.signal > 0 else 0.0

    def interactions(self) -> list[tuple[Subset, float]]:
        """Subsets of two and more axes with their shares, largest first."""
        found = [(subset, self.share(subset)) for subset in self.corrected if len(subset) > 1]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def _per_axis(self, *, divided: bool) -> Array:
        shares = np.zeros(len(self.levels))
        for subset in self.corrected:
            shares[list(subset)] += self.share(subset) / (len(subset) if divided else 1)
        return shares


def factorial_anova(scores: Array) -> Decomposition:
    """The decomposition of a full factorial with the same number of seeds everywhere.

    Args:
        scores: (levels of axis 0, levels of axis 1, ..., n_seeds) finite.

    Source: Sobol 1993, Hutter et al. 2014; the parts add up to the total (tests/analysis/stats/test_anova.py).
    """
    return anova_of_cells(
        scores.mean(axis=-1), scores.var(axis=-1), np.full(scores.shape[:-1], scores.shape[-1])
    )


def anova_of_cells(means: Array, variances: Array, counts: Array) -> Decomposition:
    """The same from what the cells hold, which need not have equally many seeds; all cells weigh the same.

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
    """The effect of every subset of axes; each has length 1 along the axes that are not in it.

    One axis after the other, every array is split into its mean along the axis and what deviates from it.
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
    """Degrees of freedom of an effect."""
    return prod(levels[axis] - 1 for axis in subset)


def pooled_variance(variances: Array, counts: Array) -> float:
    """Of single seeds over all cells; NaN where no cell has two."""
    freedom = float((counts - 1).sum())
    return float((variances * counts).sum()) / freedom if freedom else float("nan")
