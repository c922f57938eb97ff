"""What is written for Slurm and read from it: golden scripts, recorded answers, refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers.base import (
    ACCOUNTS_AWAY,
    AWAITS_ACCOUNTS,
    NOT_KNOWN,
    Batch,
    Cause,
    Job,
    JobState,
    Phase,
)
from jobs.schedulers.slurm import errors as refusals
from jobs.schedulers.slurm import parse
from jobs.schedulers.slurm.environment import variables_over
from jobs.schedulers.slurm.script import (
    SlurmOptions,
    directives_of,
    limit_min,
    parse_extra,
    render_call,
    render_script,
)
from jobs.schedulers.slurm.states import Accounts, QueueSnapshot, task_state

SLURM = Path(__file__).parent
BATCH = Batch("0123456789ab", "mnist", Path("/home/user/runs/mnist/batches/3.jsonl"), 20, 4)
WORK = Path("/home/user/my work")
PYTHON = SlurmOptions(python=("/home/user/venv/bin/python",))
FULL = Resources(
    gpus=2,
    cpus=4,
    mem_mib=8192,
    walltime_min=90.5,
    queue="gpu",
    account="physics",
    qos="high",
    gpu_type="a100",
    constraint="[fast|new]",
    exclude="n[1-3],n7",
    nodes=1,
    extra=("--reservation=course", "--exclusive"),
)
SCRIPTS = {
    "plain.sh": render_script(BATCH, Resources(), PYTHON, WORK),
    "full.sh": render_script(
        BATCH, FULL, SlurmOptions(("apptainer", "exec", "/images/a b.sif", "python")), WORK
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_the_golden_one(name: str) -> None:
    assert SCRIPTS[name] == (SLURM / "golden" / name).read_text()


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="needs shellcheck: apt-get install shellcheck"
)
def test_shellcheck_has_nothing_to_say_about_the_script(name: str) -> None:
    done = subprocess.run(["shellcheck", "-"], input=SCRIPTS[name], capture_output=True, text=True)

    assert done.stdout == ""


def test_the_call_names_the_array_by_its_tag_and_first_element() -> None:
    argv = render_call(BATCH, Path("/b/job.sh"), range(1001, 1500), 5)

    assert argv == [
        *("sbatch", "--parsable", "--job-name=mnist.0123456789ab.1001", "--array=0-498%5"),
        *("/b/job.sh", "1001", "mnist.0123456789ab.1001"),
    ]


def test_what_waits_for_others_is_ended_by_slurm_when_they_fail() -> None:
    argv = render_call(replace(BATCH, after=("7", "9")), Path("/b/job.sh"), range(2))

    assert argv[4:6] == ["--dependency=afterok:7:9", "--kill-on-invalid-dep=yes"]


def test_an_array_behind_another_waits_for_its_end_however_it_ends() -> None:
    alone = render_call(BATCH, Path("/b/job.sh"), range(2), 1, "8")
    behind_canary = render_call(replace(BATCH, after=("7",)), Path("/b/job.sh"), range(2), 1, "8")

    assert alone[4:-3] == ["--dependency=afterany:8"]
    assert behind_canary[4:-3] == ["--dependency=afterok:7,afterany:8", "--kill-on-invalid-dep=yes"]


@pytest.mark.parametrize(
    ("minutes", "limit"), [(None, None), (0.1, 1), (1, 1), (60, 60), (60.01, 61)]
)
def test_time_limits_are_whole_minutes_and_never_shorter_than_asked_for(
    minutes: float | None, limit: int | None
) -> None:
    assert limit_min(Resources(walltime_min=minutes)) == limit


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(queue="a\nb"), "partition: 'a\\\\nb' cannot stand in a job script"),
        (Resources(queue="a\r"), "partition"),
        (Resources(constraint="a'b"), "constraint"),
        (Resources(account="$HOME"), "account"),
        (Resources(exclude=""), "exclude: '' cannot stand in a job script: it is empty"),
        (Resources(gpu_type="a100"), "gpu_type: 'a100' needs a number of gpus above 0"),
        (Resources(extra=("--comment=a\nb",)), "comment"),
    ],
)
def test_what_a_script_cannot_carry_is_refused(resources: Resources, words: str) -> None:
    with pytest.raises(SchedulerError, match=words):
        render_script(BATCH, resources, PYTHON, WORK)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--time=5", "--time is given by this tool; use time instead"),
        ("--out=x", "--out is given by this tool; it cannot be changed"),
        ("--mem-per-cpu=2G", "--mem-per-cpu is given by this tool; use mem instead"),
        ("--clusters=other", "--clusters is given by this tool; it cannot be changed"),
        ("-p x", "expected --option=value or --option, got '-p x'"),
        ("hold", "expected --option=value"),
    ],
)
def test_options_that_the_tool_gives_cannot_be_passed_on(option: str, words: str) -> None:
    with pytest.raises(SchedulerError, match=words):
        parse_extra([option])


def test_no_option_that_the_tool_gives_can_be_given_twice() -> None:
    given = dict(directives_of(BATCH, replace(FULL, extra=()), PYTHON, WORK))

    for name in given:
        with pytest.raises(SchedulerError, match=f"--{name} is given by"):
            parse_extra([f"--{name}=1"], has_gpus=True)


def test_other_options_are_passed_on_as_they_are() -> None:
    found = parse_extra(["--exclusive", "--mail-type=END", "--gres=ssd:1", "--nodelist=n[1,2]"])

    assert found == [
        ("exclusive", None),
        ("mail-type", "END"),
        ("gres", "ssd:1"),
        ("nodelist", "n[1,2]"),
    ]
    with pytest.raises(SchedulerError, match="--gres is given by gpus and gpu_type here"):
        parse_extra(["--gres=ssd:1"], has_gpus=True)


def test_what_waits_for_a_canary_waits_for_nothing_else() -> None:
    resources = Resources(extra=("--dependency=afterok:4",))

    assert "#SBATCH --dependency=afterok:4" in render_script(BATCH, resources, PYTHON, WORK)
    with pytest.raises(SchedulerError, match="--dependency is given by --canary here"):
        render_script(replace(BATCH, after=("7",)), resources, PYTHON, WORK)


def test_a_percent_in_a_path_is_no_pattern_of_slurm() -> None:
    batch = Batch("0123456789ab", "g", Path("/a%j/runs/g/batches/1.jsonl"), 1)

    assert "#SBATCH --output=/a%%j/runs/g/batches/1.slurm/%A_%a.out\n" in render_script(
        batch, Resources(), PYTHON, WORK
    )


def test_the_variables_that_would_override_the_script_are_known() -> None:
    script = render_script(BATCH, Resources(walltime_min=5, mem_mib=9), PYTHON, WORK)

    names = variables_over(script)

    assert {"SBATCH_TIMELIMIT", "SBATCH_MEM_PER_NODE", "SBATCH_SIGNAL", "SBATCH_OPEN_MODE"} <= set(
        names
    )
    assert "SBATCH_PARTITION" not in names


STATES: dict[tuple[str, int], tuple[Any, ...]] = {
    ("92", 0): (None, "", "n1"),
    ("92", 1): (Cause.CONTINUE, "it saved a checkpoint and left", "n1"),
    ("92", 2): (Cause.TIMEOUT, "reached its time limit (n1)", "n1"),
    ("92", 3): (Cause.OUT_OF_MEMORY, "used more memory than it asked for (n1)", "n1"),
    ("92", 4): (Cause.CANCELLED, "cancelled by user 0", "n1"),
    ("92", 5): (Cause.SIGNAL, "signal 11 (SIGSEGV)", "n1", 11),
    ("92", 6): (None, "another process is training it", "n1"),
    ("92", 7): (
        Cause.OUT_OF_MEMORY,
        "used more memory than it asked for (n1)",
        "n1",
    ),  # of its step
    ("92", 8): (Cause.EXIT, "exit code 7", "n1"),
    ("94", 0): (
        Cause.NOT_STARTED,
        "could not write its output file on n1: is the folder there?",
        "n1",
    ),
    ("95", 3): (Cause.CANCELLED, "cancelled by user 0 before it started", ""),
    ("96", 2): (Cause.SKIPPED, "its canary did not pass", ""),
    ("97", 0): (Cause.NOT_STARTED, "exit code 127: a program was not found on the node", "n1"),
}


@pytest.mark.parametrize("element", STATES)
def test_recorded_answers_of_sacct_are_understood(element: tuple[str, int]) -> None:
    rows = parse.parse_sacct((SLURM / "recorded" / "sacct.txt").read_text())

    assert parse.state_from_row(rows[element]) == JobState(Phase.ENDED, *STATES[element])


def test_recorded_answers_of_squeue_are_understood() -> None:
    rows = parse.parse_squeue((SLURM / "recorded" / "squeue.txt").read_text())

    assert {index: rows["93", index].state for index in range(10)} == dict.fromkeys(
        range(10), "PENDING"
    )
    assert (rows["92", 4].state, rows["92", 9].state) == ("COMPLETING", "RUNNING")
    assert parse.state_from_row(rows["92", 9]) == JobState(Phase.RUNNING, node="n1")
    assert parse.state_from_row(rows["96", 4]).cause is Cause.SKIPPED


Rows = dict[parse.Element, parse.Row]
AWAITING = JobState(Phase.RUNNING, None, AWAITS_ACCOUNTS, "n1")
CANARY = JobState(Phase.ENDED, Cause.SKIPPED, "its canary did not pass")


def row(state: str, index: int = 0, nodes: str = "n1", reason: str = "") -> Rows:
    return {("5", index): parse.Row(("5", index), state, nodes=nodes, reason=reason)}


def waiting(reason: str = "Resources") -> Rows:
    return row("PENDING", nodes="", reason=reason)


@pytest.mark.parametrize(
    ("queued", "recorded", "state"),
    [
        ({}, {}, JobState(Phase.QUEUED, None, NOT_KNOWN)),  # of an unknown array
        (
            waiting(),
            row("NODE_FAIL"),
            JobState(Phase.QUEUED),
        ),  # requeued, and the accounts are late
        (row("COMPLETING"), row("RUNNING"), JobState(Phase.RUNNING, node="n1")),
        (row("FAILED"), {}, AWAITING),  # why is not on record yet
        # sacct means the last to start
        (row("FAILED"), row("COMPLETED", parse.WHOLE), AWAITING),
        (row("COMPLETED"), {}, AWAITING),  # its steps may have been killed
        (row("CANCELLED"), {}, AWAITING),
        (row("NEWFANGLED"), {}, JobState(Phase.QUEUED, node="n1")),
        ({}, row("REQUEUED", nodes=""), JobState(Phase.QUEUED)),
        (
            row("RUNNING", 1),
            row("RUNNING", 1),
            JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started"),
        ),
        # other accounts answer, or they lag: that it was cancelled does not follow
        (row("RUNNING", 1), {}, JobState(Phase.RUNNING, None, AWAITS_ACCOUNTS)),
        (
            {},
            row("CANCELLED by 7", parse.WHOLE, nodes=""),
            JobState(Phase.ENDED, Cause.CANCELLED, "cancelled by user 7 before it started"),
        ),
        (
            {},
            row("PREEMPTED"),
            JobState(Phase.ENDED, Cause.PREEMPTED, "preempted by another job (n1)", "n1"),
        ),
        ({}, row("NODE_FAIL"), JobState(Phase.ENDED, Cause.NODE, "its node failed (n1)", "n1")),
        (
            {},
            row("LAUNCH_FAILED"),
            JobState(
                Phase.ENDED, Cause.NOT_STARTED, "could not be launched on its node (n1)", "n1"
            ),
        ),
        (
            {},
            row("FAILED", nodes=""),
            JobState(Phase.ENDED, Cause.NOT_STARTED, "ended before it had a node"),
        ),
        (waiting(parse.NEVER), {}, CANARY),
        (row("CANCELLED", nodes="", reason=parse.NEVER), {}, CANARY),
        ({}, row("CANCELLED", nodes=""), CANARY),
        ({}, row("CANCELLED", parse.WHOLE, nodes=""), CANARY),
    ],
)
def test_a_task_is_judged_by_the_queue_first_and_then_by_the_accounts(
    queued: Rows, recorded: Rows, state: JobState
) -> None:
    assert task_state(("5", 0), QueueSnapshot(queued, recorded)) == state


@pytest.mark.parametrize(
    ("queued", "state"),
    [
        (row("RUNNING"), JobState(Phase.RUNNING, node="n1")),
        (row("TIMEOUT"), JobState(Phase.ENDED, Cause.TIMEOUT, "reached its time limit (n1)", "n1")),
        (
            row("FAILED", reason="NonZeroExitCode"),
            JobState(
                Phase.ENDED,
                Cause.UNKNOWN,
                "this cluster keeps no accounts that would say why it ended",
                "n1",
            ),
        ),
        (
            {},
            JobState(
                Phase.ENDED,
                Cause.UNKNOWN,
                "this cluster keeps no accounts that would say why it ended",
            ),
        ),
    ],
)
def test_where_no_accounts_are_kept_the_queue_says_what_it_knows(
    queued: Rows, state: JobState
) -> None:
    assert task_state(("5", 0), QueueSnapshot(queued, accounts=Accounts.NONE)) == state


@pytest.mark.parametrize(
    ("queued", "state"),
    [
        (waiting(), JobState(Phase.QUEUED)),
        (row("COMPLETED"), JobState(Phase.RUNNING, None, ACCOUNTS_AWAY, "n1")),
        (row("NODE_FAIL"), JobState(Phase.ENDED, Cause.NODE, "its node failed (n1)", "n1")),
        (
            row("FAILED", reason="NonZeroExitCode"),
            JobState(Phase.RUNNING, None, ACCOUNTS_AWAY, "n1"),
        ),
        ({}, JobState(Phase.QUEUED, None, ACCOUNTS_AWAY)),
    ],
)
def test_while_the_accounts_are_away_what_only_they_would_know_counts_as_alive(
    queued: Rows, state: JobState
) -> None:
    assert task_state(("5", 0), QueueSnapshot(queued, accounts=Accounts.AWAY)) == state


# the last four are of scripts that we do not write
REFUSALS = re.findall(
    r"\$ (sbatch .*)\n((?:[^$\[].*\n)+)\[rc=(?!0)",
    (SLURM / "recorded" / "sbatch_errors.txt").read_text(),
)


@pytest.mark.parametrize(("call", "err"), REFUSALS[:-4])
def test_every_recorded_refusal_gets_an_advice_in_one_line(call: str, err: str) -> None:
    words = refusals.explain_refusal(err)

    assert "\n" not in words
    assert any(words.endswith(f": {advice.text}") for advice in refusals.ADVICE)
    assert not refusals.is_transient(err)


def test_a_plug_in_of_the_site_that_refuses_is_told_from_a_lost_answer() -> None:
    lost = "sbatch: error: Batch job submission failed: Unspecified error"
    refused = f"sbatch: error: No jobs without a project, see the docs\n{lost}"

    assert refusals.is_transient(lost)
    assert not refusals.is_transient(refused)
    assert refusals.is_transient(f"{refused}\nSocket timed out on send/recv operation")
    assert refusals.explain_refusal(refused).startswith("No jobs without a project, see the docs;")


def test_an_unknown_refusal_is_shown_as_it_is() -> None:
    assert refusals.explain_refusal("sbatch: error: Site says no\n") == "Site says no"
    assert refusals.explain_refusal("") == "it gave no reason"


@pytest.mark.parametrize(
    ("err", "is_certain"),
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("Batch job submission failed: Resource temporarily unavailable", True),
        ("Unable to contact slurm controller (receive failure)", False),
        (
            "Socket timed out on send/recv operation\nUnable to "
            "contact slurm controller (connect failure)",
            False,
        ),
        ("Zero Bytes were transmitted or received", False),
        ("no answer after 90 s", False),
        ("Invalid partition name specified", False),
    ],
)
def test_a_request_that_was_certainly_not_taken_is_told_from_one_that_may_have_been(
    err: str, is_certain: bool
) -> None:
    assert refusals.is_not_taken(f"sbatch: error: {err}\n") is is_certain


@pytest.mark.parametrize(
    ("reason", "is_limit"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True),
        ("AssocGrpSubmitJobsLimit", True),
        ("AssocMaxSubmitJobLimit", True),
        ("QOSMaxWallDurationPerJobLimit", False),
        (
            "QOSMaxGRESPerJob",
            True,
        ),  # not told apart: fewer are tried, and the reason is shown in the end
    ],
)
def test_limits_on_the_number_of_jobs_are_told_from_others(reason: str, is_limit: bool) -> None:
    err = (
        f"sbatch: error: {reason}\nsbatch: error: Batch job submission "
        f"failed: {refusals.POLICY} (job submit limit)"
    )

    assert refusals.is_submit_limit(err) == is_limit


def test_jobs_are_found_by_the_tag_in_their_names() -> None:
    queued = (
        "7|0-9%2|grid.0123456789ab.0\n7|12|grid.0123456789ab.0\n9|N/A|x\n8|3|grid.0123456789ab.13\n"
    )
    others = "6|1|grid.ba9876543210.0\n"
    renamed = "10|0-3|site-name|/runs/g|x/batches/1.slurm/job.sh 19 grid.0123456789ab.19\n"
    recorded = parse.jobs_from_sacct(
        "7_14|grid.0123456789ab.0\n8_[0-5]|grid.0123456789ab.13\n4|other\n"
    )

    assert parse.parse_jobs(queued + renamed + others + recorded, "0123456789ab") == [
        Job("7", 0, 15),
        Job("8", 13, 6),
        Job("10", 19, 4),
    ]


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("503_2", [2]),
        ("505_[0-3%2]", [0, 1, 2, 3]),
        ("505_[1,4-6]", [1, 4, 5, 6]),
        ("505_[0-6:3%1]", [0, 3, 6]),
        ("505", [parse.WHOLE]),
    ],
)
def test_ids_of_array_tasks_are_understood(text: str, indices: list[int]) -> None:
    assert [index for _, index in parse.parse_job_id(text)] == indices


def test_indices_are_written_as_ranges_and_read_back() -> None:
    text = parse.render_indices([9, 0, 1, 2, 5, 7, 8])

    assert text == "0-2,5,7-9"
    assert [index for _, index in parse.parse_job_id(f"1_[{text}]")] == [0, 1, 2, 5, 7, 8, 9]


@pytest.mark.parametrize(
    ("out", "native_id"),
    [("503\n", "503"), ("503;west\n", "503"), ("charged to x\n503\n", "503"), ("", None)],
)
def test_the_id_is_found_in_what_sbatch_prints(out: str, native_id: str | None) -> None:
    assert parse.parse_submitted(out) == native_id
