from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.runs.attempts import record_endings
from jobs.runs.journal import Journal
from jobs.runs.polling import ACCOUNTS_S, JobPoller, SchedulerReport
from jobs.runs.status import read_states
from jobs.schedulers.base import AWAITS_ACCOUNTS, Cause, JobHandle, JobState, Phase
from jobs.schedulers.slurm import client
from tests.support.grids import a_spec, submission, submit
from tests.support.schedulers.slurm import fake_slurm

JOBS = [JobHandle("slurm", job_id, 0) for job_id in ("4711", "4712", "4713")]
ALL = "4711,4712,4713"


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path)


class Site:
    """A Slurm with three jobs, and a clock that only a test advances."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000_000.0

    def clock(self) -> float:
        return self.now

    def questions(self) -> list[str]:
        """The jobs that each question so far was about."""
        words = [call.split() for call in fake_slurm.read_calls(self.folder)]
        return [call[call.index("-j") + 1] for call in words if call[0] == "squeue"]

    def end(self) -> None:
        """From now on every job has reached its time limit."""
        fake_slurm.set_state(self.folder, "TIMEOUT")

    def go_down(self) -> None:
        """From now on no question is answered."""
        fake_slurm.set_down(self.folder)


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A question that fails is asked once: how the client repeats it has its own tests."""
    folder = tmp_path_factory.mktemp("slurm")
    monkeypatch.setenv("PATH", str(fake_slurm.install(folder, state="PENDING")), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    monkeypatch.setattr(client, "MOST_RETRIES", 0)
    for job in JOBS:
        fake_slurm.add_array(folder, job.native_id, 1)
    return Site(folder)


def ask(folder: GridFolder, site: Site, *, fresh: bool = False, tolerant: bool = True) -> JobPoller:
    if not tolerant:
        return JobPoller.for_changing(folder, now=site.clock)
    return JobPoller.for_viewing(folder, fresh=fresh, now=site.clock)


def test_an_answer_serves_every_command_for_forty_seconds(folder: GridFolder, site: Site) -> None:
    first = ask(folder, site).states(JOBS)
    site.now += 39.9
    site.end()

    assert ask(folder, site).states(JOBS) == first
    assert site.questions() == [ALL]
    site.now += 0.1
    assert ask(folder, site).states(JOBS)[JOBS[0]].phase is Phase.ENDED
    assert site.questions() == [ALL] * 2


def test_fresh_asks_at_once_and_leaves_its_answer_for_others(
    folder: GridFolder, site: Site
) -> None:
    ask(folder, site).states(JOBS)
    site.end()

    assert ask(folder, site, fresh=True).states(JOBS)[JOBS[0]].cause is Cause.TIMEOUT
    assert ask(folder, site).states(JOBS)[JOBS[0]].cause is Cause.TIMEOUT
    assert len(site.questions()) == 2


def test_only_jobs_without_an_answer_are_asked_about(folder: GridFolder, site: Site) -> None:
    ask(folder, site).states(JOBS[:1])

    ask(folder, site).states(JOBS)

    assert site.questions() == ["4711", "4712,4713"]


def test_one_command_asks_about_a_job_once_however_long_it_takes(
    folder: GridFolder, site: Site
) -> None:
    poller = ask(folder, site, fresh=True, tolerant=False)
    poller.states(JOBS[:2])
    site.now += 3600

    poller.states(JOBS)
    poller.states(JOBS)

    assert site.questions() == ["4711,4712", "4713"]


def test_a_clock_that_was_set_back_makes_no_answer_young(folder: GridFolder, site: Site) -> None:
    ask(folder, site).states(JOBS)
    site.now -= 3600

    ask(folder, site).states(JOBS)

    assert len(site.questions()) == 2


def test_jobs_of_this_machine_are_looked_at_each_time_and_not_kept(
    folder: GridFolder, site: Site
) -> None:
    tag = submit(folder, [a_spec()])
    handle = submission(folder, tag).handle(0)
    poller = ask(folder, site)

    assert poller.states([handle]) == {handle: JobState(Phase.QUEUED)}
    assert not folder.answers.exists()
    assert poller.reports == ()


def test_what_is_finished_leaves_the_file(folder: GridFolder, site: Site) -> None:
    ask(folder, site).states(JOBS)
    site.now += 50

    ask(folder, site).states(JOBS[2:])
    ask(folder, site).states(JOBS[:1])

    assert site.questions() == [ALL, "4713", "4711"]


def test_a_command_that_writes_nothing_keeps_no_answers(folder: GridFolder, site: Site) -> None:
    JobPoller.for_dry_run(folder, now=site.clock).states(JOBS)

    assert list(folder.path.iterdir()) == []


def test_what_was_cancelled_is_asked_about_anew(folder: GridFolder, site: Site) -> None:
    poller = ask(folder, site, fresh=True, tolerant=False)
    poller.states(JOBS)

    poller.forget(JOBS[:1])
    ask(folder, site).states(JOBS)

    assert site.questions() == [ALL, "4711"]


def test_notes_stay_with_the_answers_they_belong_to(folder: GridFolder, site: Site) -> None:
    site.end()
    fake_slurm.set_no_database(site.folder)
    ask(folder, site).states(JOBS)

    later = ask(folder, site)
    later.states(JOBS)

    assert len(site.questions()) == 1
    assert ["accounts do not answer" in note for note in later.notes] == [True]


# --- while a scheduler is down


def test_while_it_is_down_its_last_answer_stands_with_its_age(
    folder: GridFolder, site: Site
) -> None:
    fake_slurm.set_state(site.folder, "RUNNING")
    ask(folder, site).states(JOBS)
    site.now += 185
    site.go_down()
    poller = ask(folder, site)

    assert poller.states(JOBS) == dict.fromkeys(JOBS, JobState(Phase.RUNNING, node="n7"))
    assert poller.reports == (SchedulerReport("slurm", 1_000_000.0, f"squeue: {fake_slurm.DOWN}"),)
    assert poller.reports[0].render(site.now) == [
        "slurm does not answer; this is what the folders and its answer of 3 min 5 s ago say "
        "(squeue: Unable to contact slurm controller (connect failure))"
    ]


def test_where_it_never_answered_nothing_is_known_and_nothing_lost(
    folder: GridFolder, site: Site
) -> None:
    submit(folder, [a_spec(seed=seed) for seed in range(2)], slurm_job="4711")
    site.go_down()
    poller = ask(folder, site)

    found = read_states(folder, poller.states)

    assert {status.state for status in found.values()} == {RunState.QUEUED}
    assert (
        poller.reports[0]
        .render(site.now)[0]
        .startswith("slurm does not answer; this is what the folders say (")
    )
    assert poller.unreachable == {
        "slurm": "squeue: Unable to contact slurm controller (connect failure)"
    }


def test_a_server_that_is_down_is_asked_once_by_a_command(folder: GridFolder, site: Site) -> None:
    site.go_down()
    poller = ask(folder, site)

    poller.states(JOBS)
    poller.states(JOBS)

    assert len(site.questions()) == 1


def test_an_outage_does_not_spoil_what_is_known(folder: GridFolder, site: Site) -> None:
    ask(folder, site).states(JOBS)
    before = folder.answers.read_bytes()
    site.go_down()
    ask(folder, site, fresh=True).states(JOBS)

    assert folder.answers.read_bytes() == before


def test_commands_that_change_something_refuse_while_it_is_down(
    folder: GridFolder, site: Site
) -> None:
    site.go_down()

    with pytest.raises(SchedulerError, match="Unable to contact"):
        ask(folder, site, fresh=True, tolerant=False).states(JOBS)


def test_who_only_looks_is_served_where_there_is_no_scheduler_at_all(
    folder: GridFolder, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "elsewhere").mkdir()
    (site.folder / "elsewhere" / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(site.folder / "elsewhere"))
    poller = ask(folder, site)

    assert poller.states(JOBS) == {}
    assert poller.unreachable == {
        "slurm": "there is no squeue here: run this on a login node of the cluster"
    }
    with pytest.raises(SchedulerError, match="no squeue here"):
        ask(folder, site, tolerant=False).states(JOBS)


def test_an_answer_of_another_command_is_told_with_its_age() -> None:
    assert SchedulerReport("slurm", 100.0).render(125.4) == [
        "slurm was asked 25 s ago (--fresh asks now)"
    ]
    assert SchedulerReport("slurm", 100.0).render(100.9) == []
    assert SchedulerReport("pbs", 100.0, notes=("history is off",)).render(100.0) == [
        "pbs: history is off"
    ]


@pytest.fixture
def over(site: Site) -> Site:
    """The jobs have failed by the queue, and the accounts know nothing of them."""
    fake_slurm.set_state(site.folder, "FAILED")
    fake_slurm.set_silent(site.folder)
    return site


def test_a_job_that_only_the_queue_calls_over_waits_for_the_accounts_and_is_not_journaled(
    folder: GridFolder, over: Site
) -> None:
    submit(folder, [a_spec(0)], slurm_job="4711")

    statuses = read_states(folder, ask(folder, over).states)
    record_endings(Journal(folder), statuses.values())

    (status,) = statuses.values()
    assert (status.state, status.detail) == (RunState.RUNNING, AWAITS_ACCOUNTS)
    assert not next(iter(Journal(folder).submissions().values())).endings


def test_when_the_accounts_tell_the_cause_is_known(folder: GridFolder, over: Site) -> None:
    assert ask(folder, over).states(JOBS)[JOBS[0]].awaits_accounts
    over.now += 50
    over.end()
    fake_slurm.set_silent(over.folder, False)

    assert ask(folder, over).states(JOBS)[JOBS[0]].cause is Cause.TIMEOUT


def test_what_the_queue_has_forgotten_meanwhile_waits_on_and_ends_in_time(
    folder: GridFolder, over: Site
) -> None:
    ask(folder, over).states(JOBS)
    fake_slurm.forget_jobs(over.folder)
    over.now += ACCOUNTS_S - 1

    assert ask(folder, over).states(JOBS)[JOBS[0]] == JobState(
        Phase.RUNNING, None, AWAITS_ACCOUNTS, "n7"
    )
    over.now += 50
    words = "the accounts have not told for 15 min how it ended"
    assert ask(folder, over).states(JOBS)[JOBS[0]] == JobState(
        Phase.ENDED, Cause.UNKNOWN, words, "n7"
    )
    over.now += 50
    assert ask(folder, over).states(JOBS)[JOBS[0]].cause is Cause.UNKNOWN  # it stays so


def test_while_the_accounts_are_away_the_time_does_not_run_out(
    folder: GridFolder, over: Site
) -> None:
    ask(folder, over).states(JOBS)
    fake_slurm.set_no_database(over.folder)
    over.now += ACCOUNTS_S + 1

    state = ask(folder, over).states(JOBS)[JOBS[0]]

    assert (state.phase, state.awaits_accounts) == (Phase.RUNNING, False)
    assert state.detail.startswith(AWAITS_ACCOUNTS)
