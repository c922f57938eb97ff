from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers import backoff, registry
from jobs.schedulers import batch as batch_scheduler
from jobs.schedulers.base import Cause, Job, JobHandle, Phase
from jobs.schedulers.pbs import scheduler as pbs_scheduler
from jobs.schedulers.pbs.scheduler import PbsScheduler
from jobs.schedulers.pbs.script import output_of, script_of
from tests.support import scripted_elements
from tests.support.schedulers.pbs import fake_pbs
from tests.support.schedulers.pbs.sites import TAG, Site, settle

pytestmark = pytest.mark.slow

HOST = "pbs-m1.example.org"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("PATH", str(fake_pbs.install(tmp_path / "site")), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    monkeypatch.setattr(backoff, "PATIENCE_S", 0.0)
    yield Site(tmp_path / "site")
    fake_pbs.close(tmp_path / "site")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- submit


def test_a_single_run_is_no_array_and_its_id_is_kept_as_printed(site: Site) -> None:
    scheduler = site.scheduler()

    (handle,) = scheduler.submit(site.batch("ok"), Resources())

    assert handle == JobHandle("pbs", f"1.{HOST}", 0)
    assert settle(scheduler, [handle])[handle].cause is None
    assert site.calls("qstat")[0] == ["qstat", "--version"]
    assert ["qstat", "-B", "-f"] not in site.calls("qstat")


def test_arrays_are_cut_at_the_servers_limit_and_every_element_runs_once(site: Site) -> None:
    site.configure(max_array_size=3)
    scheduler, told = site.scheduler(), list[Job]()
    batch = site.batch(*["ok"] * 7)

    handles = scheduler.submit(batch, Resources(), told.append)

    assert told == [Job(f"1[].{HOST}", 0, 3), Job(f"2[].{HOST}", 3, 3), Job(f"3.{HOST}", 6, 1)]
    assert [(handle.native_id.split(".")[0], handle.index) for handle in handles][2:] == [
        ("1[]", 2),
        ("2[]", 0),
        ("2[]", 1),
        ("2[]", 2),
        ("3", 0),
    ]
    assert {state.cause for state in settle(scheduler, handles).values()} == {None}
    assert "element 5 as 2[2]." in scripted_elements.log_of(batch.path, 5).read_text()
    assert len(site.calls("qsub")) == 3


def test_what_does_not_fit_the_users_limit_is_left(site: Site) -> None:
    site.configure(max_queued=5, held=True)
    scheduler = site.scheduler()

    handles = scheduler.submit(site.batch(*["ok"] * 12), Resources())

    assert len(handles) == 5  # 12, 6 refused, 3 taken, 3 refused, 1 and 1 taken, 1 refused
    assert len(site.calls("qsub")) == 7


def test_where_a_queue_takes_smaller_arrays_than_the_server_halves_are_taken(site: Site) -> None:
    site.configure(queue_array_size=3, held=True)

    handles = site.scheduler().submit(site.batch(*["ok"] * 8), Resources())

    assert len(set(handles)) == 8  # 8 and 4 are refused, then four arrays of 2
    assert len(site.calls("qsub")) == 6


def test_no_room_at_all_is_an_error_that_says_so(site: Site) -> None:
    site.configure(max_queued=0)

    with pytest.raises(
        SchedulerError,
        match=r"as many jobs in the queue as you may .*would exceed .* limit.*; submit again when",
    ) as caught:
        site.scheduler().submit(site.batch("ok", "ok"), Resources())

    assert not caught.value.transient


@pytest.mark.parametrize(
    ("config", "resources", "said"),
    [
        ({}, Resources(queue="nosuch"), "Unknown queue (name another queue"),
        (
            {"refusal": ["qsub: walltime must be below 1 h (site rule)", 32]},
            Resources(),
            "qsub: walltime must be below 1 h (site rule)",
        ),
        (
            {"resources": ["mem"]},
            Resources(),
            "Unknown resource: ncpus (this site has no such resource",
        ),
    ],
)
def test_a_refusal_is_shown_in_the_servers_words(
    site: Site, config: Any, resources: Resources, said: str
) -> None:
    site.configure(**config)

    with pytest.raises(SchedulerError) as caught:
        site.scheduler().submit(site.batch("ok", "ok"), resources)

    assert said in str(caught.value)
    assert not caught.value.transient


@pytest.mark.parametrize("call", ["submit", "find", "states", "cancel"])
def test_while_the_server_is_down_every_call_says_that_it_may_help_to_wait(
    site: Site, call: str
) -> None:
    scheduler = site.scheduler()
    jobs = [JobHandle("pbs", f"1.{HOST}", 0)]
    batch = site.batch("ok", "ok")
    calls: dict[str, Callable[[], object]] = {
        "submit": lambda: scheduler.submit(batch, Resources()),
        "find": lambda: scheduler.find(TAG),
        "states": lambda: scheduler.states(jobs),
        "cancel": lambda: scheduler.cancel(jobs),
    }
    site.configure(down=True)

    with pytest.raises(SchedulerError, match="cannot connect") as caught:
        calls[call]()

    assert caught.value.transient


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "Connection refused\nqstat: cannot connect to server pbs-m1.example.org (errno=15010)",
            "pbs",
        ),
        ("No Kerberos credentials found", "pbs"),
        (
            "pbsconf error: pbs conf variables not found: PBS_HOME "
            "PBS_EXEC PBS_SERVER\nNo such file or directory\n"
            "qstat: cannot connect to server  (errno=0)",
            "local",
        ),
        ("error: Unknown option -B\nusage: qstat [options]", "local"),  # Grid Engine's
    ],
)
def test_a_login_node_whose_server_is_away_does_not_train_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: str
) -> None:
    for name in ("qsub", "qstat"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(
        "shutil.which", lambda name: str(tmp_path / name) if name == "qsub" else None
    )
    for name in (*registry.job_variables(), registry.PRESET):
        monkeypatch.delenv(name, raising=False)

    assert registry.resolve_name("auto", None) == found
    said_in_plan = "" if found == "pbs" else "qsub is here, but no PBS answers"
    assert registry.note_of_machine("auto", found).startswith(said_in_plan)


def test_jobs_of_another_user_are_found_by_the_tag_or_not_said_to_be_none(site: Site) -> None:
    site.configure(held=True, owner="ada")
    scheduler = site.scheduler()
    scheduler.submit(site.batch("ok", "ok"), Resources())

    assert scheduler.find(TAG) == []
    assert [(job.first, job.size) for job in scheduler.find(TAG, "ada")] == [(0, 2)]

    site.configure(query_other_jobs=False)
    with pytest.raises(SchedulerError, match="ada submitted this, and this server does not show"):
        scheduler.find(TAG, "ada")


def test_no_pbs_here_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerError, match="there is no qstat here: run this on a login node"):
        Site(tmp_path).scheduler().states([JobHandle("pbs", "1", 0)])


