from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.common.external import TIMED_OUT, Answer
from jobs.schedulers.base import Cause, JobState, Phase, parse_signal
from jobs.schedulers.batch import render_ranges
from jobs.schedulers.pbs import parse as answers
from jobs.schedulers.pbs.parse import Record, parse_id, parse_records
from jobs.schedulers.pbs.states import state_of
from jobs.schedulers.pbs.validate import Dialect

RECORDED = Path(__file__).with_name("recorded")
HOST = "pbs-m1.example.org"


def blocks(name: str) -> dict[str, str]:
    """What each recorded command printed on stdout."""
    parts = re.split(r"^(?:manager)?\$ ", (RECORDED / name).read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for part in parts:
        command, _, output = part.partition("\n")
        found[command] = output.split("[rc=")[0]
    return found


def record(**fields: object) -> Record:
    return Record("1." + HOST, {name.lower(): str(value) for name, value in fields.items()})


def state(letter: str = "F", **fields: object) -> JobState:
    return state_of(record(job_state=letter, **fields), Dialect.PRO)


# ---- text of qstat


def test_lines_that_qstat_wrapped_are_joined_without_a_blank() -> None:
    records = parse_records(blocks("array.txt")[f"qstat -x -f '2[3].{HOST}'"])

    found = records[parse_id(f"2[3].{HOST}")]  # type: ignore[index]
    assert (
        found.get("comment")
        == "Job run at Sat Nov 21 at 01:55 on (pbs-m1:ncpus=1:mem=102400kb) and failed"
    )
    assert found.get("Variable_List").startswith(
        "PBS_O_HOME=/home/user,PBS_O_LANG=C.UTF-8,PBS_O_LOGNAME=user,"
    )
    assert found.get("Exit_status") == "7"


def test_a_comment_that_was_cut_after_a_blank_keeps_it() -> None:
    records = parse_records(blocks("states_of_single_jobs.txt")[f"qstat -f 4.{HOST}"])

    (found,) = records.values()
    assert (
        found.get("comment")
        == "Not Running: Insufficient amount of resource: ncpus (R: 16 A: 14 T: 16)"
    )


def test_all_sub_jobs_and_their_array_are_read_from_one_answer() -> None:
    records = parse_records(
        blocks("array_parent_exit_status.txt")[
            f"qstat -x -t -f -w '20[].{HOST}' | grep -E 'Job Id|state|Exit|comment'"
        ]
    )

    assert [found.id.split(".")[0] for found in records.values()] == [
        "20[]",
        "20[0]",
        "20[1]",
        "20[2]",
    ]
    assert [state_of(found, Dialect.PRO).cause for found in records.values()][1:] == [
        Cause.EXIT,
        None,
        None,
    ]


def test_indentation_by_tabs_is_no_continuation() -> None:
    """Slurm's wrappers for Torque write so."""
    (found,) = parse_records(
        "Job Id:\t516\n\tJob_Name = grid\n\tjob_state = R\n\texec_host = n1/2\n"
    ).values()

    assert (found.id, found.get("Job_Name"), found.get("exec_host")) == ("516", "grid", "n1/2")


def test_ids_are_equal_however_much_of_the_server_is_printed() -> None:
    assert parse_id("12[].pbs-m1") == parse_id(f"12[].{HOST}")
    assert parse_id("12[].pbs-m1") != parse_id("12[].other")
    assert parse_id("never-heard-of-it") is None


def test_ranges_of_sub_jobs_are_compressed() -> None:
    assert render_ranges([9, 3, 4, 5, 1]) == ["1", "3-5", "9"]


@pytest.mark.parametrize(
    ("indices", "count"), [("0-9", 10), ("4", 1), ("0-98:2", 50), ("0-3,7%2", 5), ("-", None)]
)
def test_indices_are_counted(indices: str, count: int | None) -> None:
    assert answers.parse_count(indices) == count


def test_the_dialect_is_what_the_version_says() -> None:
    assert answers.parse_dialect(Answer(0, "pbs_version = 23.06.06\n", "")) == "pro"
    assert answers.parse_dialect(Answer(0, "", "Version: 6.1.3\nCommit: 6a0\n")) == "torque"
    assert (
        answers.parse_dialect(Answer(2, "", "Unknown option: version\nUsage:\n    qstat [-f]"))
        == "torque"
    )
    assert answers.parse_dialect(Answer(0, "something else\n", "")) is None


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (162, f"Connection refused\nqsub: cannot connect to server {HOST} (errno=15010)"),
        (255, f"No route to host\nqstat: cannot connect to server {HOST} (errno=15010)"),
        (162, f"Connection refused\nCouldn't connect to cluster: {HOST}"),
        (TIMED_OUT, "qsub: no answer after 60 s"),
    ],
)
def test_a_server_that_does_not_answer_may_later(code: int, text: str) -> None:
    assert answers.is_unreachable(Answer(code, "", text))


