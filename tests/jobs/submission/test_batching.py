from __future__ import annotations

from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.status import RunStatus
from jobs.submission.batching import choose_canaries, make_stages, passed_models
from tests.support.grids import a_spec

DENSE = [a_spec(seed, model="dense") for seed in range(3)]
CNN = [a_spec(seed, model="cnn") for seed in range(2)]
PLAIN, LARGE = Resources(), Resources(mem_mib=8192)


def status_of(index: int, state: RunState, folder: GridFolder) -> RunStatus:
    spec = DENSE[index]
    return RunStatus(spec.run_id, {"model": "dense"}, state, folder.run(spec.run_id))


def test_the_first_run_of_each_model_goes_first() -> None:
    first, rest = make_stages([*DENSE, *CNN], PLAIN, {}, canary=True)

    assert (first.specs, first.is_canary) == ((DENSE[0], CNN[0]), True)
    assert (rest.specs, rest.is_canary) == ((*DENSE[1:], CNN[1]), False)


def test_a_model_that_has_passed_needs_no_canary() -> None:
    assert choose_canaries([*DENSE, *CNN], {"dense"}) == {CNN[0].run_id}
    assert [
        wave.is_canary for wave in make_stages(DENSE, PLAIN, {}, canary=True, passed={"dense"})
    ] == [False]


def test_where_only_canaries_would_be_left_all_go_at_once() -> None:
    assert [wave.is_canary for wave in make_stages([DENSE[0], CNN[0]], PLAIN, {}, canary=True)] == [
        False
    ]


def test_runs_that_ask_for_unlike_resources_go_apart_canaries_first() -> None:
    asks = {DENSE[1].run_id: LARGE, CNN[0].run_id: LARGE}

    waves = make_stages([*DENSE, *CNN], PLAIN, asks, canary=True)

    assert [(wave.specs, wave.resources, wave.is_canary) for wave in waves] == [
        ((DENSE[0],), PLAIN, True),
        ((CNN[0],), LARGE, True),
        ((DENSE[1],), LARGE, False),
        ((DENSE[2], CNN[1]), PLAIN, False),
    ]


@pytest.mark.parametrize(
    ("state", "passed"),
    [
        (RunState.DONE, {"dense"}),
        (RunState.DIVERGED, {"dense"}),
        (RunState.FAILED, set()),
        (RunState.RUNNING, set()),
    ],
)
def test_a_model_has_passed_once_a_run_of_it_has_its_result(
    state: RunState, passed: set[str]
) -> None:
    assert passed_models([status_of(0, state, GridFolder(Path("demo")))]) == passed