def test_an_array_numbered_like_a_job_is_taken_back_and_explained(site: Site) -> None:
    site.configure(bare_ids=True)

    with pytest.raises(
        SchedulerError, match=r"could not be told apart; it was deleted\. Set `max_array_size: 1`"
    ):
        site.scheduler().submit(site.batch("ok", "ok"), Resources())

    assert len(site.scheduler(max_array_size=1).submit(site.batch("ok", "ok"), Resources())) == 2


def test_max_parallel_holds_for_all_arrays_together(site: Site) -> None:
    site.configure(max_array_size=4, held=True)
    batch = site.batch(*["ok"] * 8, max_parallel=4)

    site.scheduler().submit(batch, Resources())

    assert "#PBS -J 0-3%2" in script_of(batch.path, 0).read_text()
    assert "#PBS -J 0-3%2" in script_of(batch.path, 4).read_text()


# ---- the answer is lost


def test_a_job_whose_acceptance_was_never_reported_is_found_by_its_tag(site: Site) -> None:
    site.configure(lose_answer=fake_pbs.CUT, max_array_size=3)
    scheduler = site.scheduler()
    with pytest.raises(SchedulerError) as caught:
        scheduler.submit(site.batch("ok", "ok", "ok", "ok"), Resources())
    assert caught.value.transient

    assert scheduler.find(TAG) == [Job(f"1[].{HOST}", 0, 3)]
    assert scheduler.find("0" * 12) == []


