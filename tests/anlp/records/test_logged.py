"""The result of a program follows from what it logged."""

from __future__ import annotations

import math

import pytest

from anlp.core import metrics
from anlp.records.logged import result_of_log
from anlp.records.program import ProgramMetrics

ROWS = [
    {"epoch": 1, "train/loss": 0.9, "val/acc": 0.5, "test/acc": 0.4},
    {"epoch": 2, "train/loss": 0.5, "val/acc": 0.8, "test/acc": 0.7},
    {"epoch": 3, "train/loss": 0.3, "val/acc": 0.7, "test/acc": 0.9},
]


def test_the_epoch_is_the_best_by_validation_and_never_by_test() -> None:
    found = result_of_log(ROWS, {}, ProgramMetrics())

    assert (found.epoch, found.select) == (2, "val/acc")
    assert found.metrics["test/acc"] == 0.7


def test_without_validation_it_is_the_last_epoch() -> None:
    rows = [{"epoch": row["epoch"], "test/acc": row["test/acc"]} for row in ROWS]

    found = result_of_log(rows, {}, ProgramMetrics())

    assert (found.epoch, found.select, found.metrics) == (3, "", {"test/acc": 0.9})


def test_a_loss_is_minimised_and_a_declared_goal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result_of_log(ROWS, {}, ProgramMetrics("train/loss")).epoch == 3
    monkeypatch.setattr(metrics, "_DECLARED", {})
    metrics.declare_goal("train/loss", maximize=True)

    assert result_of_log(ROWS, {}, ProgramMetrics("train/loss")).epoch == 1


def test_what_is_logged_once_at_the_end_is_part_of_the_result() -> None:
    rows = [*ROWS, {"epoch": 4, "test/f1": 0.6}]

    found = result_of_log(rows, {"test/loss": 1.5}, ProgramMetrics("val/acc"))

    assert found.epoch == 2
    assert (found.metrics["test/f1"], found.metrics["test/loss"]) == (0.6, 1.5)


def test_a_run_whose_metric_ends_as_nan_diverged() -> None:
    rows = [*ROWS, {"epoch": 4, "val/acc": math.nan}]

    found = result_of_log(rows, {}, ProgramMetrics("val/acc"))

    assert found.is_diverged
    assert all(math.isfinite(value) for value in found.metrics.values())


def test_a_metric_that_was_never_logged_is_missing() -> None:
    found = result_of_log(ROWS, {}, ProgramMetrics("val/auc"))

    assert found.is_missing
    assert "val/acc" in found.metrics


def test_a_summary_alone_is_a_result() -> None:
    found = result_of_log([], {"val/acc": 0.5}, ProgramMetrics())

    assert (found.epoch, found.metrics) == (None, {"val/acc": 0.5})


def test_nothing_is_no_result() -> None:
    found = result_of_log([], {}, ProgramMetrics())

    assert (found.epoch, found.metrics, found.is_missing) == (None, {}, False)
