from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunState
from jobs.runs.attempts import keep_endings
from jobs.runs.journal import Journal
from jobs.runs.logs import read_progress
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase
from tests.support.grids import (
    GONE,
    a_spec,
    an_error,
    fail,
    finish,
    log_epochs,
    lose,
    start,
    submit,
    write_result,
)


class Answers:
    """A scheduler's answer to every question, and what it was asked."""

    def __init__(
        self, phase: Phase = Phase.QUEUED, cause: Cause | None = None, detail: str = ""
    ) -> None:
        self.state = JobState(phase, cause, detail)
        self.asked: list[Sequence[JobHandle]] = []

    def __call__(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        self.asked.append(jobs)
        return dict.fromkeys(jobs, self.state)


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def states(folder: GridFolder, query: Answers) -> list[RunState]:
    return [status.state for status in read_states(folder, query).values()]


def test_a_grid_that_was_never_submitted_has_no_runs(folder: GridFolder) -> None:
    assert read_states(folder, Answers()) == {}


def test_runs_come_in_the_order_of_submission_with_their_settings(folder: GridFolder) -> None:
    specs = [a_spec(lr=0.3), a_spec(lr=0.1, seed=7)]
    submit(folder, specs, purpose="confirm")

    found = list(read_states(folder, Answers()).values())

    assert [status.run_id for status in found] == [spec.run_id for spec in specs]
    assert found[1].values["lr"] == 0.1
    assert found[1].values["seed"] == 7
    assert found[1].fields()["purpose"] == "confirm"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answers(Phase.QUEUED), RunState.QUEUED),
        (Answers(Phase.RUNNING), RunState.RUNNING),
        (Answers(Phase.ENDED, Cause.OUT_OF_MEMORY), RunState.LOST),
        (Answers(Phase.ENDED, None), RunState.LOST),
        (Answers(Phase.ENDED, Cause.CANCELLED), RunState.INTERRUPTED),
        (Answers(Phase.ENDED, Cause.LAUNCHER), RunState.INTERRUPTED),
        (Answers(Phase.ENDED, Cause.CONTINUE), RunState.INTERRUPTED),
    ],
)
def test_without_a_result_the_scheduler_decides(
    folder: GridFolder, answer: Answers, state: RunState
) -> None:
    submit(folder, [a_spec()])

    assert states(folder, answer) == [state]


def test_a_job_that_the_scheduler_does_not_mention_counts_as_queued(folder: GridFolder) -> None:
    submit(folder, [a_spec()])

    found = read_states(folder, lambda jobs: {})

    assert [status.state for status in found.values()] == [RunState.QUEUED]


def test_one_query_asks_about_all_unsettled_runs(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(4)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag)
    query = Answers()

    read_states(folder, query)

    assert [len(jobs) for jobs in query.asked] == [3]


def test_a_grid_that_is_settled_asks_no_scheduler(folder: GridFolder) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))
    query = Answers()

    assert states(folder, query) == [RunState.DONE]
    assert query.asked == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.OK, RunState.DONE),
        (Outcome.DIVERGED, RunState.DIVERGED),
        (Outcome.FAILED, RunState.FAILED),
    ],
)
def test_a_result_decides_against_what_the_scheduler_says(
    folder: GridFolder, outcome: Outcome, state: RunState
) -> None:
    spec = a_spec()
    write_result(folder, spec, submit(folder, [spec]), outcome)

    assert states(folder, Answers(Phase.ENDED, Cause.SIGNAL)) == [state]


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_run_that_ends_while_the_scheduler_is_asked_is_done_and_not_lost(
    folder: GridFolder, has_begun: bool
) -> None:
    spec = a_spec()
    tag = submit(folder, [spec])
    held = start(folder, spec) if has_begun else None

    def end_meanwhile(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        finish(folder, spec, tag)
        if held:
            held.release(ending="done")
        return dict.fromkeys(jobs, JobState(Phase.ENDED))

    (status,) = read_states(folder, end_meanwhile).values()

    assert (status.state, status.cause, status.has_folder) == (RunState.DONE, None, True)


@pytest.mark.parametrize(("redo", "state"), [("none", RunState.FAILED), ("failed", RunState.LOST)])
def test_a_result_that_a_repetition_sets_aside_does_not_count_when_its_job_has_ended(
    folder: GridFolder, redo: str, state: RunState
) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())
    submit(folder, [spec], redo=redo)

    assert states(folder, Answers(Phase.ENDED, Cause.OUT_OF_MEMORY)) == [state]