def test_only_what_a_server_cannot_have_heard_is_asked_again() -> None:
    recorded = re.findall(
        r"^\[err\] (.*)\n\[err\] (.*)\n\[rc=(\d+)\]",
        (RECORDED / "server_down.txt").read_text(),
        re.M,
    )
    down = [
        Answer(int(code), "", f"{first}\n{second}")
        for first, second, code in recorded
        if "pbsnodes" not in second
    ]
    broken_off = [
        Answer(TIMED_OUT, "", "qsub: no answer after 60 s"),
        Answer(1, "", "qsub: Batch protocol error"),
        Answer(-9, "", ""),
        Answer(255, "", ""),
    ]
    refused = [
        Answer(255, "sbatch: error: Invalid --mem specification", ""),
        Answer(160, "", "qsub: Unknown queue"),
    ]

    assert len(down) >= 6
    assert all(answers.is_unheard(answer) and answers.is_unreachable(answer) for answer in down)
    assert all(
        answers.is_unreachable(answer) and not answers.is_unheard(answer) for answer in broken_off
    )
    assert not any(answers.is_unreachable(answer) for answer in refused)


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (170, "qsub: Unknown queue\n", "pbs: qsub: Unknown queue (name another queue, or none:"),
        (
            32,
            "qsub: walltime must be given (site rule)\n",
            "pbs: qsub: walltime must be given (site rule)",
        ),
        (
            2,
            "qsub: illegal -N value\nusage: qsub [-a\n\t[-C]",
            "pbs: qsub: illegal -N value (this qsub does not take",
        ),
        (9, "", "pbs: qsub: exit code 9 without a word"),
        (
            2,
            "qsub: illegal -J value\nusage: qsub",
            "older PBS knows no limit of running sub-jobs: leave --max-parallel out",
        ),
        (
            193,
            "qsub: Job rejected by all possible destinations\n",
            "(no queue takes so much time, memory, cpus or gpus",
        ),
        (
            187,
            "qsub: Unknown resource: scratch_local\n",
            "(this site has no such resource; correct select or",
        ),
    ],
)
def test_refusals_are_one_line_with_what_to_do(code: int, text: str, said: str) -> None:
    shown = answers.render_refusal("qsub", Answer(code, "", text))

    assert said in shown
    assert "\n" not in shown
    assert not answers.is_unreachable(Answer(code, "", text))


def test_what_to_do_about_a_queue_is_not_said_of_other_commands() -> None:
    answer = Answer(159, "", "qstat: Unauthorized Request  20.pbs-m1")

    assert answers.render_refusal("qstat", answer) == "pbs: qstat: Unauthorized Request  20.pbs-m1"
    assert "kinit" in answers.render_refusal(
        "qstat", Answer(1, "", "No Kerberos credentials found")
    )