def test_a_qsub_that_does_not_answer_is_given_up_and_may_have_been_heard(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PbsScheduler, "submit_timeout_s", 0.3)
    scheduler = site.scheduler(dialect="pro")
    site.configure(hang_s=5)

    with pytest.raises(SchedulerError, match=r"qsub: no answer after 0\.3 s") as caught:
        scheduler.submit(site.batch("ok"), Resources())

    assert caught.value.transient


@pytest.mark.parametrize("dialect", ["pro", "torque"])
def test_find_sees_ended_jobs_and_single_ones(site: Site, dialect: str) -> None:
    site.configure(dialect=dialect, max_array_size=2)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", "ok", "ok"), Resources())
    settle(scheduler, handles)

    assert scheduler.find(TAG) == [Job(f"1[].{HOST}", 0, 2), Job(f"2.{HOST}", 2, 1)]


def test_find_without_history_sees_what_is_alive(site: Site) -> None:
    site.configure(history=False, held=True)
    scheduler = site.scheduler()
    scheduler.submit(site.batch("ok"), Resources())

    assert scheduler.find(TAG) == [Job(f"1.{HOST}", 0, 1)]


# ---- states


def test_one_call_answers_for_all_jobs(site: Site) -> None:
    site.configure(max_array_size=2, held=True)
    handles = site.scheduler().submit(site.batch(*["ok"] * 5), Resources())
    before = len(site.calls("qstat"))

    states = site.scheduler().states(handles)

    assert {state.phase for state in states.values()} == {Phase.QUEUED}
    (call,) = site.calls("qstat")[before:]
    assert call[1:] == ["-E", "-x", "-t", "-f", "-w", f"1[].{HOST}", f"2[].{HOST}", f"3.{HOST}"]


def test_a_release_without_one_query_for_all_is_asked_the_old_way(site: Site) -> None:
    site.configure(express=False)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", "exit 3"), Resources())

    states = settle(scheduler, handles)

    assert [states[handle].cause for handle in handles] == [None, Cause.CONTINUE]
    refused = [call for call in site.calls("qstat") if "-E" in call]
    assert len(refused) == 1


def test_torque_is_recognised_by_what_it_refuses(site: Site) -> None:
    site.configure(dialect="torque", held=True)
    handles = site.scheduler().submit(site.batch("ok", "ok"), Resources())
    before = len(site.calls("qstat"))

    site.scheduler().states(handles)

    assert [call[1:-1] for call in site.calls("qstat")[before:]] == [
        ["-E", "-x", "-t", "-f", "-w"],
        [],
        ["-f", "-1", "-t"],
    ]
    assert site.calls("qstat")[before + 1] == ["qstat", "--version"]


def test_a_failed_sub_job_is_seen_though_its_array_claims_success(site: Site) -> None:
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("hard_exit 7", "sleep 0.5"), Resources())

    states = settle(scheduler, handles)

    assert [states[handle].cause for handle in handles] == [Cause.EXIT, None]


def test_without_history_what_the_server_no_longer_knows_has_ended(site: Site) -> None:
    site.configure(history=False)
    scheduler = site.scheduler()
    (ended,) = scheduler.submit(site.batch("ok"), Resources())
    wait_until(lambda: scheduler.states([ended])[ended].phase is Phase.ENDED)
    site.configure(held=True)
    (alive,) = scheduler.submit(replace(site.batch("ok"), tag="a" * 12), Resources())

    states = scheduler.states([ended, alive])

    assert (states[ended].phase, states[ended].cause) == (Phase.ENDED, Cause.UNKNOWN)
    assert states[ended].detail == "PBS no longer knows it"
    assert states[alive].phase is Phase.QUEUED


def test_a_job_forgotten_among_known_ones_is_asked_about_by_itself(site: Site) -> None:
    site.configure(held=True)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok"), Resources())
    forgotten = JobHandle("pbs", f"99999.{HOST}", 0)
    before = len(site.calls("qstat"))

    states = scheduler.states([*handles, forgotten])

    assert (states[handles[0]].phase, states[forgotten].phase) == (Phase.QUEUED, Phase.ENDED)
    assert [call[-1] for call in site.calls("qstat")[before:]] == [f"99999.{HOST}", f"99999.{HOST}"]


