"""Shares that programs log in percent."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.data.percent import shares_of_percent

RUNS = pd.DataFrame(
    {
        "run_id": ["a", "b", "c"],
        "task": ["program:train.py", "program:train.py", "mnist"],
        "val/acc": [97.3, 0.9, 0.5],
        "val/loss": [3.0, 2.0, 1.0],
        "test/f1": [0.7, 0.8, None],
    }
)
HISTORY = pd.DataFrame({"run_id": ["a", "b", "c"], "epoch": [1, 1, 1], "val/acc": [50.0, 0.5, 0.4]})


def test_a_metric_above_one_in_any_run_is_in_percent_in_all_of_the_users_own() -> None:
    runs, history, notes = shares_of_percent(RUNS, HISTORY)

    assert runs["val/acc"].tolist() == pytest.approx([0.973, 0.009, 0.5])
    assert history["val/acc"].tolist() == pytest.approx([0.5, 0.005, 0.4])
    assert notes == ["val/acc is logged in percent (up to 97.3)"]


def test_losses_and_shares_stay_as_they_are() -> None:
    runs, _, _ = shares_of_percent(RUNS, HISTORY)

    assert runs["val/loss"].tolist() == [3.0, 2.0, 1.0]
    assert runs["test/f1"].tolist()[:2] == [0.7, 0.8]
    assert RUNS["val/acc"].tolist() == [97.3, 0.9, 0.5]
