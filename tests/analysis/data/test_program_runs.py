"""A program's own wandb run becomes the rows and the result that its run folder would have."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.data.program_runs import result_of_program, rows_of_program
from anlp.records.program import ProgramMetrics, metrics_of_config
from anlp.records.results import Outcome
from anlp.tasks import make_spec

SPEC = make_spec("program:train.py", {"lr": 0.1, "epochs": 5}, 3)
CHOSEN = ProgramMetrics("val/acc", "test/acc", "maximize", 0.1, 500)


def run_of(state: str = "finished", **summary: Any) -> Any:
    return SimpleNamespace(id=SPEC.run_id, state=state, summary_metrics=summary)


def test_rows_are_merged_by_epoch_under_the_suites_names() -> None:
    history: list[dict[str, Any]] = [
        {"_step": 0, "_timestamp": 1.0, "epoch": 0, "train_loss": 2.0},
        {"_step": 1, "epoch": 0, "val_acc": 0.1},
        {"_step": 2, "epoch": 1, "train_loss": 1.0, "picture": {"_type": "image-file", "size": 3}},
    ]

    assert rows_of_program(history) == [
        {"epoch": 0, "train/loss": 2.0, "val/acc": 0.1},
        {"epoch": 1, "train/loss": 1.0},
    ]
    assert rows_of_program([*history, *history]) == rows_of_program(history)


def test_a_later_column_numbers_all_rows() -> None:
    found = rows_of_program([{"_step": 5, "loss": 1.0}, {"_step": 6, "epoch": 1, "loss": 0.5}])

    assert found == rows_of_program([{"loss": 1.0}, {"epoch": 1, "loss": 0.5}])


def test_the_result_is_that_of_the_best_epoch() -> None:
    rows = [{"epoch": 0, "val/acc": 0.9, "train/loss": 1.0}, {"epoch": 1, "val/acc": 0.8}]

    found = result_of_program(run_of(test_acc=0.7, _runtime=12, epoch=1), SPEC, rows, CHOSEN)

    assert (found.outcome, found.epoch, found.epochs, found.seconds) == (Outcome.OK, 0, 5, 12.0)
    assert found.metrics == {"val/acc": 0.9, "train/loss": 1.0, "test/acc": 0.7}
    assert (found.baselines, found.sizes) == ({"random": 0.1}, {"val": 500})


def test_nan_at_the_end_is_diverged() -> None:
    rows = rows_of_program([{"epoch": 0, "val_acc": 0.5}, {"epoch": 1, "val_acc": "NaN"}])

    assert math.isnan(rows[1]["val/acc"])
    assert result_of_program(run_of(), SPEC, rows, CHOSEN).outcome is Outcome.DIVERGED


def test_a_metric_that_is_missing_is_told() -> None:
    found = result_of_program(run_of(loss=1.0), SPEC, [], CHOSEN)

    assert (found.outcome, found.error and found.error.type) == (Outcome.FAILED, "MetricMissing")


def test_a_run_that_wandb_has_as_failed_failed() -> None:
    found = result_of_program(run_of("failed"), SPEC, [], CHOSEN)

    assert (found.outcome, found.error and found.error.type) == (Outcome.FAILED, "ExitCode")


def test_the_metrics_that_matter_are_in_wandbs_config() -> None:
    config = {"lr": 0.1, "anlp_metrics": CHOSEN.to_json()}

    assert metrics_of_config(config) == CHOSEN


@pytest.mark.parametrize("form", [None, "x", {}, {"select": 3}, {"goal": "up"}])
def test_other_forms_are_left_alone(form: Any) -> None:
    assert metrics_of_config({"anlp_metrics": form}) == ProgramMetrics()