def test_a_job_of_a_server_that_is_not_known_here_is_alive_and_says_so(site: Site) -> None:
    site.configure(held=True)
    handles = site.scheduler().submit(site.batch("ok"), Resources())
    stranger = JobHandle("pbs", "12[].otherserver.invalid", 0)

    states = site.scheduler().states([*handles, stranger])

    assert states[stranger].phase is Phase.QUEUED
    assert states[stranger].detail.startswith(
        "this PBS does not know the server of 12[].otherserver.invalid"
    )
    assert states[handles[0]].detail == ""


def test_why_a_queued_job_can_never_run_is_shown_for_its_sub_jobs_too(site: Site) -> None:
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", "ok"), Resources(gpus=8))

    state = scheduler.states(handles)[handles[1]]

    assert state.phase is Phase.QUEUED
    assert state.detail == "Can Never Run: Insufficient amount of resource: ngpus (R: 8 A: 4 T: 4)"


# ---- cancel


def test_cancel_names_only_what_is_alive_and_in_ranges(site: Site) -> None:
    site.configure(slots=1)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", *["sleep 60"] * 5), Resources())
    wait_until(lambda: scheduler.states(handles)[handles[0]].phase is Phase.ENDED)

    scheduler.cancel([handles[index] for index in (0, 2, 3, 4)])

    assert site.calls("qdel") == [["qdel", f"1[2-4].{HOST}"]]
    scheduler.cancel(handles)
    states = settle(scheduler, handles)
    assert [states[handle].cause for handle in handles] == [None, *[Cause.CANCELLED] * 5]


def test_an_array_of_which_nothing_else_is_left_is_named_as_a_whole(site: Site) -> None:
    """Of one that waits in H only that was recorded."""
    site.configure(max_array_size=4, held=True)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch(*["ok"] * 5), Resources())
    scheduler.cancel(handles[1:3])
    wait_until(lambda: scheduler.states(handles)[handles[2]].phase is Phase.ENDED)

    scheduler.cancel([handles[index] for index in (0, 3, 4)])

    assert site.calls("qdel") == [["qdel", f"1[1-2].{HOST}"], ["qdel", f"1[].{HOST}", f"2.{HOST}"]]
    assert {state.cause for state in settle(scheduler, handles).values()} == {Cause.CANCELLED}


def test_torque_is_told_apart_which_sub_jobs_of_an_array_to_delete(site: Site) -> None:
    site.configure(dialect="torque", held=True, max_array_size=4)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch(*["ok"] * 5), Resources())

    scheduler.cancel([handles[index] for index in (0, 2, 3, 4)])

    assert site.calls("qdel") == [["qdel", "-t", "0,2-3", f"1[].{HOST}"], ["qdel", f"2.{HOST}"]]


def test_cancelling_jobs_beside_sub_jobs_ends_no_server(site: Site) -> None:
    """One call for jobs and whole arrays, one for ranges of an array, one for each single one."""
    site.configure(max_array_size=4, held=True)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch(*["ok"] * 13), Resources())

    wanted = [handles[index] for index in (1, 4, 6, 7, 8, 9, 10, 11, 12)]
    unheeded = scheduler.cancel(wanted)

    assert unheeded == []
    assert site.calls("qdel") == [
        ["qdel", f"1[1].{HOST}"],
        ["qdel", f"2[2-3].{HOST}"],
        ["qdel", f"2[0].{HOST}"],
        ["qdel", f"3[].{HOST}", f"4.{HOST}"],
    ]
    assert fake_pbs.crashes(site.folder) == []
    states = scheduler.states(handles)
    ended = [handle for handle in handles if states[handle].phase is Phase.ENDED]
    assert ended == wanted


def test_without_history_each_job_is_deleted_by_itself(site: Site) -> None:
    """One that ended a moment ago is not known then, and a list with it ends the server."""
    site.configure(max_array_size=1, held=True, history=False)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", "ok"), Resources())

    scheduler.cancel(handles)

    assert site.calls("qdel") == [["qdel", f"1.{HOST}"], ["qdel", f"2.{HOST}"]]


