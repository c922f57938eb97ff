"""Measure importance by random forests: as wandb shows it, and by permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.correlation import pearson
from analysis.stats.intervals import Array
from anlp.core.errors import UserError, describe_import

TREES = 100
FOLDS = 5
FOLD_TREES = 50
REPEATS = 3
MIN_ROWS = 10  # fewer configurations leave a fold without anything to learn from
MIN_R2 = 0.5  # out of bag: below, the forest predicts too badly for its importances to count


@dataclass(frozen=True, slots=True)
class ForestImportance:
    """Importance of each axis; arrays are (n_axes,)."""

    impurity: Array  # 1 together; the column that wandb shows
    # half of the loss of R² on held-out configurations: estimates the total share of an axis
    permutation: Array
    oob_r2: float

    @property
    def is_reliable(self) -> bool:
        """Return whether the forest predicts well enough for its importances to mean something."""
        return self.oob_r2 >= MIN_R2


def forest_importance(
    codes: Array, scores: Array, *, random_state: int = 0
) -> ForestImportance | None:
    """Return random-forest importances, None for too few configurations or no variance.

    Configurations and not runs are the samples: seeds of one configuration in the bag and out of
    it would make the out-of-bag R² a memory test.

    Args:
        codes: (n_configurations, n_axes) numbers; levels of categories in any order.
        scores: (n_configurations,) finite, mean over seeds.
        random_state: of the forests and permutations.

    Raises:
        UserError: scikit-learn is not installed.
    """
    if len(scores) < MIN_ROWS or np.ptp(scores) == 0:
        return None
    ensemble, inspection = _sklearn()
    forest = ensemble.RandomForestRegressor(
        n_estimators=TREES, oob_score=True, random_state=random_state
    )
    forest.fit(codes, scores)
    drops = np.zeros(codes.shape[1])
    fold = np.random.default_rng(random_state).permutation(len(scores)) % FOLDS
    for number in range(FOLDS):
        held_out = fold == number
        part = ensemble.RandomForestRegressor(n_estimators=FOLD_TREES, random_state=random_state)
        part.fit(codes[~held_out], scores[~held_out])
        drops += _squared_error_gain(
            inspection, part, codes[held_out], scores[held_out], random_state
        )
    permutation = drops / (2 * len(scores) * scores.var())
    return ForestImportance(
        np.asarray(forest.feature_importances_), permutation, float(forest.oob_score_)
    )


def correlations(values: Array, scores: Array) -> Array:
    """Return Pearson's r of each axis with the scores, as wandb shows it.

    It is blind to interactions and to U shapes.

    Args:
        values: (n_configurations, n_axes); NaN throughout for axes that are no numbers.
        scores: (n_configurations,) finite.
    """
    found = []
    for axis in values.T:
        known = np.isfinite(axis)
        found.append(pearson(axis[known], scores[known]) if known.any() else np.nan)
    return np.array(found)


def _squared_error_gain(
    inspection: Any, forest: Any, codes: Array, scores: Array, random_state: int
) -> Array:
    """Sum over the rows the squared error that permuting each axis adds."""
    result = inspection.permutation_importance(
        forest,
        codes,
        scores,
        scoring="neg_mean_squared_error",
        n_repeats=REPEATS,
        random_state=random_state,
    )
    return np.asarray(result.importances_mean, dtype=float) * len(scores)


def _sklearn() -> tuple[Any, Any]:
    try:
        from sklearn import ensemble, inspection  # a second to import, and an extra
    except ImportError as error:
        why = describe_import(error, "sklearn", "analysis")
        raise UserError(f"random-forest importance: {why}; or add --no-forest") from None
    return ensemble, inspection