def test_a_living_attempt_is_a_running_run_of_any_launcher(folder: GridFolder) -> None:
    spec = a_spec()
    submit(folder, [spec])
    held = start(folder, spec)

    assert states(folder, Answers(Phase.ENDED, Cause.LAUNCHER)) == [RunState.RUNNING]
    held.release(ending="interrupted")
    assert states(folder, Answers(Phase.ENDED, Cause.LAUNCHER)) == [RunState.INTERRUPTED]


def test_a_lost_run_carries_its_cause_from_the_journal_not_from_the_query(
    folder: GridFolder,
) -> None:
    spec = a_spec()
    lose(folder, submit(folder, [spec]), 0, Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB")

    (status,) = read_states(folder, Answers(Phase.QUEUED)).values()

    assert (status.state, status.cause, status.detail) == (
        RunState.LOST,
        Cause.OUT_OF_MEMORY,
        "used 2.1 of 2.0 GiB",
    )


def test_a_cancelled_run_is_interrupted(folder: GridFolder) -> None:
    spec = a_spec()
    lose(folder, submit(folder, [spec]), 0, Cause.CANCELLED)

    (status,) = read_states(folder, Answers()).values()

    assert (status.state, status.cause) == (RunState.INTERRUPTED, Cause.CANCELLED)


def test_a_submission_without_an_answer_stands_or_falls_with_its_process(
    folder: GridFolder,
) -> None:
    submit(folder, [a_spec()], answered=False)
    query = Answers(Phase.ENDED, Cause.LAUNCHER)

    assert states(folder, query) == [RunState.INTERRUPTED]
    assert f"{GONE.boot}@{GONE.host}" in query.asked[0][0].native_id


def test_a_refused_submission_does_not_count(folder: GridFolder) -> None:
    spec, other = a_spec(), a_spec(seed=1)
    finish(folder, spec, submit(folder, [spec]))
    Journal(folder).refused(
        submit(folder, [spec, other], redo="all", answered=False), "queue is full"
    )

    found = read_states(folder, Answers())

    assert [(status.run_id, status.state) for status in found.values()] == [
        (spec.run_id, RunState.DONE)
    ]


@pytest.mark.parametrize(
    ("redo", "outcome", "state"),
    [
        ("none", Outcome.OK, RunState.DONE),
        ("none", Outcome.FAILED, RunState.FAILED),
        ("failed", Outcome.OK, RunState.DONE),
        ("failed", Outcome.DIVERGED, RunState.DIVERGED),
        ("failed", Outcome.FAILED, RunState.QUEUED),
        ("all", Outcome.OK, RunState.QUEUED),
        ("all", Outcome.FAILED, RunState.QUEUED),
    ],
)
@pytest.mark.parametrize("read_before", [False, True], ids=["first look", "result in the cache"])
def test_a_later_submission_sets_aside_what_it_repeats(
    folder: GridFolder, redo: str, outcome: Outcome, state: RunState, read_before: bool
) -> None:
    spec = a_spec()
    write_result(folder, spec, submit(folder, [spec]), outcome)
    if read_before:
        read_states(folder, Answers())
    submit(folder, [spec], redo=redo)

    assert states(folder, Answers()) == [state]


@pytest.mark.parametrize("redo", ["failed", "all"])
def test_the_result_of_the_repetition_counts(folder: GridFolder, redo: str) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())
    read_states(folder, Answers())
    finish(folder, spec, submit(folder, [spec], redo=redo), **{"val/acc": 0.75})

    for _ in range(2):  # from its folder, then from the cache
        (status,) = read_states(folder, Answers()).values()
        assert status.state is RunState.DONE
        assert status.result is not None
        assert status.result.metrics["val/acc"] == 0.75


def test_a_repetition_that_failed_again_has_failed(folder: GridFolder) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())
    read_states(folder, Answers())
    fail(folder, spec, submit(folder, [spec], redo="failed"), an_error(message="worse"))

    (status,) = read_states(folder, Answers()).values()

    assert status.result is not None
    assert status.result.error is not None
    assert status.result.error.message == "worse"


def test_a_result_is_read_once_and_then_remembered(folder: GridFolder) -> None:
    spec = a_spec()
    run = finish(folder, spec, submit(folder, [spec]), **{"val/acc": 0.9})
    read_states(folder, Answers())
    run.result.write_text("unreadable")

    (status,) = read_states(folder, Answers()).values()

    assert status.result is not None
    assert status.result.metrics["val/acc"] == 0.9
    assert len(folder.finished.read_text().split()) > 0


