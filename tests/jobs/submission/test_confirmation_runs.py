from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SpecError
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult, RunState
from jobs.runs.batches import Purpose
from jobs.runs.status import RunStatus
from jobs.submission.variants import (
    FIRST_FRESH_SEED,
    best_configurations,
    fresh_runs,
    runs_of_configurations,
    search_seeds,
)
from tests.support.grids import a_spec


def a_run(
    scores: Mapping[str, float] | float,
    seed: int = 0,
    *,
    state: RunState = RunState.DONE,
    purpose: Purpose = "search",
    **settings: Any,
) -> RunStatus:
    spec = a_spec(seed, **settings)
    metrics = scores if isinstance(scores, Mapping) else {"val/acc": scores}
    values = {**spec.settings.values(), "seed": seed}
    result = RunResult(spec.run_id, Outcome.OK, metrics=metrics)
    folder = RunFolder(Path(spec.run_id))
    return RunStatus(
        spec.run_id, values, state, folder, result, purpose=purpose, form=spec.to_json()
    )


def rates(
    history: list[RunStatus], metric: str = "val/acc", top: int = 1, per: str | None = None
) -> list[Any]:
    return [
        found.settings.values()["lr"] for found in best_configurations(history, metric, top, per)
    ]


def test_the_best_by_the_mean_over_seeds_win_and_not_the_luckiest_seed() -> None:
    history = [
        a_run(0.99, 0, lr=0.1),
        a_run(0.61, 1, lr=0.1),
        a_run(0.85, 0, lr=0.2),
        a_run(0.86, 1, lr=0.2),
    ]

    assert rates(history) == [0.2]


@pytest.mark.parametrize("state", [RunState.DIVERGED, RunState.FAILED, RunState.LOST])
def test_configurations_that_lost_seeds_come_after_the_others(state: RunState) -> None:
    history = [
        a_run(0.99, 0, lr=0.1),
        a_run({}, 1, lr=0.1, state=state),
        a_run(0.85, 0, lr=0.2),
        a_run(0.86, 1, lr=0.2),
    ]

    assert rates(history, top=2) == [0.2, 0.1]


def test_errors_are_better_when_lower() -> None:
    history = [a_run({"val/mae": 0.9}, lr=0.1), a_run({"val/mae": 0.2}, lr=0.2)]

    assert rates(history, "val/mae") == [0.2]


def test_losses_are_better_when_lower() -> None:
    history = [
        a_run({"val/loss": 0.9}, lr=0.1),
        a_run({"val/loss": 0.2}, lr=0.2),
        a_run({"val/loss": 0.5}, lr=0.3),
    ]

    assert rates(history, "val/loss", top=2) == [0.2, 0.3]


def test_each_value_of_the_setting_has_its_best() -> None:
    history = [
        a_run(0.9, lr=0.1, optimizer="sgd"),
        a_run(0.8, lr=0.2, optimizer="sgd"),
        a_run(0.3, lr=0.1, optimizer="adam"),
        a_run(0.4, lr=0.2, optimizer="adam"),
    ]

    assert rates(history, per="optimizer") == [0.1, 0.2]


def test_confirming_runs_do_not_choose_what_is_confirmed() -> None:
    history = [
        a_run(0.9, lr=0.1),
        a_run(0.8, lr=0.2),
        *(a_run(1.0, 1000 + n, lr=0.2, purpose="confirm") for n in (0, 1)),
    ]

    assert rates(history) == [0.1]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.DIVERGED, RunState.LOST])
def test_runs_that_did_not_end_well_are_no_candidates(state: RunState) -> None:
    assert rates([a_run(0.9, lr=0.1, state=state), a_run(0.5, lr=0.2)]) == [0.2]


def test_values_that_are_not_finite_do_not_win() -> None:
    assert rates([a_run(float("nan"), lr=0.1), a_run(0.5, lr=0.2)], top=2) == [0.2]


def test_of_equals_the_first_submitted_is_taken_each_time() -> None:
    assert rates([a_run(0.5, lr=0.3), a_run(0.5, lr=0.1), a_run(0.5, lr=0.2)]) == [0.3]


def test_fresh_seeds_are_the_same_each_time_and_no_search_has_used_them() -> None:
    best = best_configurations([a_run(0.5, lr=0.1)], "val/acc", 1, None)

    runs = fresh_runs(best, 3, used={0, 1, FIRST_FRESH_SEED + 1})

    assert [run.seed for run in runs] == [
        FIRST_FRESH_SEED,
        FIRST_FRESH_SEED + 2,
        FIRST_FRESH_SEED + 3,
    ]
    assert fresh_runs(best, 3, used={0, 1, FIRST_FRESH_SEED + 1}) == runs
    assert {run.settings.values()["lr"] for run in runs} == {0.1}


def test_seeds_of_confirmations_are_not_those_of_a_search() -> None:
    assert search_seeds([a_run(0.5, 3), a_run(0.5, 1000, purpose="confirm")]) == {3}


def test_seeds_that_the_file_does_not_name_count_for_its_configurations() -> None:
    history = [a_run(0.5, 0, lr=0.1), a_run(0.5, 7, lr=0.1), a_run(0.5, 0, lr=0.2)]

    assert runs_of_configurations(history, [a_spec(0, lr=0.1)]) == history[:2]


@pytest.mark.parametrize(
    ("history", "metric", "per", "said"),
    [
        ([], "val/acc", None, "--confirm: no run of this grid has finished yet"),
        (
            [a_run(0.5, state=RunState.FAILED)],
            "val/acc",
            None,
            "--confirm: no run of this grid has finished yet",
        ),
        (
            [a_run(0.5)],
            "val/f1",
            None,
            r"--select: no finished run has the metric 'val/f1' \(they have: val/acc\)",
        ),
        ([a_run(0.5)], "val/acc", "modle", r"--per: unknown setting 'modle' \(known: .*model"),
    ],
)
def test_what_cannot_be_chosen_from_is_said(
    history: list[RunStatus], metric: str, per: str | None, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        best_configurations(history, metric, 1, per)
