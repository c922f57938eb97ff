"""What is tried again and what never is, with programs that stand for Slurm's and fail as they
do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers import backoff
from jobs.schedulers.base import Batch, JobHandle, JobState, Phase
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from tests.support.schedulers.slurm.cluster import make_batch
from tests.support.schedulers.slurm.command_log import Calls, note_calls, put_first

REFUSED = "Batch job submission failed: Unable to contact slurm controller (connect failure)"
LOST = "Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A site that takes every job as number 77, and of which nothing is known afterwards."""
    calls = note_calls(tmp_path / "bin", {"sacct": "/bin/true", "squeue": "/bin/true"})
    put_first(calls.folder, "scontrol", "echo MaxArraySize = 1001")
    put_first(calls.folder, "sbatch", "echo 77")
    monkeypatch.setenv("PATH", f"{calls.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.01)
    return calls


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, "ok")


def fail_at_first(calls: Calls, name: str, words: str, then: str, times: int = 2) -> None:
    """The program fails so often with these words on stderr, and then does what the line says."""
    counted = f'[ "$(grep -c "^{name}" "{calls.folder}/calls")" -gt {times} ]'
    put_first(
        calls.folder,
        name,
        f"{counted} && {{ {then}; exit; }}\necho '{name}: error: {words}' >&2\nexit 1",
    )


@pytest.mark.parametrize(
    ("name", "then"), [("sbatch", "echo 77"), ("scontrol", "echo MaxArraySize = 1001")]
)
def test_a_call_that_was_not_taken_is_made_again_and_said(
    calls: Calls, batch: Batch, name: str, then: str
) -> None:
    fail_at_first(calls, name, REFUSED, then)
    said: list[str] = []

    handles = SlurmScheduler(say=said.append).submit(batch, Resources())

    assert handles == [JobHandle("slurm", "77", 0)]
    assert {word.split()[0]: number for word, number in calls.look().items()}[name] == 3
    assert ["connect failure); trying again in" in words for words in said] == [True, True]


def test_patience_has_an_end_and_what_was_never_taken_is_no_open_question(
    calls: Calls, batch: Batch
) -> None:
    fail_at_first(calls, "sbatch", REFUSED, "echo 77", times=1000)

    with pytest.raises(SchedulerError, match="it took nothing, submit again later") as raised:
        SlurmScheduler(patience_s=0.3, say=lambda _: None).submit(batch, Resources())

    assert not raised.value.transient
    assert 2 < calls.look()["sbatch"] < 20


@pytest.mark.parametrize("name", ["scontrol", "sbatch"])
def test_a_machine_without_slurm_is_told_as_such(
    calls: Calls, batch: Batch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (calls.folder / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(calls.folder))
    (calls.folder / name).unlink()

    with pytest.raises(
        SchedulerError, match=f"^slurm: there is no {name} here: run this on a login node"
    ):
        SlurmScheduler(say=lambda _: None).submit(batch, Resources())


def test_a_call_whose_answer_was_lost_is_never_made_again(calls: Calls, batch: Batch) -> None:
    fail_at_first(calls, "sbatch", LOST, "echo 78")

    with pytest.raises(SchedulerError, match="Socket timed out") as raised:
        SlurmScheduler().submit(batch, Resources())

    assert raised.value.transient
    assert calls.look()["sbatch"] == 1


@pytest.mark.slow
def test_the_jobs_of_a_submission_are_looked_for_when_its_sbatch_has_ended(
    calls: Calls, tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    put_first(calls.folder, "squeue", f"[ -e {ended} ] && echo '77|0-3|grid.0123456789ab.0'")
    line = (
        "import pathlib, time; print(flush=True); time.sleep(0.7); "
        f"pathlib.Path({str(ended)!r}).touch()"
    )
    argv = [sys.executable, "-c", line, "--job-name=grid.0123456789ab.0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the system shows its arguments by now
        found = SlurmScheduler().find("0123456789ab")

    assert [(job.native_id, job.size) for job in found] == [("77", 4)]


@pytest.mark.parametrize("hides", ["queue", "accounts"])
def test_jobs_of_another_user_are_found_by_the_tag_or_not_said_to_be_none(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, hides: str
) -> None:
    of_ada = '*"-u ada"*) echo "77|0-3|grid.0123456789ab.0" ;;'
    put_first(calls.folder, "squeue", f'case "$*" in {of_ada} esac')
    put_first(calls.folder, "scontrol", "echo PrivateData = none")
    put_first(calls.folder, "sacctmgr", "echo PrivateData = none")
    monkeypatch.setattr(os, "getuid", lambda: 1)  # root sees all
    scheduler = SlurmScheduler()

    assert scheduler.find("0123456789ab") == []
    assert [job.size for job in scheduler.find("0123456789ab", "ada")] == [4]

    name = {"queue": "scontrol", "accounts": "sacctmgr"}[hides]
    put_first(calls.folder, name, "echo PrivateData = accounts,jobs")
    with pytest.raises(
        SchedulerError, match="ada submitted this, and this cluster hides"
    ) as hidden:
        scheduler.find("0123456789ab", "ada")
    assert hidden.value.transient
    assert scheduler.find("0123456789ab") == []  # of one's own nothing is hidden


def test_a_cancellation_that_is_denied_is_no_success(calls: Calls) -> None:
    denied = "scancel: error: Kill job error on job id 77_[0]: Access/permission denied"
    put_first(calls.folder, "scancel", f"echo '{denied}' >&2; exit 210")

    with pytest.raises(SchedulerError, match="some of these jobs are another user's, and stay"):
        SlurmScheduler().cancel([JobHandle("slurm", "77", 0)])


def test_who_is_alive_by_the_queue_is_not_looked_up_in_the_accounts(calls: Calls) -> None:
    put_first(
        calls.folder, "squeue", "echo '77|0-9|PENDING||Resources'; echo '77|10|RUNNING|n1|None'"
    )
    jobs = [JobHandle("slurm", "77", index) for index in range(11)]
    scheduler = SlurmScheduler()

    states = scheduler.states(jobs)
    alive = calls.look()
    scheduler.states([*jobs, JobHandle("slurm", "77", 11)])

    assert states[jobs[10]] == JobState(Phase.RUNNING, node="n1")
    assert (alive, calls.look()) == ({"squeue": 1}, {"squeue": 1, "sacct": 1})
