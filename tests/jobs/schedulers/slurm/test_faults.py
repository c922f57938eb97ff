"""The real Slurm when things go wrong: limits, lost answers, controllers that are away; and how
often it is asked.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.runs.journal import new_tag
from jobs.schedulers.base import ACCOUNTS_AWAY, Cause, Job, JobHandle, JobState, Phase
from jobs.schedulers.slurm.script import output_of
from tests.support.schedulers.slurm.cluster import (
    NODES,
    PATIENCE_S,
    Cluster,
    make_batch,
    make_scheduler,
    settle,
)

pytestmark = pytest.mark.slow
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sacctmgr")
HELD = Resources(extra=("--hold",))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How often each of Slurm's commands has been called since the last look."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        put_first(folder / name, f'echo {name} >>"{folder}/calls"; exec /usr/bin/{name} "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def look() -> Counter[str]:
        log = folder / "calls"
        found = Counter(log.read_text().split()) if log.exists() else Counter[str]()
        log.unlink(missing_ok=True)
        return found

    return look


def put_first(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture
def tidy(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """Takes the jobs of this test alone out of the queue: others may be at work."""
    yield
    lines = [
        line.partition("|") for line in cluster.ask("squeue", "-h", "-o", "%F|%o").splitlines()
    ]
    ids = {array for array, _, command in lines if str(tmp_path) in command}
    if ids:
        cluster.ask("scancel", *ids)


def test_an_array_of_twenty_elements_runs_to_its_end_each_exactly_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    batch = make_batch(tmp_path, *["ok"] * 20, max_parallel=8)
    scheduler = make_scheduler()

    handles = scheduler.submit(batch, Resources())
    states = settle(scheduler, handles)

    assert {(state.phase, state.cause) for state in states.values()} == {(Phase.ENDED, None)}
    assert {state.node for state in states.values()} <= {
        f"{NODES}{number}" for number in range(1, 5)
    }
    assert len(list(batch.path.with_suffix(".slurm").glob("*.out"))) == 20


def test_ten_thousand_elements_take_ten_submissions_and_one_query(
    cluster: Cluster, tidy: None, calls: Callable[[], Counter[str]], tmp_path: Path
) -> None:
    batch = make_batch(tmp_path, *["ok"] * 10_000, max_parallel=100)
    scheduler = make_scheduler()

    began = time.monotonic()
    handles = scheduler.submit(batch, HELD)
    submitted_s = time.monotonic() - began
    submitting = calls()
    began = time.monotonic()
    states = scheduler.states(handles)
    asked_s = time.monotonic() - began
    asking = calls()
    scheduler.cancel(handles)
    found = scheduler.find(batch.tag)

    print(f"submitted in {submitted_s:.2f} s, asked in {asked_s:.2f} s")
    assert (len(handles), set(states.values())) == (10_000, {JobState(Phase.QUEUED)})
    assert submitting == {"scontrol": 1, "sbatch": 10}
    assert asking == {"squeue": 1}
    assert calls() == {"scancel": 1, "squeue": 1, "sacct": 1}
    assert [job.first for job in found] == list(range(0, 10_000, 1001))
    assert len(list(batch.path.with_suffix(".slurm").iterdir())) == 1
    assert (submitted_s < 60, asked_s < 30) == (True, True)


def test_arrays_share_how_many_may_run_at_a_time(
    cluster: Cluster, tidy: None, tmp_path: Path
) -> None:
    handles = make_scheduler().submit(make_batch(tmp_path, *["ok"] * 1500, max_parallel=20), HELD)

    ids = ",".join(dict.fromkeys(handle.native_id for handle in handles))
    assert cluster.ask("squeue", "-h", "-j", ids, "-o", "%K").split() == ["0-498%10", "0-1000%10"]


def test_more_arrays_than_may_run_at_a_time_wait_for_each_other(
    cluster: Cluster, tidy: None, tmp_path: Path
) -> None:
    handles = make_scheduler().submit(make_batch(tmp_path, *["ok"] * 3500, max_parallel=3), HELD)

    ids = list(dict.fromkeys(handle.native_id for handle in handles))
    lines = cluster.ask("squeue", "-h", "-S", "i", "-j", ",".join(ids), "-o", "%K %E").splitlines()
    assert [line.split()[0] for line in lines] == ["0-1000%1", "0-1000%1", "0-1000%1", "0-496%1"]
    assert ["afterany" in line for line in lines] == [False, False, False, True]
    assert f"afterany:{ids[0]}" in lines[3]


def test_what_the_users_limit_does_not_admit_is_left_for_the_next_submit(
    cluster: Cluster, tidy: None, tmp_path: Path
) -> None:
    scheduler = make_scheduler()
    tiny = Resources(qos="tiny", extra=("--hold",))

    handles = scheduler.submit(make_batch(tmp_path, *["ok"] * 7), tiny)

    assert [handle.index for handle in handles] == [0, 1, 2, 3, 4]
    assert scheduler.notes == (
        "5 of 7 submitted: you have as many jobs in the queue "
        "as you may; 2 wait for the next submit",
    )
    with pytest.raises(SchedulerError, match="submit again when some have ended"):
        scheduler.submit(make_batch(tmp_path, "ok"), tiny)


def test_a_submission_whose_answer_was_lost_is_found_by_its_tag_and_not_repeated(
    cluster: Cluster, tidy: None, calls: Callable[[], Counter[str]], tmp_path: Path
) -> None:
    lost = (
        'echo sbatch >>"$0.calls"; /usr/bin/sbatch "$@" >/dev/null; '
        'echo "sbatch: error: Socket timed out" >&2; exit 1'
    )
    put_first(tmp_path / "bin" / "sbatch", lost)
    batch = make_batch(tmp_path, *["ok"] * 3)
    scheduler = make_scheduler()

    with pytest.raises(SchedulerError, match="Socket timed out") as raised:
        scheduler.submit(batch, HELD)
    found = scheduler.find(batch.tag)

    assert raised.value.transient
    assert (tmp_path / "bin" / "sbatch.calls").read_text() == "sbatch\n"
    assert [(job.first, job.size) for job in found] == [(0, 3)]
    last = JobHandle("slurm", found[0].native_id, 2)
    assert scheduler.states([last]) == {last: JobState(Phase.QUEUED)}
    assert scheduler.find("0" * 12) == []


def test_what_was_accepted_before_an_error_was_told(
    cluster: Cluster, tidy: None, calls: Callable[[], Counter[str]], tmp_path: Path
) -> None:
    told: list[Job] = []

    def refuse_more(job: Job) -> None:
        told.append(job)
        put_first(
            tmp_path / "bin" / "sbatch",
            'echo "sbatch: error: Access/permission denied" >&2; exit 1',
        )

    with pytest.raises(
        SchedulerError, match="Access/permission denied: you may not use that queue or account"
    ):
        make_scheduler().submit(make_batch(tmp_path, *["ok"] * 1500), HELD, refuse_more)

    assert [(job.first, job.size) for job in told] == [(0, 1001)]


def test_while_the_accounts_are_away_the_queue_still_counts(
    cluster_alone: Cluster, tmp_path: Path
) -> None:
    scheduler = make_scheduler()
    handles = scheduler.submit(make_batch(tmp_path, "ok", "sleep 60", "exit 7"), Resources())
    wait_for_states(cluster_alone, handles, "COMPLETED FAILED RUNNING")
    cluster_alone.act("stop-accounts")
    before = time.monotonic()
    states = scheduler.states(handles)
    took_s, notes = time.monotonic() - before, scheduler.notes
    cluster_alone.act("start-accounts")

    # of what is over, only the accounts know how it ended
    over = (Phase.RUNNING, ACCOUNTS_AWAY)
    told = [(states[handle].phase, states[handle].detail) for handle in handles]
    assert told == [over, (Phase.RUNNING, ""), over]
    assert ["Problem talking to the database" in note for note in notes] == [True]
    assert took_s < 30  # sacct would wait for minutes
    assert settle(scheduler, handles[2:])[handles[2]].cause is Cause.EXIT
    assert scheduler.notes == ()
    scheduler.cancel(handles)


def wait_for_states(cluster: Cluster, handles: list[JobHandle], words: str) -> None:
    """Returns when the queue shows these states and no others."""
    array, deadline = handles[0].native_id, time.monotonic() + PATIENCE_S
    while (
        cluster.ask("squeue", "-h", "-t", "all", "-j", array, "-o", "%T").split() != words.split()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_output_folder_that_is_gone_is_named_as_the_reason(
    cluster: Cluster, tmp_path: Path
) -> None:
    batch = make_batch(tmp_path, "ok")
    scheduler = make_scheduler()

    handles = scheduler.submit(batch, HELD)
    output = output_of(batch.path, handles[0].native_id, 0)
    output.parent.rename(tmp_path / "elsewhere")
    cluster.ask("scontrol", "release", handles[0].native_id)
    state = settle(scheduler, handles)[handles[0]]

    assert (state.cause, state.detail.split(" on ")[0]) == (
        Cause.NOT_STARTED,
        "could not write its output file",
    )


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (
            Resources(queue="nope"),
            "invalid partition specified: nope; Invalid partition name specified: choose a queue",
        ),
        (Resources(gpus=9), "Requested node configuration is not available: no node of the queue"),
        (
            Resources(gpus=1, gpu_type="a100"),
            "Requested node configuration is not available: no node of the queue",
        ),
        (
            Resources(queue="short", walltime_min=60),
            "Requested time limit is invalid .*: the queue's limit is shorter",
        ),
        (Resources(account="nobody"), "Invalid account .*: choose an account that"),
        (Resources(constraint="a100"), "Invalid feature specification: no node has that feature"),
        (
            Resources(extra=("--nonsense=1",)),
            "unrecognized option '--nonsense=1': this Slurm knows no such option",
        ),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(
    cluster: Cluster, tmp_path: Path, resources: Resources, words: str
) -> None:
    with pytest.raises(SchedulerError, match=words) as raised:
        make_scheduler().submit(make_batch(tmp_path, "ok"), resources)

    assert "\n" not in str(raised.value)
    assert not raised.value.transient


def test_another_users_jobs_are_found_and_where_they_are_hidden_nothing_is_concluded(
    cluster_alone: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("games", "daemon"):  # that every Debian has
        cluster_alone.ask("sh", "-c", f"sacctmgr -i add user {user} account=lab || true")
    tag = new_tag()
    monkeypatch.chdir("/")
    cluster_alone.ask(
        *as_user("games"),
        *("sbatch", "--parsable", "--hold", "--array=0-2", "--output=/dev/null"),
        *(f"--job-name=grid.{tag}.0", "--wrap=true"),
    )
    become_daemon(tmp_path, monkeypatch)
    scheduler = make_scheduler()

    assert scheduler.find(tag) == []
    (found,) = scheduler.find(tag, "games")
    assert (found.first, found.size) == (0, 3)
    with pytest.raises(SchedulerError, match="some of these jobs are another user's"):
        scheduler.cancel([JobHandle("slurm", found.native_id, 0)])

    configuration = Path(os.environ["SLURM_CONF"])
    shown = configuration.read_text()
    configuration.write_text(f"{shown}PrivateData=jobs\n")
    try:
        cluster_alone.ask("/usr/bin/scontrol", "reconfigure")
        with pytest.raises(SchedulerError, match="this cluster hides the jobs of others from you"):
            scheduler.find(tag, "games")
    finally:
        configuration.write_text(shown)
        cluster_alone.ask("/usr/bin/scontrol", "reconfigure")
        cluster_alone.ask("/usr/bin/scancel", found.native_id)


PLUGIN = """\
function slurm_job_submit(job, partitions, uid)
    slurm.log_user("Welcome to the cluster")
    job.name = "renamed"
    job.time_limit = 3
    if job.features == "never" then
        slurm.log_user("no jobs of that kind, see the docs")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