def test_limits_are_told_from_other_refusals() -> None:
    text = (RECORDED / "limits_queues_users.txt").read_text()
    said = re.findall(r"\[err\] (qsub: .*)\n\[rc=(\d+)\]", text)

    limits = {line for line, code in said if answers.is_limit(Answer(int(code), "", line))}
    arrays = {line for line, code in said if answers.is_array_limit(Answer(int(code), "", line))}
    assert limits == {"qsub: would exceed queue generic's per-user limit"}
    assert arrays == {"qsub: Array job exceeds server or queue size limit"}


# ---- what attributes mean

KEYS = "state|Exit|comment|depend|Hold"
READ = "the job's output says why"
RUN = "Job run at Sat Nov 21 at 01:57 on (pbs-m1:ncpus=1:mem=204800kb)"
MEM = "Resource_List.mem"
USED_MEM = "resources_used.mem"


@pytest.mark.parametrize(
    ("letter", "phase"),
    [
        *((letter, Phase.QUEUED) for letter in "QHWTM"),
        *((letter, Phase.RUNNING) for letter in "REBSU"),
        *((letter, Phase.ENDED) for letter in "XFC"),
        ("Z", Phase.QUEUED),
        ("", Phase.QUEUED),
    ],
)
def test_every_letter_has_its_phase_and_an_unknown_one_is_alive(letter: str, phase: Phase) -> None:
    assert state(letter, Exit_status=0, substate=92).phase is phase


@pytest.mark.parametrize(
    ("status", "substate", "comment", "cause", "detail"),
    [
        (0, 92, f"{RUN} and finished", None, ""),
        (1, 93, f"{RUN} and failed", None, "exit code 1"),
        (3, 93, f"{RUN} and failed", Cause.CONTINUE, "it saved a checkpoint and left"),
        (4, 93, f"{RUN} and failed", None, "another process is training it"),
        (7, 93, f"{RUN} and failed", Cause.EXIT, "exit code 7"),
        (
            5,
            93,
            f"{RUN} and failed",
            Cause.SKIPPED,
            "too many runs before it failed in the same way",
        ),
        (
            6,
            93,
            f"{RUN} and failed",
            Cause.DISK_FULL,
            "a full disk, a quota or missing permissions (the job's output names the file)",
        ),
        (
            72,
            93,
            f"{RUN} and failed",
            Cause.NOT_STARTED,
            f"exit code 72: its script or its container could not start; {READ}",
        ),
        (
            127,
            93,
            f"{RUN} and failed",
            Cause.NOT_STARTED,
            "exit code 127: a program was not found on the node",
        ),
        (
            255,
            93,
            f"{RUN} and failed",
            Cause.NOT_STARTED,
            f"exit code 255: its container did not start; {READ}",
        ),
        (139, 93, f"{RUN} and failed", Cause.SIGNAL, "signal 11 (SIGSEGV)"),
        (265, 93, f"{RUN} and failed", Cause.SIGNAL, "signal 9 (SIGKILL)"),
        (
            -29,
            93,
            f"{RUN} and exceeded resource walltime",
            Cause.TIMEOUT,
            "exceeded resource walltime",
        ),
        (
            271,
            93,
            f"{RUN} and exceeded resource walltime",
            Cause.TIMEOUT,
            "exceeded resource walltime",
        ),
        (-27, 93, f"{RUN} and exceeded resource mem", Cause.OUT_OF_MEMORY, "exceeded resource mem"),
        (
            271,
            91,
            f"{RUN} and terminated by user@{HOST}",
            Cause.CANCELLED,
            f"deleted by user@{HOST}",
        ),
        (0, 91, f"{RUN} and terminated by root@{HOST}", Cause.CANCELLED, f"deleted by root@{HOST}"),
        (
            -1,
            93,
            f"{RUN} and failed",
            Cause.NOT_STARTED,
            "the node could not run it (exit status -1)",
        ),
        (-23, 93, "", Cause.NOT_STARTED, "Kerberos credentials were missing (exit status -23)"),
        (
            -4,
            93,
            f"{RUN} and failed",
            Cause.NODE,
            "its node's PBS was started anew (exit status -4)",
        ),
        (-11, 93, "", Cause.PREEMPTED, "sent back to the queue (exit status -11)"),
        (271, 91, "Job preempted by deletion", Cause.PREEMPTED, "Job preempted by deletion"),
        (1, 70, "Subjob finished", Cause.CANCELLED, "deleted before it ran"),
        (0, 70, "Subjob finished", Cause.CANCELLED, "deleted before it ran"),
        (2, 70, "Subjob failed", Cause.UNKNOWN, "failed, and PBS keeps no record of how"),
        (0, 70, "Subjob terminated", Cause.CANCELLED, "deleted"),
        (
            7,
            93,
            "Job run at Sat Nov 21 at 01:57 on (preempt-n1:ncpus=1) and failed",
            Cause.EXIT,
            "exit code 7",
        ),
    ],
)
def test_what_ended_has_its_cause(
    status: int, substate: int, comment: str, cause: Cause | None, detail: str
) -> None:
    found = state(Exit_status=status, substate=substate, comment=comment)

    assert (found.phase, found.cause, found.detail) == (Phase.ENDED, cause, detail)
    assert found.signal == (parse_signal(detail) if cause is Cause.SIGNAL else found.signal)


