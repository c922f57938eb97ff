from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.runs.polling import JobPoller, SchedulerReport
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase
from tests.support.grids import a_spec, submission, submit
from tests.support.schedulers.fake_cluster import DOWN, FakeCluster

JOBS = [JobHandle("slurm", "4711", index) for index in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def ask(
    folder: GridFolder, cluster: FakeCluster, *, fresh: bool = False, tolerant: bool = True
) -> JobPoller:
    if not tolerant:
        return JobPoller.for_changing(folder, ask=cluster, now=cluster.clock)
    return JobPoller.for_viewing(folder, fresh=fresh, ask=cluster, now=cluster.clock)


def test_an_answer_serves_every_command_for_forty_seconds(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    first = ask(folder, cluster).states(JOBS)
    cluster.now += 39.9
    cluster.end(Cause.TIMEOUT)

    assert ask(folder, cluster).states(JOBS) == first
    assert cluster.asked == [("slurm", 3)]
    cluster.now += 0.1
    assert ask(folder, cluster).states(JOBS)[JOBS[0]].phase is Phase.ENDED
    assert cluster.asked == [("slurm", 3)] * 2


def test_fresh_asks_at_once_and_leaves_its_answer_for_others(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    ask(folder, cluster).states(JOBS)
    cluster.end(Cause.TIMEOUT)

    assert ask(folder, cluster, fresh=True).states(JOBS)[JOBS[0]].cause is Cause.TIMEOUT
    assert ask(folder, cluster).states(JOBS)[JOBS[0]].cause is Cause.TIMEOUT
    assert len(cluster.asked) == 2


def test_only_jobs_that_nobody_asked_about_are_asked_about(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    ask(folder, cluster).states(JOBS[:1])

    ask(folder, cluster).states(JOBS)

    assert cluster.asked == [("slurm", 1), ("slurm", 2)]


def test_one_command_asks_about_a_job_once_however_long_it_takes(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    poller = ask(folder, cluster, fresh=True, tolerant=False)
    poller.states(JOBS[:2])
    cluster.now += 3600

    poller.states(JOBS)
    poller.states(JOBS)

    assert cluster.asked == [("slurm", 2), ("slurm", 1)]


def test_a_clock_that_was_set_back_makes_no_answer_young(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    ask(folder, cluster).states(JOBS)
    cluster.now -= 3600

    ask(folder, cluster).states(JOBS)

    assert len(cluster.asked) == 2


def test_jobs_of_this_machine_are_looked_at_each_time_and_not_kept(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    tag = submit(folder, [a_spec()])
    handle = submission(folder, tag).handle(0)
    poller = ask(folder, cluster)

    assert poller.states([handle]) == {handle: JobState(Phase.QUEUED)}
    assert not folder.answers.exists()
    assert poller.reports == ()


def test_what_is_finished_leaves_the_file(folder: GridFolder, cluster: FakeCluster) -> None:
    ask(folder, cluster).states(JOBS)
    cluster.now += 50

    ask(folder, cluster).states(JOBS[2:])
    ask(folder, cluster).states(JOBS[:1])

    assert cluster.asked == [("slurm", 3), ("slurm", 1), ("slurm", 1)]


def test_a_command_that_writes_nothing_keeps_no_answers(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    JobPoller.for_dry_run(folder, ask=cluster, now=cluster.clock).states(JOBS)

    assert list(folder.path.iterdir()) == []


def test_what_was_cancelled_is_asked_about_anew(folder: GridFolder, cluster: FakeCluster) -> None:
    poller = ask(folder, cluster, fresh=True, tolerant=False)
    poller.states(JOBS)

    poller.forget(JOBS[:1])
    ask(folder, cluster).states(JOBS)

    assert cluster.asked == [("slurm", 3), ("slurm", 1)]


def test_notes_stay_with_the_answers_they_belong_to(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    cluster.notes = ("slurmdbd does not answer: causes are missing",)
    ask(folder, cluster).states(JOBS)

    later = ask(folder, cluster)
    later.states(JOBS)

    assert later.notes == ("slurmdbd does not answer: causes are missing",)


# --- while a scheduler is down


def test_while_it_is_down_its_last_answer_stands_with_its_age(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    cluster.state = JobState(Phase.RUNNING)
    ask(folder, cluster).states(JOBS)
    cluster.now += 185
    cluster.go_down()
    poller = ask(folder, cluster)

    assert poller.states(JOBS) == dict.fromkeys(JOBS, JobState(Phase.RUNNING))
    assert poller.reports == (SchedulerReport("slurm", 1_000_000.0, DOWN.removeprefix("slurm: ")),)
    assert poller.reports[0].render(cluster.now) == [
        "slurm does not answer; this is what the folders and its answer of 3 min 5 s ago say "
        "(squeue: Unable to contact slurm controller (connect failure))"
    ]


def test_where_it_never_answered_nothing_is_known_and_nothing_lost(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    submit(folder, [a_spec(seed=seed) for seed in range(2)], slurm_job="4711")
    cluster.go_down()
    poller = ask(folder, cluster)

    found = read_states(folder, poller.states)

    assert {status.state for status in found.values()} == {RunState.QUEUED}
    assert (
        poller.reports[0]
        .render(cluster.now)[0]
        .startswith("slurm does not answer; this is what the folders say (")
    )
    assert poller.unreachable == {
        "slurm": "squeue: Unable to contact slurm controller (connect failure)"
    }


def test_a_server_that_is_down_is_asked_once_by_a_command(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    cluster.go_down()
    poller = ask(folder, cluster)

    poller.states(JOBS)
    poller.states(JOBS)

    assert len(cluster.asked) == 1


def test_an_outage_does_not_spoil_what_is_known(folder: GridFolder, cluster: FakeCluster) -> None:
    ask(folder, cluster).states(JOBS)
    before = folder.answers.read_bytes()
    cluster.go_down()
    ask(folder, cluster, fresh=True).states(JOBS)

    assert folder.answers.read_bytes() == before


def test_commands_that_change_something_refuse_while_it_is_down(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    cluster.go_down()

    with pytest.raises(SchedulerError, match="Unable to contact"):
        ask(folder, cluster, fresh=True, tolerant=False).states(JOBS)


def test_who_only_looks_is_served_where_there_is_no_scheduler_at_all(
    folder: GridFolder, cluster: FakeCluster
) -> None:
    cluster.error = SchedulerError("slurm: there is no squeue here")
    poller = ask(folder, cluster)

    assert poller.states(JOBS) == {}
    assert poller.unreachable == {"slurm": "there is no squeue here"}
    with pytest.raises(SchedulerError, match="no squeue here"):
        ask(folder, cluster, tolerant=False).states(JOBS)


def test_an_answer_of_another_command_is_told_with_its_age() -> None:
    assert SchedulerReport("slurm", 100.0).render(125.4) == [
        "slurm was asked 25 s ago (--fresh asks now)"
    ]
    assert SchedulerReport("slurm", 100.0).render(100.9) == []
    assert SchedulerReport("pbs", 100.0, notes=("history is off",)).render(100.0) == [
        "pbs: history is off"
    ]
