from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats.odds import odds_ratio


def test_the_ratio_of_the_odds() -> None:
    found = odds_ratio(30, 40, 10, 40)

    assert found.ratio == pytest.approx(30.5 / 10.5 * 30.5 / 10.5)
    assert found.low < found.ratio < found.high
    assert found.low > 1


def test_empty_cells_leave_everything_finite() -> None:
    for cells in ((5, 5, 0, 20), (0, 1, 0, 1), (0, 5, 3, 3)):
        found = odds_ratio(*cells)
        assert all(map(math.isfinite, (found.ratio, found.low, found.high, found.strength)))


def test_equal_odds_are_a_ratio_of_one() -> None:
    assert odds_ratio(5, 10, 5, 10).ratio == 1


def test_perfect_separation_is_the_strongest() -> None:
    assert odds_ratio(200, 200, 30, 800).strength > odds_ratio(200, 300, 30, 700).strength
    assert odds_ratio(5, 10, 5, 10).strength == 0


def test_the_interval_covers_the_true_ratio() -> None:
    rng, n = np.random.default_rng(0), 40
    failed = rng.binomial(n, [0.5, 0.2], (2000, 2))
    intervals = [odds_ratio(int(a), n, int(b), n) for a, b in failed]

    assert np.mean([found.low <= 4 <= found.high for found in intervals]) >= 0.94
