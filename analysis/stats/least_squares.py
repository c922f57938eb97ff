"""Approximate the ANOVA of a factorial with a few missing cells by type-II least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from analysis.stats.anova import Decomposition, Subset, pooled_variance
from analysis.stats.intervals import Array

MAX_COLUMNS = 2000  # of the linear model; beyond, solving takes minutes


def count_columns(levels: Sequence[int]) -> int:
    """Count the coefficients of the model of main effects and pairs."""
    freedom = [number - 1 for number in levels]
    return 1 + sum(freedom) + sum(a * b for a, b in combinations(freedom, 2))


def approximate_anova(codes: Array, means: Array, variances: Array, counts: Array) -> Decomposition:
    """Compare each term with the model of all terms that do not contain it.

    What the model does not explain counts to no axis.

    Args:
        codes: (n_cells, n_axes) level of each cell on each axis, 0, 1, ...; cells that are there.
        means: (n_cells,) mean over seeds.
        variances: (n_cells,) over seeds with n in the denominator.
        counts: (n_cells,) seeds.
    """
    levels = tuple(int(axis.max()) + 1 for axis in codes.T)
    terms = _terms(codes, levels)
    columns = np.concatenate([np.ones((len(codes), 1)), *terms.values()], axis=1)
    owner: list[Subset] = [()]  # of each column
    for subset, term in terms.items():
        owner += [subset] * term.shape[1]
    gram, moment = columns.T @ columns, columns.T @ means
    noise, seed_variance = float(variances.mean()), pooled_variance(variances, counts)
    per_cell = 0.0 if np.isnan(seed_variance) else seed_variance * float((1 / counts).mean())
    parts = {subset: _gain(subset, terms, owner, gram, moment) / len(codes) for subset in terms}
    corrected = {
        subset: max(part - terms[subset].shape[1] * per_cell / len(codes), 0.0)
        for subset, part in parts.items()
    }
    return Decomposition(levels, parts, corrected, noise, seed_variance, float(means.var()) + noise)


def _terms(codes: Array, levels: Sequence[int]) -> dict[Subset, Array]:
    """Return the columns of each term: sum-to-zero contrasts, products of them for pairs."""
    main: dict[Subset, Array] = {
        (axis,): _contrasts(codes[:, axis], number)
        for axis, number in enumerate(levels)
        if number > 1
    }
    pairs: dict[Subset, Array] = {
        (*a, *b): (left[:, :, None] * right[:, None, :]).reshape(len(codes), -1)
        for (a, left), (b, right) in combinations(main.items(), 2)
    }
    return {**main, **pairs}


def _contrasts(codes: Array, number: int) -> Array:
    contrasts = np.vstack([np.eye(number - 1), -np.ones((1, number - 1))])
    found: Array = contrasts[codes.astype(int)]
    return found


def _gain(
    subset: Subset,
    terms: Mapping[Subset, Array],
    owner: Sequence[Subset],
    gram: Array,
    moment: Array,
) -> float:
    """Return the sum of squares that `subset` adds to the terms that do not contain it."""
    others = {term for term in terms if not set(subset) <= set(term)}
    without = np.array([not name or name in others for name in owner])
    with_it = without | np.array([name == subset for name in owner])
    return max(_explained(gram, moment, with_it) - _explained(gram, moment, without), 0.0)


def _explained(gram: Array, moment: Array, used: Array) -> float:
    """Return the sum of squares of the least-squares fit with the columns `used`."""
    part = moment[used]
    coefficients = np.linalg.lstsq(gram[np.ix_(used, used)], part, rcond=1e-10)[0]
    return float(part @ coefficients)
