"""Measure which settings explain a metric, by the best method that the design allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.effects.design import Design
from analysis.stats.anova import Decomposition, anova_of_cells
from analysis.stats.forest import (
    MIN_R2,
    MIN_ROWS,
    ForestImportance,
    correlations,
    forest_importance,
)
from analysis.stats.intervals import Array
from analysis.stats.least_squares import MAX_COLUMNS, approximate_anova, count_columns

Method = Literal["exact", "approximate", "forest", "none"]
NEARLY_FULL = 0.05  # of the cells may be missing
MAX_AXES = 16  # 2^16 subsets are as many as a decomposition takes in seconds


@dataclass(frozen=True, slots=True)
class Importance:
    """The importance of the factors by several methods; arrays are parallel to the factors."""

    design: Design
    method: Method
    decomposition: Decomposition | None  # None: the design is no factorial
    forest: ForestImportance | None  # None: not asked for, or nothing to learn from
    pearson: Array
    notes: tuple[str, ...]

    @property
    def order(self) -> list[int]:
        """Return the factors, most important first, by the best measure there is."""
        if self.decomposition is not None:
            weights = self.decomposition.shapley
        elif self.forest is not None and self.forest.is_reliable:
            weights = self.forest.permutation
        else:
            weights = np.zeros(len(self.design.factors))
        return [int(index) for index in np.argsort(-weights, kind="stable")]


def explain(design: Design, *, with_forest: bool = True) -> Importance:
    """Measure the importance of every factor of a design.

    Args:
        design: see `analysis.effects.design`.
        with_forest: whether random forests are grown, for comparison or because nothing else is
            possible.

    Raises:
        UserError: a forest is wanted and scikit-learn is not installed.
    """
    method, notes = _choose(design)
    varies = bool(np.ptp(design.means) > 0)
    if not varies:
        notes.append(
            f"{design.metric} is the same in all configurations: there is nothing to explain"
        )
    decomposition = _decompose(design) if method in ("exact", "approximate") else None
    if decomposition is not None and np.isnan(decomposition.seed_variance):
        notes.append("one seed per configuration: noise is unknown, it is part of the interactions")
    forest = None
    if with_forest and varies:
        forest = forest_importance(design.codes.astype(float), design.means)
    notes += _forest_notes(method, forest, design, with_forest and varies)
    pearson = correlations(design.values(), design.means)
    return Importance(design, method, decomposition, forest, pearson, (*design.notes, *notes))


def _choose(design: Design) -> tuple[Method, list[str]]:
    axes, missing = len(design.factors), design.missing_share
    if missing == 0 and axes <= MAX_AXES:
        return "exact", []
    columns = count_columns([len(factor.levels) for factor in design.factors])
    if 0 < missing < NEARLY_FULL and columns <= min(MAX_COLUMNS, len(design.means) - 1):
        return "approximate", [
            f"{missing:.1%} of the factorial is missing: least squares of main effects and pairs"
        ]
    return "forest", [
        f"{missing:.0%} of the full factorial is missing: no exact decomposition, permutation "
        "instead"
    ]


def _decompose(design: Design) -> Decomposition:
    if design.missing_share > 0:
        return approximate_anova(
            design.codes.astype(float), design.means, design.variances, design.counts
        )
    # np.unique has put the cells into this order
    shape = tuple(len(factor.levels) for factor in design.factors)
    return anova_of_cells(
        design.means.reshape(shape), design.variances.reshape(shape), design.counts.reshape(shape)
    )


def _forest_notes(
    method: Method, forest: ForestImportance | None, design: Design, wanted: bool
) -> list[str]:
    if not wanted:
        return []
    if forest is None:
        return [
            f"no forest: it takes at least {MIN_ROWS} configurations, there are {len(design.means)}"
        ]
    if forest.is_reliable:
        return []
    note = (
        "permutation importance is refused: the forest has not understood the surface (out-of-bag "
        f"R² below {MIN_R2:g})"
    )
    if method == "forest":
        note += "; there is no other measure for this design, more configurations would help"
    return [note]
