from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult, RunState
from jobs.runs.estimates import estimate_seconds
from jobs.runs.status import RunStatus
from tests.support.grids import a_spec


def a_run(
    seconds: float, epochs: int = 10, state: RunState = RunState.DONE, **settings: Any
) -> RunStatus:
    spec = a_spec(**settings)
    result = RunResult(spec.run_id, Outcome.OK, epochs=epochs, seconds=seconds)
    return RunStatus(spec.run_id, spec.settings.values(), state, RunFolder(Path()), result)


def test_without_history_there_is_no_estimate() -> None:
    assert estimate_seconds([a_spec()], [], 2) is None
    assert (
        estimate_seconds([a_spec()], [a_run(5.0, state=RunState.FAILED), a_run(0.1, epochs=0)], 2)
        is None
    )


def test_runs_cost_their_epochs_times_the_median_of_their_model() -> None:
    history = [a_run(10.0), a_run(20.0), a_run(300.0), a_run(70.0, model="cnn")]

    assert estimate_seconds([a_spec(epochs=5)], history, 1) == pytest.approx(5 * 2.0)
    assert estimate_seconds([a_spec(epochs=5, model="cnn")], history, 1) == pytest.approx(5 * 7.0)


def test_what_never_ran_costs_the_median_of_everything() -> None:
    assert estimate_seconds(
        [a_spec(epochs=1, data="mnist")], [a_run(10.0), a_run(30.0)], 1
    ) == pytest.approx(2.0)


def test_slots_share_the_work() -> None:
    specs = [a_spec(seed, epochs=10) for seed in range(8)]

    assert estimate_seconds(specs, [a_run(10.0)], 4) == pytest.approx(20.0)