def test_what_shows_no_sign_of_a_deletion_is_returned(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pbs_scheduler, "PAUSES_S", (0.0, 0.1))
    site.configure(held=True, deaf=True)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok", "ok"), Resources())

    assert scheduler.cancel(handles) == handles


def test_many_calls_of_a_cancellation_are_spread(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_scheduler, "CALLS_AT_ONCE", 1)
    said: list[str] = []
    site.configure(held=True)
    scheduler = site.scheduler(say=said.append)
    handles = scheduler.submit(site.batch(*["ok"] * 5), Resources())

    scheduler.cancel([handles[0], handles[2], handles[4]])

    assert said == ["pbs: 3 calls of qdel, spread over 0 s to spare the server"]


def test_cancelling_what_has_ended_asks_for_nothing(site: Site) -> None:
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok"), Resources())
    settle(scheduler, handles)

    scheduler.cancel(handles)

    assert site.calls("qdel") == []


def test_a_cancelled_run_may_save_and_leave(site: Site) -> None:
    """It ends by itself, before PBS would kill it."""
    site.configure(kill_delay_s=300)
    scheduler = site.scheduler()
    batch = site.batch("sleep 60")
    handles = scheduler.submit(batch, Resources())
    wait_until(lambda: scripted_elements.ready_of(batch.path, 0).exists())

    scheduler.cancel(handles)

    # within its patience, which is shorter than the time until a kill
    assert settle(scheduler, handles)[handles[0]].cause is Cause.CANCELLED


# ---- on the node


def test_before_the_limit_the_program_is_told_to_leave(site: Site) -> None:
    scheduler = site.scheduler(warn_s=1.0)
    batch = site.batch("warned 60")

    handles = scheduler.submit(batch, Resources(walltime_min=5 / 60))

    assert settle(scheduler, handles)[handles[0]].cause is Cause.CONTINUE


def test_temporary_files_go_to_scratch_and_are_removed(site: Site, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    site.configure(scratch=str(scratch))
    scheduler = site.scheduler()

    settle(
        scheduler,
        scheduler.submit(site.batch(f"environment TMPDIR {tmp_path / 'seen'}"), Resources()),
    )

    assert (tmp_path / "seen").read_text().startswith(f"{scratch}/anlp.")
    assert list(scratch.iterdir()) == []


def test_secrets_reach_a_job_by_its_owners_file_alone(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("WANDB_API_KEY=geheim\n")
    file.chmod(0o600)
    scheduler = site.scheduler(env_file=file)
    batch = site.batch(f"environment WANDB_API_KEY {tmp_path / 'seen'}")

    settle(scheduler, scheduler.submit(batch, Resources()))

    assert (tmp_path / "seen").read_text() == "geheim"
    assert "geheim" not in script_of(batch.path, 0).read_text()
    file.chmod(0o640)
    with pytest.raises(SchedulerError, match=f"chmod 600 {file}"):
        scheduler.submit(batch, Resources())


def test_what_a_job_prints_is_found_beside_its_batch(site: Site) -> None:
    site.configure(max_array_size=2)
    scheduler = site.scheduler()
    batch = site.batch("ok", "ok", "ok")
    settle(scheduler, scheduler.submit(batch, Resources()))

    wait_until(lambda: output_of(batch.path, 2, 0).exists())
    assert output_of(batch.path, 0, 1).read_text() == "element 1 prints\n"
    assert output_of(batch.path, 2, 0).read_text() == "element 2 prints\n"


def test_the_script_is_its_owners_and_of_two_files_per_array(site: Site) -> None:
    site.configure(held=True)
    batch = site.batch("ok", "ok")
    site.scheduler().submit(batch, Resources())

    assert sorted(path.name for path in batch.path.parent.iterdir()) == [
        "batch.0.pbs.sh",
        "batch.jsonl",
        "batch.out",
    ]
    assert stat.S_IMODE(script_of(batch.path, 0).stat().st_mode) & 0o022 == 0
