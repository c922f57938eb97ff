"""LSF: texts that are written, texts that are read (made as documented, not recorded), and a
pretended site.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from jobs.common.external import Answer
from jobs.config.packing import Packing
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.runs.options import SubmitOptions
from jobs.schedulers import plugins, registry
from jobs.schedulers.base import Batch, Cause, Job, JobHandle, JobState, Phase
from jobs.schedulers.batch import Piece
from jobs.schedulers.lsf import parse
from jobs.schedulers.lsf.scheduler import LsfScheduler
from jobs.schedulers.lsf.script import Start, render_argv, render_script
from jobs.schedulers.lsf.states import state_of
from jobs.schedulers.profiles import load_profile
from jobs.views.plan import describe
from tests.support import scripted_elements
from tests.support.schedulers.lsf.sites import TAG, Site, settle

BATCH = Batch(TAG, "mnist", Path("/runs/mnist/batches/3.jsonl"), 20)
START = Start(Path("/home/user/work"), ("/venv/bin/python", "-m", "anlp.run"))
FULL = Resources(
    gpus=2,
    cpus=4,
    mem_mib=8192,
    walltime_min=90.0,
    queue="gpu",
    account="physics",
    gpu_type="NVIDIAA100",
    constraint="rhel8",
    exclude="n1,n2",
    extra=("-sp 10",),
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site.install(tmp_path / "site", monkeypatch)
    yield site
    site.close()


def script(resources: Resources = FULL, start: Start = START) -> str:
    return render_script(BATCH, Piece(8, 12, 4), resources, start)


def test_the_script_says_all_that_is_asked_for() -> None:
    assert (
        script()
        == """\
#!/bin/bash
#BSUB -J "mnist.3f2a9c0d1e4b.8[1-12]%4"
#BSUB -q gpu
#BSUB -P physics
#BSUB -n 4
#BSUB -R "select[(rhel8) && hname!='n1' && hname!='n2'] rusage[mem=8192MB] span[hosts=1]"
#BSUB -M 8192MB
#BSUB -gpu "num=2:gmodel=NVIDIAA100"
#BSUB -W 90
#BSUB -wt 2
#BSUB -wa USR2
#BSUB -o "/runs/mnist/batches/3.lsf/%J.%I.out"
#BSUB -r
#BSUB -sp 10
# Runs elements 8 to 19 of /runs/mnist/batches/3.jsonl.
# All of it again: bsub < /runs/mnist/batches/3.8.lsf.sh

