"""Estimate the selection bias (winner's curse) of the best, reported on the runs that chose it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.stats.correlation import pearson
from analysis.stats.intervals import Array, Scores

MIN_RESIDUALS = 10  # fewer say nothing about how two metrics share their luck
WIDTH = 0.6  # of the noise that the bootstrap adds, in standard errors
DRAWS = 10_000
AT_ONCE = 2_000_000  # numbers in memory
REACH = 10.0  # standard errors within which a configuration may be selected in a draw


@dataclass(frozen=True, slots=True)
class Estimate:
    """A simulated value with its Monte-Carlo standard error."""

    value: float
    error: float


def selection_optimism(means: Array, errors: Array, selected: int) -> Estimate:
    """Estimate by how much the selected mean exceeds the true one because it was selected.

    A parametric bootstrap of the selection: each mean gets normal noise of `WIDTH` = h of its own
    standard errors, and the best is selected again. The mean plus h standard errors of noise is
    independent of the mean minus 1/h standard errors of the same noise, for any true means
    are: (h + 1/h) times the noise of the winner is an unbiased estimate of the optimism of a
    selection whose noise is sqrt(1 + h²) times as large. Optimism grows with the first power of
    the noise among equals, with the second among configurations far apart: the power 1.5 scales it
    back to 7 % in either case. Winners of another standard error count as their noise would with
    that of the selected one.

    Args:
        means: (n_configurations,) by which one was selected, higher is better.
        errors: (n_configurations,) their standard errors.
        selected: the index of the largest mean.

    Source: within 15 % of simulated truth (tests/analysis/stats/test_selection_bias.py).
    """
    near = means + WIDTH * REACH * errors >= means[selected]
    if near.sum() < 2 or not errors[selected] > 0:
        return Estimate(0.0, 0.0)
    place = int(near[:selected].sum())
    found = _winners_noise(means[near], errors[near]) * errors[near][place] ** 2
    scale = (WIDTH + 1 / WIDTH) / (1 + WIDTH**2) ** 0.75
    error = float(found.std(ddof=1)) / math.sqrt(found.size)
    return Estimate(max(scale * float(found.mean()), 0.0), scale * error)


def _winners_noise(means: Array, errors: Array) -> Array:
    """Return (draws,) the noise of the configuration selected again, by its standard error."""
    rng = np.random.default_rng(0)
    size = max(AT_ONCE // means.size, 1)
    parts = []
    for start in range(0, DRAWS, size):
        noise = rng.standard_normal((min(size, DRAWS - start), means.size))
        winners = (means + WIDTH * errors * noise).argmax(axis=1)
        own = errors[winners]
        drawn = noise[np.arange(len(winners)), winners]
        parts.append(np.divide(drawn, own, out=np.zeros_like(drawn), where=own > 0))
    return np.concatenate(parts)


def shared_luck(chosen_by: Sequence[Scores], reported: Sequence[Scores]) -> float:
    """Return the correlation of two metrics over seeds, within configurations.

    1 where there are too few seeds to know.

    Args:
        chosen_by: per configuration (n_seeds,) of the metric that chose.
        reported: the same runs, in the same order, in the other metric.
    """
    (left, freedom), (right, _) = _residuals(chosen_by), _residuals(reported)
    if freedom < MIN_RESIDUALS:
        return 1.0
    r = pearson(left, right)
    return 1.0 if math.isnan(r) else min(max(r, 0.0), 1.0)


def _residuals(groups: Sequence[Scores]) -> tuple[Array, int]:
    several = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    parts = [group - group.mean() for group in several]
    joined = np.concatenate(parts) if parts else np.zeros(0)
    return joined, joined.size - len(parts)
