from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from analysis.stats import mean_interval

SIMULATIONS = 10_000


def coverage(n: int, method: Literal["t", "z"]) -> float:
    scores = np.random.default_rng(n).normal(size=(SIMULATIONS, n))
    intervals = [mean_interval(row, method=method) for row in scores]
    return sum(interval.low <= 0 <= interval.high for interval in intervals) / SIMULATIONS


@pytest.mark.parametrize("n", range(5, 11))
def test_t_intervals_cover_the_mean_as_often_as_they_say(n: int) -> None:
    assert 0.94 <= coverage(n, "t") <= 0.96


def test_z_intervals_do_not() -> None:
    assert coverage(5, "z") < 0.90