return slurm.SUCCESS
"""


@pytest.fixture
def plugin(cluster_alone: Cluster) -> Iterator[None]:
    """The site rewrites every job, and prints a line for each."""
    configuration = Path(os.environ["SLURM_CONF"])
    before = configuration.read_text()
    script = configuration.with_name("job_submit.lua")
    script.write_text(PLUGIN)
    configuration.write_text(f"{before}JobSubmitPlugins=lua\n")
    try:
        cluster_alone.ask("scontrol", "reconfigure")
        yield
    finally:
        configuration.write_text(before)
        cluster_alone.ask("scontrol", "reconfigure")
        script.unlink()


def test_a_site_that_rewrites_jobs_and_prints_lines_loses_none(
    cluster_alone: Cluster, plugin: None, tmp_path: Path
) -> None:
    scheduler, batch = make_scheduler(), make_batch(tmp_path, "ok", "ok")

    handles = scheduler.submit(batch, Resources(walltime_min=10, extra=("--hold",)))

    assert scheduler.notes == ("sbatch: Welcome to the cluster",)
    asked = cluster_alone.ask("squeue", "-h", "-j", handles[0].native_id, "-o", "%j|%l")
    assert asked.split() == ["renamed|3:00"]
    assert scheduler.find(batch.tag) == [Job(handles[0].native_id, 0, 2)]
    scheduler.cancel(handles)

    with pytest.raises(SchedulerError, match="no jobs of that kind, see the docs") as raised:
        scheduler.submit(make_batch(tmp_path, "ok"), Resources(constraint="never"))
    assert not raised.value.transient


def as_user(name: str) -> list[str]:
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


def become_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Slurm's commands be called by a user without rights."""
    folder = tmp_path / "as-daemon"
    folder.mkdir()
    for name in ("squeue", "sacct", "sacctmgr", "scontrol", "scancel"):
        command = shlex.join([*as_user("daemon"), f"/usr/bin/{name}"])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "getuid", lambda: 1)


