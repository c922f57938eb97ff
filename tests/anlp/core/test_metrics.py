"""The one rule that says which way of a metric is better."""

from __future__ import annotations

import pytest

from anlp.core.metrics import higher_is_better
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
