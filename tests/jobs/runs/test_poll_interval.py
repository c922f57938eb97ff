from __future__ import annotations

from pathlib import Path

import pytest

from anlp.records.folders import RunFolder
from anlp.records.results import RunState
from jobs.runs.polling import PollInterval, is_shared
from jobs.runs.status import RunStatus
from jobs.schedulers.base import JobHandle


def a_run(scheduler: str, state: RunState = RunState.QUEUED) -> RunStatus:
    return RunStatus("3fa9", {}, state, RunFolder(Path()), handle=JobHandle(scheduler, "1", 0))


def test_a_shared_scheduler_is_asked_ever_more_seldom_while_nothing_changes() -> None:
    pace = PollInterval()

    waits = [pace.wait_s("same", [a_run("slurm")]) for _ in range(7)]

    assert waits == [40, 60, 90, 135, 180, 180, 180]


def test_a_change_brings_the_pace_back() -> None:
    pace = PollInterval()
    for _ in range(5):
        pace.wait_s("same", [a_run("pbs")])

    assert [pace.wait_s(sight, [a_run("pbs")]) for sight in ("other", "other")] == [40, 60]


def test_this_machine_is_looked_at_every_two_seconds() -> None:
    pace = PollInterval()

    assert [pace.wait_s("same", [a_run("local")]) for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("runs", "shared"),
    [
        ([a_run("local"), a_run("slurm", RunState.DONE)], False),
        ([a_run("local"), a_run("slurm", RunState.RUNNING)], True),
        ([], False),
    ],
)
def test_only_runs_that_are_under_way_need_a_scheduler(runs: list[RunStatus], shared: bool) -> None:
    assert is_shared(runs) is shared