def test_what_never_ran_says_so() -> None:
    assert state(substate=91) == JobState(Phase.ENDED, Cause.CANCELLED, "deleted before it ran")
    assert state(substate=92) == JobState(
        Phase.ENDED, Cause.NOT_STARTED, "PBS ended it before it ran, and does not say why"
    )


def test_what_waited_for_a_canary_that_failed_is_held_back_unless_it_was_deleted() -> None:
    depend = f"beforeok:9.{HOST}@{HOST},afterok:761.{HOST}@{HOST}"

    assert state(substate=92, depend=depend) == JobState(
        Phase.ENDED, Cause.SKIPPED, "its canary did not pass"
    )
    assert state(substate=91, depend=depend).cause is Cause.CANCELLED


def test_recorded_dependents_are_judged() -> None:
    found = {}
    for command, text in blocks("dependencies.txt").items():
        if command.startswith("qstat -x -f -w"):
            for parsed in parse_records(text).values():
                judged = state_of(parsed, Dialect.PRO)
                found[parsed.id.split(".")[0]] = judged.cause

    held_back = {"32", "35", "42", "48", "49"}
    assert {number for number, cause in found.items() if cause is Cause.SKIPPED} == held_back
    assert {found[number] for number in found.keys() - held_back - {"30"}} == {None}
    assert found["30"] is Cause.EXIT


def test_a_recorded_dependent_says_what_it_waits_for() -> None:
    (waiting,) = parse_records(
        blocks("dependencies.txt")[f"qstat -f -w '31.{HOST}' | grep -E 'Job Id|{KEYS}'"]
    ).values()

    assert state_of(waiting, Dialect.PRO) == JobState(Phase.QUEUED, None, f"waits for 29.{HOST}")
    assert (
        state("H", Hold_Types="s", depend="afterok:1.a@a:2[].a@a,beforeok:3.a@a").detail
        == "waits for 1.a, 2[].a"
    )


def test_a_job_whose_node_was_lost_is_queued_again_and_one_without_a_home_never_started() -> None:
    lost = [
        state_of(parsed, Dialect.PRO).phase
        for command, text in blocks("chunks_hook_node_failure.txt").items()
        if command.startswith("qstat -fw 639")
        for parsed in parse_records(f"Job Id: 639.{HOST}\n{text}").values()
    ]
    homeless = blocks("home_missing_history_off.txt")[
        "qstat -xfw 640 | grep -E 'state|comment|run_count|Hold|Exit|Stage'"
    ]
    (found,) = parse_records(f"Job Id: 640.{HOST}\n{homeless}").values()

    assert lost == [Phase.QUEUED, Phase.RUNNING]
    assert state_of(found, Dialect.PRO).cause is Cause.NOT_STARTED


