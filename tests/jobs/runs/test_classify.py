"""A run stands in one place: live progress, the foreground summary and `status` say the same of
it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core import lease
from anlp.core.pool_messages import EndedReply, Stop
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunState
from jobs.runs.attempts import record_endings
from jobs.runs.journal import Journal
from jobs.runs.status import NO_RESULT, classify, describe_cause, read_states
from jobs.schedulers.base import Cause, JobState, Phase, state_of_exit
from jobs.schedulers.local.events import ElementEnded, Summary
from jobs.schedulers.local.supervisor import state_of
from jobs.submission.foreground import count_states, ending_of
from jobs.views.progress import standing_of
from tests.support.grids import a_spec, an_error, submit, write_result

SPEC = a_spec()

# exit code, signal, what stopped it | result of this submission | state, cause
CASES = [
    (0, None, None, Outcome.OK, RunState.DONE, None),
    (0, None, None, Outcome.DIVERGED, RunState.DIVERGED, None),
    (1, None, None, Outcome.FAILED, RunState.FAILED, None),
    (0, None, None, None, RunState.LOST, Cause.EXIT),
    (1, None, None, None, RunState.LOST, Cause.EXIT),
    (3, None, None, None, RunState.INTERRUPTED, Cause.CONTINUE),
    (5, None, None, None, RunState.INTERRUPTED, Cause.SKIPPED),
    (6, None, None, None, RunState.INTERRUPTED, Cause.DISK_FULL),
    (70, None, None, None, RunState.LOST, Cause.EXIT),
    (None, 9, None, None, RunState.LOST, Cause.SIGNAL),
    (None, 9, None, Outcome.OK, RunState.DONE, None),  # killed after it had written its result
    (None, 9, Stop.TIME_LIMIT, None, RunState.LOST, Cause.TIMEOUT),
    (None, 9, Stop.TIME_LIMIT, Outcome.OK, RunState.DONE, None),
    (None, 9, Stop.OUT_OF_MEMORY, None, RunState.LOST, Cause.OUT_OF_MEMORY),
    (None, 15, Stop.CANCELLED, None, RunState.INTERRUPTED, Cause.CANCELLED),
    (None, 15, Stop.CANCELLED, Outcome.FAILED, RunState.FAILED, None),
]


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def seen_by_all(
    folder: GridFolder, tag: str, ended: ElementEnded
) -> list[tuple[RunState, Cause | None, str]]:
    """State, cause and sentence as live progress, the journal's entry and `status` have them."""
    live, _ = standing_of(ended, folder.run(SPEC.run_id), tag)
    ending = ending_of(ended, folder.run(SPEC.run_id), tag)
    if ending is not None:
        Journal(folder).ended(tag, 0, ending)
    (status,) = read_states(folder, lambda jobs: dict.fromkeys(jobs, ended.state)).values()
    record_endings(Journal(folder), [status])
    (counted,) = count_states(folder, [SPEC], Summary({0: ended}), tag)
    assert counted is live.state
    why = "" if status.cause is None else describe_cause(status.cause, status.detail)
    return [(live.state, live.cause, live.why), (status.state, status.cause, why)]


@pytest.mark.parametrize(("code", "signal", "stop", "outcome", "state", "cause"), CASES)
@pytest.mark.parametrize("redo", ["none", "failed", "all"])
def test_every_view_says_the_same_of_a_run(
    folder: GridFolder,
    code: int | None,
    signal: int | None,
    stop: Stop | None,
    outcome: Outcome | None,
    state: RunState,
    cause: Cause | None,
    redo: str,
) -> None:
    tag = submit(folder, [SPEC], redo=redo)
    if outcome is not None:
        error = an_error() if outcome is Outcome.FAILED else None
        write_result(folder, SPEC, tag, outcome, error=error)
    reply = EndedReply(0, code, signal, stop, "", 1.0, 0.0)
    ended = ElementEnded(0, state_of(reply), code)

    live, status = seen_by_all(folder, tag, ended)

    assert live == status
    assert live[:2] == (state, cause)


def test_a_run_that_was_killed_before_it_replaced_a_result_is_not_done(folder: GridFolder) -> None:
    write_result(folder, SPEC, submit(folder, [SPEC]), Outcome.OK)
    tag = submit(folder, [SPEC], redo="all")
    ended = ElementEnded(0, JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started"))

    live, status = seen_by_all(folder, tag, ended)

    assert live == status
    assert live == (RunState.INTERRUPTED, Cause.CANCELLED, "cancelled before it started")


def test_a_run_that_another_process_holds_is_running() -> None:
    elsewhere = JobState(Phase.ENDED, None, "another process is training it")
    waiting = JobState(Phase.QUEUED, None, "Priority")

    assert classify(elsewhere, None, is_held=True).detail == "another process is training it"
    assert classify(waiting, None, is_held=True).detail == ""
    assert classify(waiting, None, is_held=True).state is RunState.RUNNING


@pytest.mark.parametrize("printed", [True, False])
def test_a_job_that_ends_with_1_before_its_run_began_never_started_and_says_what_it_printed(
    folder: GridFolder, printed: bool
) -> None:
    submit(folder, [SPEC], slurm_job="17")
    said = "ERROR  : Requesting capability set 0x1ffffffffff while permitted is 0x1fffeffffff"
    if printed:
        output = folder.batches / "1.slurm" / "17_0.out"
        output.parent.mkdir()
        output.write_text(f"INFO: one line\n{said}\n\n")

    (status,) = read_states(folder, lambda jobs: dict.fromkeys(jobs, state_of_exit(1))).values()

    more = f": {said}" if printed else "; the job's output says why"
    assert (status.state, status.cause) == (RunState.LOST, Cause.NOT_STARTED)
    assert status.detail == f"exit code 1 before the run began{more}"


def test_a_run_that_began_and_left_with_1_is_no_job_that_never_started(folder: GridFolder) -> None:
    tag = submit(folder, [SPEC], slurm_job="17")
    lease.acquire(folder.run(SPEC.run_id).attempts, {"batch": tag}).release()

    (status,) = read_states(folder, lambda jobs: dict.fromkeys(jobs, state_of_exit(1))).values()

    assert (status.cause, status.detail) == (Cause.EXIT, NO_RESULT)


def test_a_job_that_ended_in_good_order_without_a_result_is_lost_with_one_sentence(
    folder: GridFolder,
) -> None:
    submit(folder, [SPEC], slurm_job="17")

    (status,) = read_states(
        folder, lambda jobs: dict.fromkeys(jobs, JobState(Phase.ENDED))
    ).values()

    assert (status.state, status.cause, status.detail) == (RunState.LOST, Cause.EXIT, NO_RESULT)
    assert describe_cause(Cause.EXIT, NO_RESULT) == NO_RESULT


def test_what_never_started_was_interrupted_with_its_launcher(folder: GridFolder) -> None:
    standing, result = standing_of(None, folder.run(SPEC.run_id), "tag")

    assert (standing.state, standing.cause, result) == (
        RunState.INTERRUPTED,
        Cause.LAUNCHER,
        None,
    )
