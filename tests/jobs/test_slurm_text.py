"""What is written for Slurm and read from it: golden scripts, recorded answers, refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from anlp.errors import SchedulerError
from jobs.resources import Resources
from jobs.schedulers import slurm_parse as parse
from jobs.schedulers.base import Batch, Cause, Job, JobState, Phase
from jobs.schedulers.slurm import judge
from jobs.schedulers.slurm_render import (
    SlurmOptions,
    limit_min,
    parse_extra,
    render_call,
    render_script,
    variables_over,
)

SLURM = Path(__file__).parent.parent / "slurm"
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
    "full.sh": render_script(BATCH, FULL, SlurmOptions(("apptainer", "exec", "/images/a b.sif", "python")), WORK),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_the_golden_one(name: str) -> None:
    assert SCRIPTS[name] == (SLURM / "golden" / name).read_text()


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck: apt-get install shellcheck")
def test_shellcheck_has_nothing_to_say_about_the_script(name: str) -> None:
    done = subprocess.run(["shellcheck", "-"], input=SCRIPTS[name], capture_output=True, text=True)

    assert done.stdout == ""


def test_the_call_names_the_array_by_its_tag_and_first_element() -> None:
    argv = render_call(BATCH, Path("/b/job.sh"), range(1001, 1500), 5)

    assert argv == [
        *("sbatch", "--parsable", "--job-name=mnist.0123456789ab.1001", "--array=0-498%5"),
        *("/b/job.sh", "1001"),
    ]


@pytest.mark.parametrize(("minutes", "limit"), [(None, None), (0.1, 1), (1, 1), (60, 60), (60.01, 61)])
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
        ("-p x", "expected --option=value or --option, got '-p x'"),
        ("hold", "expected --option=value"),
    ],
)
def test_options_that_the_tool_gives_cannot_be_passed_on(option: str, words: str) -> None:
    with pytest.raises(SchedulerError, match=words):
        parse_extra([option])


def test_other_options_are_passed_on_as_they_are() -> None:
    found = parse_extra(["--exclusive", "--mail-type=END", "--gres=ssd:1", "--nodelist=n[1,2]"])

    assert found == [("exclusive", None), ("mail-type", "END"), ("gres", "ssd:1"), ("nodelist", "n[1,2]")]
    with pytest.raises(SchedulerError, match="--gres is given by gpus and gpu_type here"):
        parse_extra(["--gres=ssd:1"], has_gpus=True)


def test_a_percent_in_a_path_is_no_pattern_of_slurm() -> None:
    batch = Batch("0123456789ab", "g", Path("/a%j/runs/g/batches/1.jsonl"), 1)

    assert "#SBATCH --output=/a%%j/runs/g/batches/1.slurm/%A_%a.out\n" in render_script(
        batch, Resources(), PYTHON, WORK
    )


def test_the_variables_that_would_override_the_script_are_known() -> None:
    script = render_script(BATCH, Resources(walltime_min=5, mem_mib=9), PYTHON, WORK)

    names = variables_over(script)

    assert {"SBATCH_TIMELIMIT", "SBATCH_MEM_PER_NODE", "SBATCH_SIGNAL", "SBATCH_OPEN_MODE"} <= set(names)
    assert "SBATCH_PARTITION" not in names


STATES = {
    ("92", 0): JobState(Phase.ENDED),
    ("92", 1): JobState(Phase.ENDED, Cause.CONTINUE, "it saved a checkpoint and left"),
    ("92", 2): JobState(Phase.ENDED, Cause.TIMEOUT, "reached its time limit (n1)"),
    ("92", 3): JobState(Phase.ENDED, Cause.OUT_OF_MEMORY, "used more memory than it asked for (n1)"),
    ("92", 4): JobState(Phase.ENDED, Cause.CANCELLED, "cancelled by user 0"),
    ("92", 5): JobState(Phase.ENDED, Cause.SIGNAL, "signal 11 (SIGSEGV)"),
    ("92", 6): JobState(Phase.ENDED, None, "another process is training it"),
    ("92", 7): JobState(Phase.ENDED, Cause.OUT_OF_MEMORY, "used more memory than it asked for (n1)"),  # of its step
    ("92", 8): JobState(Phase.ENDED, Cause.EXIT, "exit code 7"),
    ("94", 0): JobState(Phase.ENDED, Cause.EXIT, "could not write its output file on n1: is the folder there?"),
    ("95", 3): JobState(Phase.ENDED, Cause.CANCELLED, "cancelled by user 0 before it started"),
}


@pytest.mark.parametrize("element", STATES)
def test_recorded_answers_of_sacct_are_understood(element: tuple[str, int]) -> None:
    rows = parse.parse_sacct((SLURM / "recorded" / "sacct.txt").read_text())

    assert parse.state_from_row(rows[element]) == STATES[element]


def test_recorded_answers_of_squeue_are_understood() -> None:
    rows = parse.parse_squeue((SLURM / "recorded" / "squeue.txt").read_text())

    assert {index: rows["93", index].state for index in range(10)} == dict.fromkeys(range(10), "PENDING")
    assert (rows["92", 4].state, rows["92", 9].state) == ("COMPLETING", "RUNNING")


def row(state: str, index: int = 0) -> dict[parse.Element, parse.Row]:
    return {("5", index): parse.Row(("5", index), state)}


@pytest.mark.parametrize(
    ("queued", "recorded", "state"),
    [
        ({}, {}, JobState(Phase.QUEUED)),  # of an array that nobody knows
        (row("PENDING"), row("NODE_FAIL"), JobState(Phase.QUEUED)),  # requeued, and the accounts are late
        (row("COMPLETING"), row("RUNNING"), JobState(Phase.RUNNING)),
        (row("FAILED"), {}, JobState(Phase.RUNNING)),  # why is not on record yet
        (row("FAILED"), row("COMPLETED", parse.WHOLE), JobState(Phase.RUNNING)),  # sacct means the last to start
        (row("COMPLETED"), {}, JobState(Phase.ENDED)),
        (row("NEWFANGLED"), {}, JobState(Phase.QUEUED)),
        ({}, row("REQUEUED"), JobState(Phase.QUEUED)),
        (row("RUNNING", 1), {}, JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started")),
        ({}, row("CANCELLED by 7", parse.WHOLE), JobState(Phase.ENDED, Cause.CANCELLED, "cancelled by user 7")),
        ({}, row("PREEMPTED"), JobState(Phase.ENDED, Cause.CONTINUE, "preempted by another job")),
        ({}, row("NODE_FAIL"), JobState(Phase.ENDED, Cause.NODE, "its node failed")),
        (row("TIMEOUT"), None, JobState(Phase.ENDED, Cause.TIMEOUT, "reached its time limit")),
        (row("RUNNING"), None, JobState(Phase.RUNNING)),
    ],
)
def test_a_task_is_judged_by_the_queue_first_and_then_by_the_accounts(
    queued: dict[parse.Element, parse.Row], recorded: dict[parse.Element, parse.Row] | None, state: JobState
) -> None:
    arrays = {array for array, _ in (*queued, *(recorded or {}))}

    assert judge(("5", 0), queued, recorded, arrays) == state


def test_without_accounts_what_the_queue_has_forgotten_has_ended_for_unknown_reasons() -> None:
    assert judge(("5", 0), {}, None, set()).cause is Cause.UNKNOWN


# the last four are of scripts that we do not write
REFUSALS = re.findall(
    r"\$ (sbatch .*)\n((?:[^$\[].*\n)+)\[rc=(?!0)", (SLURM / "recorded" / "sbatch_errors.txt").read_text()
)


@pytest.mark.parametrize(("call", "err"), REFUSALS[:-4])
def test_every_recorded_refusal_gets_an_advice_in_one_line(call: str, err: str) -> None:
    words = parse.explain_refusal(err)

    assert "\n" not in words
    assert any(words.endswith(f": {advice}") for _, advice in parse.ADVICE)
    assert not parse.is_transient(err)


def test_an_unknown_refusal_is_shown_as_it_is() -> None:
    assert parse.explain_refusal("sbatch: error: Site says no\n") == "Site says no"
    assert parse.explain_refusal("") == "it gave no reason"


@pytest.mark.parametrize(
    ("reason", "is_limit"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True),
        ("AssocGrpSubmitJobsLimit", True),
        ("AssocMaxSubmitJobLimit", True),
        ("QOSMaxWallDurationPerJobLimit", False),
        ("QOSMaxGRESPerJob", True),  # not told apart: fewer are tried, and the reason is shown in the end
    ],
)
def test_limits_on_the_number_of_jobs_are_told_from_others(reason: str, is_limit: bool) -> None:
    err = f"sbatch: error: {reason}\nsbatch: error: Batch job submission failed: {parse.POLICY} (job submit limit, ...)"

    assert parse.is_submit_limit(err) == is_limit


def test_jobs_are_found_by_the_tag_in_their_names() -> None:
    queued = "7|0-9%2|grid.0123456789ab.0\n7|12|grid.0123456789ab.0\n9|N/A|x\n8|3|grid.0123456789ab.13\n"
    others = "6|1|grid.ba9876543210.0\n"
    recorded = parse.jobs_from_sacct("7_14|grid.0123456789ab.0\n8_[0-5]|grid.0123456789ab.13\n4|other\n")

    assert parse.parse_jobs(queued + others + recorded, "0123456789ab") == [Job("7", 0, 15), Job("8", 13, 6)]


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
    ("out", "native_id"), [("503\n", "503"), ("503;west\n", "503"), ("charged to x\n503\n", "503"), ("", None)]
)
def test_the_id_is_found_in_what_sbatch_prints(out: str, native_id: str | None) -> None:
    assert parse.parse_submitted(out) == native_id


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("*** JOB 510 ON n1 CANCELLED AT 2026-11-21T02:00:41 DUE TO TIME LIMIT ***", Cause.TIMEOUT),
        ("*** JOB 446 ON n4 CANCELLED AT 2026-11-21T01:49:42 DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***", Cause.NODE),
        ("Detected 1 oom-kill event(s) in StepId=521.batch.", Cause.OUT_OF_MEMORY),
        ("*** JOB 5 ON n1 CANCELLED AT 2026-11-21T02:00:41 ***", Cause.CANCELLED),
    ],
)
def test_slurms_own_lines_in_an_output_tell_the_cause(line: str, cause: Cause) -> None:
    state = parse.parse_output(f"epoch 1\nslurmstepd-n1: error: {line}\nbye\n")

    assert state is not None
    assert state.cause is cause
    assert parse.parse_output("error: my own\n") is None
