"""The one rule that says which way of a metric is better."""

from __future__ import annotations

import pytest

from anlp.core.metrics import default_metric, higher_is_better
from anlp.tasks import TASKS


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("val/loss", False),
        ("val/mae", False),
        ("test/mae_valence", False),
        ("train/rmse", False),
        ("seconds", False),
        ("val/acc", True),
        ("val/spearman", True),
        ("test/f1", True),
        ("loss/acc", True),  # measured on something called loss
        ("val/lossless", True),
    ],
)
def test_losses_and_errors_are_better_when_lower(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher


def test_everything_that_a_run_may_monitor_has_its_direction() -> None:
    names = {str(TASKS[task].settings.model_fields["monitor"].default) for task in TASKS}

    assert all(higher_is_better(name) for name in names)


@pytest.mark.parametrize(
    ("measured", "monitored", "metric"),
    [
        ({"val/acc", "val/f1"}, {"val/f1"}, "val/f1"),
        ({"val/acc", "val/f1"}, {"val/f1", "val/loss"}, "val/acc"),
        ({"val/loss", "val/f1"}, {"val/acc"}, "val/f1"),
        ({"val/zeta", "val/alpha", "test/acc"}, set(), "val/alpha"),
        ({"test/acc"}, {"val/acc"}, "test/acc"),
        (set(), {"val/acc"}, None),
    ],
)
def test_the_default_metric_is_what_all_runs_monitor_else_a_usual_one(
    measured: set[str], monitored: set[str], metric: str | None
) -> None:
    assert default_metric(measured, monitored) == metric
