from __future__ import annotations

import sys

import numpy as np
import pytest

from analysis.stats.forest import correlations, forest_importance
from anlp.core.errors import UserError


def interacting(n: int) -> tuple[np.ndarray, np.ndarray]:
    codes = np.random.default_rng(0).integers(5, size=(n, 3)).astype(float)
    return codes, codes[:, 0] + 2.0 * (codes[:, 0] == codes[:, 1])


@pytest.mark.slow
def test_permutation_estimates_the_total_share_and_leaves_a_dead_axis_at_nothing() -> None:
    codes, scores = interacting(400)

    found = forest_importance(codes, scores)

    assert found is not None
    assert found.is_reliable
    assert found.permutation[0] > found.permutation[1] > 0.1
    assert found.permutation[2] == pytest.approx(0, abs=0.02)
    assert found.impurity.sum() == pytest.approx(1)


@pytest.mark.slow
def test_noise_is_not_reliable() -> None:
    codes, _ = interacting(60)

    found = forest_importance(codes, np.random.default_rng(0).normal(size=60))

    assert found is not None
    assert not found.is_reliable


def test_few_configurations_and_equal_scores_have_no_forest() -> None:
    codes, _ = interacting(40)

    assert forest_importance(codes[:9], np.arange(9.0)) is None
    assert forest_importance(codes, np.full(40, 0.5)) is None


def test_without_scikit_learn_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, scores = interacting(40)
    monkeypatch.setitem(sys.modules, "sklearn", None)

    with pytest.raises(UserError, match=r"pip install 'anlp\[analysis\]'; or add --no-forest"):
        forest_importance(codes, scores)


def test_correlations_are_pearsons_and_missing_where_there_are_no_numbers() -> None:
    values = np.array([[1.0, np.nan, 7.0], [2.0, np.nan, 7.0], [3.0, np.nan, 7.0]])

    found = correlations(values, np.array([1.0, 2.0, 3.0]))

    assert found == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)
