from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from anlp.records.crash import CrashRecord, record_crash
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.attempts import (
    find_auto_retries,
    find_bad_nodes,
    is_infrastructure,
    past_endings,
    read_attempts,
    record_endings,
)
from jobs.runs.journal import ExitRecord, Journal
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase
from tests.support.grids import GONE, a_spec, finish, journal_lines, lose, submit

SPECS = [a_spec(seed) for seed in range(3)]
NODE = JobState(Phase.ENDED, Cause.NODE, "its node failed", "n7")
QUEUED = JobState(Phase.QUEUED)


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def states(folder: GridFolder, *by_index: JobState) -> dict[str, RunStatus]:
    def query(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        return {job: by_index[job.index] if job.index < len(by_index) else QUEUED for job in jobs}

    return read_states(folder, query)


def due(folder: GridFolder, retries: int, *by_index: JobState) -> set[int]:
    found = find_auto_retries(Journal(folder), states(folder, *by_index), retries)
    return {number for number, spec in enumerate(SPECS) if spec.run_id in found}


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (ExitRecord(Cause.NODE), True),
        (ExitRecord(Cause.NOT_STARTED), True),
        (ExitRecord(Cause.LAUNCHER), True),
        (ExitRecord(Cause.UNKNOWN), True),
        (ExitRecord(Cause.SIGNAL, "signal 9 (SIGKILL: it was not sent by this suite)"), True),
        (ExitRecord(Cause.SIGNAL, "signal 11 (SIGSEGV)"), False),
        (ExitRecord(Cause.OUT_OF_MEMORY), False),
        (ExitRecord(Cause.TIMEOUT), False),
        (ExitRecord(Cause.EXIT, "exit code 70"), False),
        (ExitRecord(Cause.CANCELLED), False),
    ],
)
def test_machines_are_to_blame_for_some_endings(ending: ExitRecord, expected: bool) -> None:
    assert is_infrastructure(ending) is expected


def test_what_a_scheduler_says_of_lost_runs_outlives_its_memory(folder: GridFolder) -> None:
    submit(folder, SPECS, slurm_job="17")

    record_endings(
        Journal(folder),
        states(folder, NODE, QUEUED, JobState(Phase.ENDED, Cause.CANCELLED)).values(),
    )

    found = list(states(folder).values())  # a scheduler that has forgotten them
    assert [status.state for status in found] == [
        RunState.LOST,
        RunState.QUEUED,
        RunState.INTERRUPTED,
    ]
    assert (found[0].cause, found[0].detail, found[0].node) == (Cause.NODE, "its node failed", "n7")


def test_an_ending_is_recorded_once(folder: GridFolder) -> None:
    submit(folder, SPECS, slurm_job="17")
    for _ in range(2):
        record_endings(Journal(folder), states(folder, NODE).values())

    assert [line["event"] for line in journal_lines(folder)].count("ended") == 1


def test_of_runs_that_shared_a_job_the_one_at_work_tells_what_ended_it(folder: GridFolder) -> None:
    submit(folder, SPECS, slurm_job="17", per_element=3)

    record_endings(Journal(folder), states(folder, NODE).values())

    assert [line["cause"] for line in journal_lines(folder) if line["event"] == "ended"] == ["NODE"]
    assert [status.cause for status in states(folder).values()] == [
        Cause.NODE,
        Cause.SKIPPED,
        Cause.SKIPPED,
    ]


def test_the_trials_of_a_run_are_all_its_submissions_in_order(folder: GridFolder) -> None:
    first = submit(folder, SPECS[:2], slurm_job="17", resources=Resources(mem_mib=1000))
    lose(folder, first, 1, Cause.OUT_OF_MEMORY)
    submit(folder, SPECS[1:], slurm_job="18", resources=Resources(mem_mib=1500))

    trials = read_attempts(folder, Journal(folder).submissions())[SPECS[1].run_id]

    assert [(trial.handle.native_id, trial.asked.mem_mib) for trial in trials] == [
        ("17", 1000),
        ("18", 1500),
    ]
    assert [trial.ending and trial.ending.cause for trial in trials] == [Cause.OUT_OF_MEMORY, None]


def test_an_ending_counts_once_whether_it_is_on_record_or_not(folder: GridFolder) -> None:
    submit(folder, SPECS, slurm_job="17")
    counts = []
    for _ in range(2):
        history = states(folder, NODE)
        trials = read_attempts(folder, Journal(folder).submissions())
        counts.append(len(past_endings(history[SPECS[0].run_id], trials[SPECS[0].run_id])))
        record_endings(Journal(folder), history.values())

    assert counts == [1, 1]


def test_lost_runs_are_due_as_often_as_the_grid_says_over_all_submissions(
    folder: GridFolder,
) -> None:
    submit(folder, SPECS, slurm_job="17")
    assert (due(folder, 0, NODE), due(folder, 1, NODE)) == (set(), {0})
    record_endings(Journal(folder), states(folder, NODE).values())
    assert due(folder, 1) == {0}

    submit(folder, SPECS[:1], slurm_job="18")

    assert due(folder, 1) == set()  # it is queued
    assert (due(folder, 1, NODE), due(folder, 2, NODE)) == (set(), {0})


def test_a_run_that_died_beside_others_counts_with_its_own_end(folder: GridFolder) -> None:
    run = folder.run(SPECS[0].run_id)
    for number in range(2):
        tag = submit(folder, SPECS[:2], slurm_job=f"{number}", per_element=2, at_once=2)
        record_crash(
            run, None, CrashRecord(Cause.SIGNAL.value, "signal 9 (SIGKILL)"), job="17", batch=tag
        )
        lose(folder, tag, 0, Cause.TIMEOUT)  # of the job, with the other run in it

    trials = read_attempts(folder, Journal(folder).submissions())[SPECS[0].run_id]
    status = states(folder)[SPECS[0].run_id]

    assert [ending.cause for ending in past_endings(status, trials)] == [Cause.SIGNAL, Cause.SIGNAL]
    assert (due(folder, 1), due(folder, 2)) == (set(), {0})


def test_runs_that_are_to_blame_themselves_or_have_ended_well_are_not_due(
    folder: GridFolder,
) -> None:
    tag = submit(folder, SPECS, launcher=GONE)
    lose(folder, tag, 0, Cause.TIMEOUT)
    finish(folder, SPECS[1], tag)
    lose(folder, tag, 2, Cause.LAUNCHER)  # interrupted: any submit takes it anyway

    assert due(folder, 5) == set()


@pytest.mark.parametrize(("began_elsewhere", "bad"), [(True, {"n2"}), (False, set())])
def test_a_node_where_jobs_never_start_is_bad_if_runs_began_elsewhere(
    folder: GridFolder, began_elsewhere: bool, bad: set[str]
) -> None:
    tag = submit(folder, SPECS, slurm_job="17")
    if began_elsewhere:
        finish(folder, SPECS[0], tag)
    lacking = JobState(Phase.ENDED, Cause.NOT_STARTED, "exit code 72", "n2")
    every = read_states(folder, lambda jobs: dict.fromkeys(jobs, lacking))
    trials = read_attempts(folder, Journal(folder).submissions())

    assert find_bad_nodes(every.values(), trials) == bad