@pytest.mark.parametrize("asked_again", [False, True])
def test_the_cache_grows_only_with_new_results(folder: GridFolder, asked_again: bool) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))
    read_states(folder, Answers())
    before = folder.finished.read_text()
    if asked_again:  # by a submission that does not set it aside
        submit(folder, [spec], redo="failed")

    assert states(folder, Answers()) == [RunState.DONE]
    assert folder.finished.read_text() == before


def test_a_remembered_failure_keeps_where_it_arose(folder: GridFolder) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())
    read_states(folder, Answers())

    (status,) = read_states(folder, Answers()).values()

    assert status.result is not None
    assert status.result.error is not None
    assert (
        status.result.error.traceback == 'File "/home/ann/anlp/training/loop.py", line 88, in step'
    )


def test_a_torn_line_in_the_cache_costs_nothing_but_reading_that_run_again(
    folder: GridFolder,
) -> None:
    specs = [a_spec(seed=seed) for seed in range(3)]
    tag = submit(folder, specs)
    for spec in specs[:2]:
        finish(folder, spec, tag)
    read_states(folder, Answers())
    torn = folder.finished.read_bytes()[:-40]
    folder.finished.write_bytes(torn)
    finish(folder, specs[2], tag)

    assert states(folder, Answers()) == [RunState.DONE] * 3
    assert states(folder, Answers()) == [RunState.DONE] * 3
    assert {
        json.loads(line)["run_id"]
        for line in folder.finished.read_text().splitlines()
        if line.endswith("}")
    } == {spec.run_id for spec in specs}


def test_a_deleted_run_folder_makes_a_finished_run_continue(folder: GridFolder) -> None:
    spec = a_spec()
    run = finish(folder, spec, submit(folder, [spec]))
    read_states(folder, Answers())
    shutil.rmtree(run.path)

    assert states(folder, Answers(Phase.ENDED, Cause.LAUNCHER)) == [RunState.INTERRUPTED]


def test_a_deleted_and_resubmitted_run_is_not_mistaken_for_its_remembered_past(
    folder: GridFolder,
) -> None:
    spec = a_spec()
    run = fail(folder, spec, submit(folder, [spec]), an_error())
    read_states(folder, Answers())
    shutil.rmtree(run.path)
    tag = submit(folder, [spec])

    with start(folder, spec):
        assert states(folder, Answers()) == [RunState.RUNNING]
    finish(folder, spec, tag)
    assert states(folder, Answers()) == [RunState.DONE]


def test_an_unreadable_result_is_no_result(folder: GridFolder) -> None:
    spec = a_spec()
    run = finish(folder, spec, submit(folder, [spec]))
    run.result.write_text('{"run_id": ')

    assert states(folder, Answers(Phase.ENDED, Cause.SIGNAL)) == [RunState.LOST]


def test_runs_that_share_a_job_share_its_handle(folder: GridFolder) -> None:
    submit(folder, [a_spec(seed=seed) for seed in range(4)], per_element=2)
    query = Answers()

    found = list(read_states(folder, query).values())

    assert [status.handle.index for status in found if status.handle] == [0, 0, 1, 1]
    assert len(query.asked[0]) == 2


def test_progress_is_the_last_whole_line_of_the_metrics(folder: GridFolder) -> None:
    spec = a_spec(epochs=5)
    submit(folder, [spec])
    (status,) = read_states(folder, Answers()).values()
    assert read_progress(status) is None

    log_epochs(folder, spec, [0.1, 0.2, 0.3])
    with status.folder.metrics.open("a") as file:
        file.write('{"epoch": 3, "val/')
    progress = read_progress(status)

    assert progress is not None
    assert (progress.epoch, progress.epochs, progress.metrics["val/acc"]) == (2, 5, 0.3)


# --- several runs in one job


def test_of_a_job_that_runs_those_behind_others_are_still_queued(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(4)]
    tag = submit(folder, specs, per_element=4, at_once=2)
    finish(folder, specs[0], tag)

    assert states(folder, Answers(Phase.RUNNING)) == [
        RunState.DONE,
        RunState.RUNNING,
        RunState.QUEUED,
        RunState.QUEUED,
    ]
    with start(folder, specs[2]):
        assert states(folder, Answers(Phase.RUNNING))[2:] == [RunState.RUNNING, RunState.QUEUED]


def test_what_ended_a_job_before_a_runs_turn_is_not_held_against_it(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(3)]
    submit(folder, specs, per_element=3)
    folder.run(specs[0].run_id).path.mkdir()

    found = list(read_states(folder, Answers(Phase.ENDED, Cause.TIMEOUT)).values())

    assert [status.state for status in found] == [
        RunState.LOST,
        RunState.INTERRUPTED,
        RunState.INTERRUPTED,
    ]
    assert (found[1].cause, found[1].detail) == (
        Cause.SKIPPED,
        "its job ended before its turn: time limit",
    )