def test_the_users_own_variables_change_nothing(
    cluster: Cluster, tidy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler()
    with monkeypatch.context() as shell:
        for name, value in {
            "SBATCH_TIMELIMIT": "1",
            "SBATCH_SIGNAL": "INT@10",
            "SBATCH_NO_REQUEUE": "1",
            "SBATCH_GPUS": "2",
            "SBATCH_GRES": "gpu:1",
            "SBATCH_CPUS_PER_GPU": "1",
            "SBATCH_EXCLUSIVE": "user",
            "SBATCH_ERROR": str(tmp_path / "err.txt"),
            "SBATCH_MEM_PER_CPU": "9G",
            "SBATCH_JOB_NAME": "mine",
            "SBATCH_PARTITION": "low",
            "SLURM_CLUSTERS": "elsewhere",
            "SLURM_EXIT_ERROR": "0",
            "SLURM_JOB_ID": "1",
            "SQUEUE_STATES": "RUNNING",
            "SQUEUE_FORMAT": "%j",
            "SACCT_FORMAT": "JobName",
            "SCANCEL_STATE": "RUNNING",
        }.items():
            shell.setenv(name, value)
        handles = scheduler.submit(
            make_batch(tmp_path, "ok"), Resources(walltime_min=7, extra=("--hold",))
        )
        waiting = scheduler.states(handles)[handles[0]]
        scheduler.cancel(handles)
        cancelled = scheduler.states(handles)[handles[0]]

    text = cluster.ask("scontrol", "show", "job", handles[0].native_id)
    job = dict(word.split("=", 1) for word in text.split() if "=" in word)
    assert (waiting, cancelled.cause) == (JobState(Phase.QUEUED), Cause.CANCELLED)
    assert (job["TimeLimit"], job["Requeue"], job["Partition"]) == ("00:07:00", "1", "test")
    assert "gpu" not in text
    assert (job["OverSubscribe"], job["StdErr"]) == ("OK", job["StdOut"])
