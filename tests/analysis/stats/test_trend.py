from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.stats

from analysis.stats.intervals import Array
from analysis.stats.trend import MAX_POINTS, thinned, trend


@pytest.mark.parametrize("n", [5, 10, 33])
@pytest.mark.parametrize("decimals", [9, 0], ids=["no ties", "ties"])
def test_p_and_slope_are_those_of_scipy(n: int, decimals: int) -> None:
    rng = np.random.default_rng(n)
    x = np.linspace(0, 2 * (n - 1), n)
    y: Array = rng.normal(0.05 * np.arange(n), 2.0).round(decimals)

    found = trend(x, y)

    rising, falling = (
        scipy.stats.kendalltau(x, y, alternative=side).pvalue for side in ("greater", "less")
    )
    assert (found.p_rising, found.p_falling) == pytest.approx((rising, falling))
    assert found.slope == pytest.approx(scipy.stats.theilslopes(y, x)[0])


def test_a_straight_line_of_five_points_is_the_clearest_they_can_be() -> None:
    found = trend(np.arange(5.0), np.arange(5.0))

    assert found.p_rising == pytest.approx(1 / 120)
    assert found.p_falling == pytest.approx(1)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_a_constant_series_has_no_trend(n: int) -> None:
    found = trend(np.arange(float(n)), np.full(n, 0.3))

    assert (found.p_rising, found.slope) == (1, 0) or (n == 2 and found.slope == 0)


def test_long_series_are_thinned_to_their_ends_and_what_lies_between() -> None:
    kept = thinned(np.arange(1000.0))

    assert (len(kept), kept[0], kept[-1]) == (MAX_POINTS, 0, 999)


def test_a_trend_takes_a_fraction_of_a_millisecond() -> None:
    x, y = np.arange(1000.0), np.random.default_rng(0).normal(size=1000)
    trend(x, y)

    started = time.process_time()
    for _ in range(100):
        trend(x, y)

    assert (time.process_time() - started) / 100 < 0.005
