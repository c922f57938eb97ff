from __future__ import annotations

from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunError, RunResult, RunState
from jobs.runs.failures import advise
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause
from tests.support.grids import an_error

RUN = GridFolder(Path("demo")).run("3fa9c1d2e4f5")
RETRY = "python -m jobs.retry demo --only id=3fa9c1d2e4f5"


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
def test_there_is_advice_for_every_cause(cause: Cause) -> None:
    advice = advise(RunStatus(RUN.run_id, {}, RunState.LOST, RUN, cause=cause), "demo")

    assert advice.text[:1].isupper()
    assert len(advice.text.split()) > 3
    assert advice.command == RETRY


def test_different_causes_have_different_advice() -> None:
    lost = [RunStatus(RUN.run_id, {}, RunState.LOST, RUN, cause=cause) for cause in Cause]

    texts = {advise(status, "demo").text for status in lost}

    assert len(texts) > len(Cause) // 2


@pytest.mark.parametrize(
    ("error", "says", "command"),
    [
        (an_error("KeyError", "'lr'", epoch=None), "it would fail again", f"{RETRY} --force"),
        (
            an_error("OutOfMemoryError", "CUDA out of memory"),
            "Lower batch_size",
            f"{RETRY} --force",
        ),
        (an_error("MemoryError", ""), "asks for half as much again", RETRY),
        (an_error("RuntimeError", "odd"), "Fix the cause, then retry", RETRY),
    ],
)
def test_the_command_is_the_one_that_repeats_the_run(
    error: RunError, says: str, command: str
) -> None:
    result = RunResult(RUN.run_id, Outcome.FAILED, error=error)

    advice = advise(RunStatus(RUN.run_id, {}, RunState.FAILED, RUN, result), "demo")

    assert says in advice.text
    assert advice.command == command