@pytest.mark.parametrize(
    ("hosts", "node"),
    [
        ("pbs-m1/0*2+pbs-m1/1*2+pbs-m1/2", "pbs-m1"),
        ("zia1.metacentrum.cz/0*4", "zia1.metacentrum.cz"),
        ("n1/0-3+n2/0", "n1,n2"),
        ("", ""),
    ],
)
def test_where_a_job_ran_is_told(hosts: str, node: str) -> None:
    assert state(exec_host=hosts, Exit_status=0, substate=92).node == node
    assert state("R", exec_host=hosts).node == node


def test_a_running_job_says_what_is_about_to_happen_to_it() -> None:
    assert (
        state("R", comment=f"{RUN} and terminated by user@{HOST}").detail
        == f"being deleted by user@{HOST}"
    )
    assert state("S", comment="Job held by user").detail == "suspended"
    assert state("E", comment=RUN, Exit_status=0).detail == "ended; PBS copies its output"


def test_a_job_of_slurms_wrappers_does_not_say_how_it_ended() -> None:
    def cause(**fields: object) -> Cause | None:
        return state_of(record(job_state="C", **fields), Dialect.TORQUE).cause

    assert cause(exec_host="n1/1") is Cause.UNKNOWN
    assert cause() is Cause.CANCELLED


def test_a_sub_job_without_a_record_is_not_blamed_where_history_is_off() -> None:
    found = state_of(
        record(job_state="X", comment="Subjob finished", Exit_status=0),
        Dialect.PRO,
        has_history=False,
    )

    assert found.cause is Cause.UNKNOWN


def test_a_kill_is_explained_by_what_was_used() -> None:
    full = {USED_MEM: "2090000kb", MEM: "2gb"}
    late = {"resources_used.walltime": "00:00:07", "Resource_List.walltime": "00:00:05"}

    assert state(Exit_status=137, comment=f"{RUN} and failed", **full).cause is Cause.OUT_OF_MEMORY
    assert state(Exit_status=139, comment=f"{RUN} and failed", **full).cause is Cause.SIGNAL
    assert state(Exit_status=271, comment=f"{RUN} and failed", **late).cause is Cause.TIMEOUT


def test_numbers_of_torque_mean_something_else() -> None:
    def cause(status: int) -> Cause | None:
        return state_of(record(job_state="C", exit_status=status), Dialect.TORQUE).cause

    assert [cause(-10), cause(-11), cause(271), cause(0)] == [
        Cause.OUT_OF_MEMORY,
        Cause.TIMEOUT,
        Cause.CANCELLED,
        None,
    ]


def test_why_a_job_will_not_start_is_told() -> None:
    never = "Can Never Run: Insufficient amount of resource: ngpus (R: 8 A: 4 T: 4)"

    assert state("Q", comment=never).detail == never
    assert (
        state("Q", comment="Not Running: Queue not started.").detail
        == "Not Running: Queue not started."
    )
    assert state("H", Hold_Types="u").detail == "held (u)"
    assert state(
        "H", Hold_Types="s", comment="job held, too many failed attempts to run"
    ).detail == ("held (s): job held, too many failed attempts to run")
    assert state("Q", comment="Not Running: Not enough free nodes available").detail == ""


def test_recorded_endings_are_judged() -> None:
    found = {
        command.split()[4].split(".")[0]: state_of(parsed, Dialect.PRO).cause
        for command, text in blocks("endings.txt").items()
        if command.startswith("qstat -x -f -w")
        for parsed in parse_records(f"Job Id: 1.{HOST}\n{text}").values()
    }

    assert found == {
        "8": Cause.TIMEOUT,
        "9": Cause.TIMEOUT,
        "10": Cause.TIMEOUT,
        "11": Cause.CANCELLED,
        "12": Cause.CANCELLED,
        "13": Cause.CANCELLED,
        "14": Cause.OUT_OF_MEMORY,
        "15": Cause.SIGNAL,
        "16": Cause.SIGNAL,
        "17": None,
        "18": Cause.SIGNAL,
    }