def test_a_job_that_never_started_loses_all_its_runs(folder: GridFolder) -> None:
    submit(folder, [a_spec(seed) for seed in range(3)], per_element=3)

    assert states(folder, Answers(Phase.ENDED, Cause.NOT_STARTED)) == [RunState.LOST] * 3


def test_a_pack_is_asked_about_once(folder: GridFolder) -> None:
    submit(folder, [a_spec(seed) for seed in range(4)], per_element=4, at_once=4)
    query = Answers(Phase.RUNNING)

    assert states(folder, query) == [RunState.RUNNING] * 4
    assert [len(jobs) for jobs in query.asked] == [1]


def test_what_the_journal_knows_to_have_ended_is_not_asked_about(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed) for seed in range(2)])
    lose(folder, tag, 0, Cause.SIGNAL, "signal 9")
    query = Answers(Phase.RUNNING)

    assert states(folder, query) == [RunState.LOST, RunState.RUNNING]
    assert [len(jobs) for jobs in query.asked] == [1]


# ---- the end of a job and the heartbeat of a process


@pytest.mark.parametrize(
    ("cause", "job", "state"),
    [
        (Cause.OUT_OF_MEMORY, "slurm:17_0", RunState.LOST),
        (Cause.CANCELLED, "slurm:17_0", RunState.INTERRUPTED),
        (Cause.OUT_OF_MEMORY, "slurm:117_0", RunState.RUNNING),  # in another job
        (Cause.OUT_OF_MEMORY, "", RunState.RUNNING),  # by hand
        (Cause.UNKNOWN, "slurm:17_0", RunState.RUNNING),  # that is no definite end
        (None, "slurm:17_0", RunState.RUNNING),  # another process was training it
    ],
)
def test_a_definite_end_outweighs_a_heartbeat_that_cannot_be_checked(
    folder: GridFolder, cause: Cause | None, job: str, state: RunState
) -> None:
    spec = a_spec()
    tag = submit(folder, [spec], slurm_job="17")
    held = lease.acquire(folder.run(spec.run_id).attempts, {"job": job, "batch": tag})
    held.path.write_text(json.dumps({**held.record, "host": "node7"}))

    assert states(folder, Answers(Phase.ENDED, cause)) == [state]
    held.release()


def test_a_living_process_of_this_host_outweighs_the_end_of_its_job(folder: GridFolder) -> None:
    spec = a_spec()
    tag = submit(folder, [spec], slurm_job="17")

    with lease.acquire(folder.run(spec.run_id).attempts, {"job": "slurm:17_0", "batch": tag}):
        assert states(folder, Answers(Phase.ENDED, Cause.CANCELLED)) == [RunState.RUNNING]


# ---- what a scheduler has forgotten


@pytest.mark.parametrize(
    ("learned", "said", "cause"),
    [
        (Cause.TIMEOUT, JobState(Phase.ENDED, Cause.UNKNOWN), Cause.TIMEOUT),
        (Cause.TIMEOUT, JobState(Phase.QUEUED), Cause.TIMEOUT),  # Slurm, of unknown arrays
        (Cause.NODE, JobState(Phase.QUEUED), None),  # it may have been queued again
        (Cause.TIMEOUT, JobState(Phase.RUNNING), None),
        (Cause.TIMEOUT, JobState(Phase.ENDED, Cause.NODE), Cause.NODE),
    ],
)
def test_an_end_that_was_seen_before_explains_what_a_scheduler_forgot(
    folder: GridFolder, learned: Cause, said: JobState, cause: Cause | None
) -> None:
    submit(folder, [a_spec()], slurm_job="17")
    query = Answers(Phase.ENDED, learned, "seen before")
    keep_endings(folder, read_states(folder, query).values())
    query.state = said

    found = next(iter(read_states(folder, query).values()))

    assert found.cause is cause
    assert (found.detail == "seen before") is (cause is learned)


def test_what_was_learned_is_written_once(folder: GridFolder) -> None:
    submit(folder, [a_spec(seed=seed) for seed in range(3)], slurm_job="17")
    query = Answers(Phase.ENDED, Cause.TIMEOUT, "limit 2 h")

    keep_endings(folder, read_states(folder, query).values())
    before = folder.endings.read_bytes()
    keep_endings(folder, read_states(folder, query).values())

    assert before.count(b"\n") == 3
    assert folder.endings.read_bytes() == before