# USR2 warns of the time limit; it must not end what does not listen yet
trap '' USR2
cd /home/user/work || exit 72
exec /venv/bin/python -m anlp.run --batch /runs/mnist/batches/3.jsonl \
--index "$((8 + LSB_JOBINDEX - 1))" \
--job "lsf:${LSB_JOBID}[${LSB_JOBINDEX}]"
"""
    )


def test_in_an_image_the_variables_of_lsf_pass() -> None:
    text = script(start=Start(Path("/w"), container=Container(Path("/images/a.sif"))))

    assert '"${!LSB_@}" "${!LSF_@}"' in text
    assert "exec apptainer -q run " in text


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="needs shellcheck: apt-get install shellcheck"
)
def test_shellcheck_has_nothing_to_say_about_it() -> None:
    done = subprocess.run(["shellcheck", "-"], input=script(), capture_output=True, text=True)

    assert done.stdout == ""


def test_what_waits_names_its_jobs_in_the_call_alone() -> None:
    waiting = Batch(TAG, "mnist", BATCH.path, 20, after=("7", "8"))

    argv = render_argv(waiting, Piece(0, 20))

    assert argv[4:] == ["-w", "done(7) && done(8)", "-ti"]
    assert "done" not in script()


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"qos": "high"}, "lsf: qos: LSF has none"),
        ({"nodes": 2}, "lsf: nodes: a run uses one node, got 2"),
        ({"queue": "a b"}, "lsf: queue: expected letters, digits"),
        ({"gpu_type": "a100"}, "lsf: gpu_type: 'a100' needs a number of gpus above 0"),
        ({"exclude": "n[1-3]"}, "lsf: exclude: expected names of nodes with commas"),
        ({"constraint": "a]; rm"}, "lsf: constraint: expected a selection"),
        ({"extra": ("-q normal",)}, "lsf: extra: -q is given by this tool; use queue instead"),
        ({"extra": ("-I",)}, "lsf: extra: -I is given by this tool; it cannot be changed"),
        ({"extra": ("--x=1",)}, "lsf: extra: expected an option of bsub such as '-sp 10'"),
    ],
)
def test_what_lsf_cannot_be_asked_for_is_refused(resources: dict[str, Any], said: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        script(Resources(**resources))

    assert str(caught.value).startswith(said)


def test_a_short_job_is_warned_at_its_limit() -> None:
    assert "-wt" not in script(Resources(walltime_min=2.0))
    assert "-W 2\n#BSUB -o" in script(Resources(walltime_min=1.2))


# ---- what is read; lines made as the documentation describes them


def row(state: str, code: str = "-", reason: str = "-", pending: str = "-") -> JobState:
    text = f"123|2|{state}|{code}|{reason}|4*n7|mnist.{TAG}.0[2]|{pending}"
    return state_of(parse.parse_rows(text)["123", 2])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (row("PEND"), JobState(Phase.QUEUED)),
        (row("PSUSP"), JobState(Phase.QUEUED, None, "held")),
        (row("NEW_IN_11"), JobState(Phase.QUEUED)),
        (row("RUN"), JobState(Phase.RUNNING, node="n7")),
        (row("SSUSP"), JobState(Phase.RUNNING, None, "suspended by LSF", "n7")),
        (row("UNKWN"), JobState(Phase.RUNNING, None, "its host does not answer", "n7")),
        (row("DONE", "0"), JobState(Phase.ENDED, node="n7")),
        (row("EXIT", "1"), JobState(Phase.ENDED, None, "exit code 1", "n7")),
        (row("EXIT", "7"), JobState(Phase.ENDED, Cause.EXIT, "exit code 7", "n7")),
        (
            row("EXIT", "139"),
            JobState(Phase.ENDED, Cause.SIGNAL, "signal 11 (SIGSEGV)", "n7", 11),
        ),
        (
            row("PEND", pending="Dependency condition invalid or never satisfied"),
            JobState(Phase.ENDED, Cause.SKIPPED, "its canary did not pass"),
        ),
        (row("EXIT"), JobState(Phase.ENDED, Cause.UNKNOWN, "LSF does not say how it ended", "n7")),
    ],
)
def test_states_are_understood(found: JobState, expected: JobState) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("TERM_RUNLIMIT: job killed after reaching LSF run time limit", Cause.TIMEOUT),
        ("TERM_MEMLIMIT: job killed after reaching LSF memory usage limit", Cause.OUT_OF_MEMORY),
        ("TERM_OWNER: job killed by owner", Cause.CANCELLED),
        ("TERM_ADMIN: job killed by root or LSF administrator", Cause.CANCELLED),
        ("TERM_PREEMPT: job killed after preemption", Cause.PREEMPTED),
        ("TERM_ZOMBIE: job exited while LSF is not available", Cause.NODE),
        ("TERM_CWD_NOTEXIST: current working directory is not accessible", Cause.NOT_STARTED),
        ("TERM_ORPHAN_SYSTEM: orphan job terminated", Cause.SKIPPED),
        ("TERM_EXTERNAL_SIGNAL: job killed by a signal external to LSF", Cause.SIGNAL),
    ],
)
def test_reasons_go_before_exit_codes(reason: str, cause: Cause) -> None:
    assert row("EXIT", "137", reason).cause is cause


def test_jobs_are_found_by_the_tag_in_their_names() -> None:
    lines = [f"7|{index}|PEND|-|-|-|mnist.{TAG}.0[{index}]|a | b" for index in (1, 3)]
    lines += ["8|0|RUN|-|-|n1|other|-", f"9|1|RUN|-|-|n1|mnist.{TAG}.3[1]|-", "a line of a site"]

    rows = parse.parse_rows("\n".join(lines))

    assert parse.parse_jobs(rows, TAG) == [Job("7", 0, 3), Job("9", 3, 1)]
    assert rows["7", 3].pending == "a | b"


@pytest.mark.parametrize(
    ("err", "is_away", "is_not_taken"),
    [
        ("LSF is down. Please wait ...", True, False),
        (
            "Failed in an LSF library call: A connect sys call failed. Job not submitted.",
            True,
            True,
        ),
        ("nosuch: No such queue. Job not submitted.", False, False),
    ],
)
def test_what_may_be_tried_again_is_told_from_what_may_not(
    err: str, is_away: bool, is_not_taken: bool
) -> None:
    answer = Answer(255, "", err)

    assert (parse.is_away(answer), parse.is_not_taken(answer)) == (is_away, is_not_taken)


# ---- on the pretended site


def test_a_batch_is_cut_at_the_sites_limit_and_every_element_runs_once(site: Site) -> None:
    site.configure(max_array_size=3)
    scheduler, told = site.scheduler(), list[Job]()
    batch = site.batch(*["ok"] * 7)

    handles = scheduler.submit(batch, Resources(), told.append)
    states = settle(scheduler, handles)

    assert told == [Job("101", 0, 3), Job("102", 3, 3), Job("103", 6, 1)]
    assert {state.cause for state in states.values()} == {None}
    assert "element 5 as lsf:102[3]" in scripted_elements.log_of(batch.path, 5).read_text()
    printed = registry.output_path("lsf", batch.path, told[1], 2)
    assert printed is not None
    assert "element 5 prints" in printed.read_text()


def test_what_does_not_fit_the_users_limit_is_left(site: Site) -> None:
    site.configure(max_pending=5, held=True)
    scheduler = site.scheduler()

    handles = scheduler.submit(site.batch(*["ok"] * 12), Resources())

    assert len(handles) == 5
    assert scheduler.notes == (
        "5 of 12 submitted: you have as many jobs in the "
        "queue as you may; 7 wait for the next submit",
    )


def test_a_refusal_is_shown_in_lsfs_words(site: Site) -> None:
    with pytest.raises(SchedulerError) as caught:
        site.scheduler().submit(site.batch("ok"), Resources(queue="nosuch"))

    assert str(caught.value).startswith("lsf: bsub: nosuch: No such queue. Job not submitted.")
    assert not caught.value.transient


def test_while_lsf_is_down_every_call_says_that_it_may_help_to_wait(site: Site) -> None:
    scheduler, jobs = site.scheduler(), [JobHandle("lsf", "101", 0)]
    batch = site.batch("ok", "ok")
    site.configure(down=True)

    for call in (
        lambda: scheduler.submit(batch, Resources()),
        lambda: scheduler.find(TAG),
        lambda: scheduler.states(jobs),
        lambda: scheduler.cancel(jobs),
    ):
        with pytest.raises(SchedulerError) as caught:
            call()
        assert caught.value.transient


def test_a_job_whose_acceptance_was_never_reported_is_found_by_its_tag(site: Site) -> None:
    site.configure(lose_answer=True, held=True)
    scheduler = site.scheduler()
    with pytest.raises(SchedulerError) as caught:
        scheduler.submit(site.batch("ok", "ok"), Resources())

    assert caught.value.transient
    assert scheduler.find(TAG) == [Job("101", 0, 2)]
    assert scheduler.find("0" * 12) == []


def test_jobs_of_another_user_are_found_by_the_tag_or_not_said_to_be_none(site: Site) -> None:
    site.configure(held=True, owner="ada")
    scheduler = site.scheduler()
    scheduler.submit(site.batch("ok", "ok"), Resources())

    assert scheduler.find(TAG) == []
    assert scheduler.find(TAG, "ada") == [Job("101", 0, 2)]

    site.configure(secrecy=4)
    with pytest.raises(SchedulerError, match="ada submitted this, and this cluster hides"):
        scheduler.find(TAG, "ada")


def test_a_variable_that_silences_bsub_hides_no_job(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BSUB_QUIET", "1")

    assert site.scheduler().submit(site.batch("ok"), Resources()) == [JobHandle("lsf", "101", 0)]


def test_what_lsf_has_forgotten_has_ended(site: Site) -> None:
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch("ok"), Resources())
    settle(scheduler, handles)
    site.configure(forgets=True)

    state = scheduler.states(handles)[handles[0]]

    assert state == JobState(Phase.ENDED, Cause.UNKNOWN, "LSF no longer knows it")


def test_cancel_names_ranges_and_one_query_answers_for_all(site: Site) -> None:
    site.configure(held=True, max_array_size=4)
    scheduler = site.scheduler()
    handles = scheduler.submit(site.batch(*["ok"] * 6), Resources())

    scheduler.cancel([handles[index] for index in (0, 2, 3, 5)])
    before = len(site.calls("bjobs"))
    scheduler.states(handles)

    assert site.calls("bkill") == [["101[1,3-4]", "102[2]"]]
    assert [call[-2:] for call in site.calls("bjobs")[before:]] == [["101", "102"]]


def test_a_machine_without_lsf_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerError, match=r"^lsf: there is no bjobs here: run this on a login"):
        LsfScheduler().states([JobHandle("lsf", "1", 0)])


def test_a_login_node_of_lsf_is_found_and_called_experimental(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*registry.job_variables(), registry.PRESET):
        monkeypatch.delenv(name, raising=False)
    for name in ("slurm", "pbs"):  # whose commands may be on this machine as well
        monkeypatch.setattr(plugins.find(name), "is_here", classmethod(lambda _: False))

    assert registry.resolve_name("auto", None) == "lsf"
    assert describe(SubmitOptions(), Packing())[1].startswith("to lsf (experimental)")


def test_the_profile_fills_in_what_a_run_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("scheduler: lsf\nwarn: 5m\nmax_array_size: 10\ndefaults: {account: physics}\n")

    profile = load_profile(str(path))

    assert (profile.scheduler, profile.max_array_size, profile.warn_s) == ("lsf", 10, 300.0)
    assert registry.get_scheduler("lsf", profile=str(path)).name == "lsf"
