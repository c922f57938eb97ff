"""What Slurm's commands print, as values: ids of array tasks, states with their causes, limits, known refusals."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from jobs.schedulers.base import Cause, Job, JobState, Phase, parse_job_name

Element = tuple[str, int]  # id of an array and index in it
WHOLE = -1  # index of a row that stands for all tasks of an array which have no row of their own

SACCT_FIELDS = "JobID,State,ExitCode,DerivedExitCode,NodeList"
SQUEUE_FORMAT = "%F|%K|%T|%N"
NAMES_FORMAT = "%F|%K|%j"

EXIT_CONTINUE = 3
EXITS_WITHOUT_BLAME = {0: "", 1: "", 4: "another process is training it"}
SIGNAL_NO_OUTPUT = 53  # Slurm's own: the output file could not be opened on the node
SIGNAL_OUT_OF_MEMORY = 125  # Slurm's own as well

RUNNING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
CAUSE_OF_STATE: Mapping[str, tuple[Cause, str]] = {
    "TIMEOUT": (Cause.TIMEOUT, "reached its time limit"),
    "DEADLINE": (Cause.TIMEOUT, "reached its deadline"),
    "OUT_OF_MEMORY": (Cause.OUT_OF_MEMORY, "used more memory than it asked for"),
    "NODE_FAIL": (Cause.NODE, "its node failed"),
    "BOOT_FAIL": (Cause.NODE, "its node did not boot"),
    "PREEMPTED": (Cause.CONTINUE, "preempted by another job"),
    "REVOKED": (Cause.CANCELLED, "revoked by the cluster it was moved to"),
    "LAUNCH_FAILED": (Cause.NODE, "could not be launched on its node"),
    "RECONFIG_FAIL": (Cause.NODE, "its node could not be set up"),
}

# What slurmstepd writes into a job's output, for sites without accounting.
OUTPUT_LINES: tuple[tuple[str, Cause], ...] = (
    ("DUE TO TIME LIMIT", Cause.TIMEOUT),
    ("DUE TO NODE FAILURE", Cause.NODE),
    ("DUE TO PREEMPTION", Cause.CONTINUE),
    ("oom-kill event", Cause.OUT_OF_MEMORY),
    ("oom_kill event", Cause.OUT_OF_MEMORY),
    (": Out Of Memory", Cause.OUT_OF_MEMORY),
    ("CANCELLED AT", Cause.CANCELLED),
)

TRANSIENT = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted or received",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Transport endpoint is not connected",
    "Message send failure",
    "Communication connection failure",
    "Message receive failure",
    "Resource temporarily unavailable",
    "Slurm backup controller in standby mode",
    "Problem talking to the database",
    "no answer after",
    "Unspecified error",
)
POLICY = "Job violates accounting/QOS policy"  # of any limit; newer releases and the line before say which
NO_SUCH_JOB = "Invalid job id specified"
NO_ACCOUNTING = "accounting storage is disabled"

# Part of sbatch's own words -> what to do about it.
ADVICE: tuple[tuple[str, str], ...] = (
    ("Invalid partition name", "choose a queue that `sinfo -s` lists"),
    ("Memory specification can not be satisfied", "no node has that much memory: ask for less (--mem)"),
    ("CPU count per node can not be satisfied", "no node has that many cores: ask for fewer cpus"),
    ("Invalid generic resource", "this cluster knows no such kind of GPU: `sinfo -o '%P %G'` shows what it has"),
    (
        "Requested node configuration is not available",
        "no node of the queue has these GPUs, cores and memory together: `sinfo -o '%P %c %m %G'` shows what there is",
    ),
    ("Node count specification invalid", "the queue has not so many nodes: ask for fewer"),
    (
        "Requested time limit is invalid",
        "the queue's limit is shorter (`sinfo -o '%P %l'`): ask for less time (--time)",
    ),
    ("Invalid job array specification", "the site's MaxArraySize has changed or arrays are switched off"),
    ("MaxWall", "the QOS or account allows less time for a job: ask for less (--time)"),
    ("PerJobLimit", "the QOS or account allows a job less of this: ask for less"),
    ("Invalid qos", "choose one that `sacctmgr show assoc user=$USER format=account,qos` lists"),
    ("Invalid account", "choose an account that `sacctmgr show assoc user=$USER format=account,partition` lists"),
    ("job submit limit", "you have as many jobs in the queue as you may: submit again when some have ended"),
    ("Invalid feature", "no node has that feature: `sinfo -o '%P %f'` lists those there are"),
    ("Invalid --time", "write the time as 30m, 2h or 1-00:00:00"),
    ("Invalid --mem", "write the memory as 8G or 500M"),
    ("unrecognized option", "this Slurm knows no such option: remove it from extra"),
    ("Access/permission denied", "you may not use that queue or account"),
    ("Invalid wckey", "this site wants a known wckey: give one as extra"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of sacct or squeue about one task of an array, or about all that have no line of their own."""

    element: Element
    state: str  # in Slurm's words, complete: `CANCELLED by 1000`
    exit: tuple[int, int] = (0, 0)  # code, signal
    derived: tuple[int, int] = (0, 0)  # the worst of its steps
    nodes: str = ""


def parse_sacct(text: str) -> dict[Element, Row]:
    """Rows of `sacct -n -P -X -o JobID,State,ExitCode,DerivedExitCode,NodeList`; the last attempt of each counts."""
    rows = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 5 or "." in fields[0]:
            continue
        job_id, state, code, derived, nodes = fields[:5]
        for element in parse_job_id(job_id):
            rows[element] = Row(element, state, _parse_exit(code), _parse_exit(derived), nodes)
    return rows


def parse_squeue(text: str) -> dict[Element, Row]:
    """Rows of `squeue -h -o '%F|%K|%T|%N'`."""
    rows = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 4:
            for element in _elements(fields[0], fields[1]):
                rows[element] = Row(element, fields[2], nodes=fields[3])
    return rows


def parse_jobs(text: str, tag: str) -> list[Job]:
    """The jobs of one submission among lines of `%F|%K|%j`, each as large as its highest index says."""
    found: dict[tuple[str, int], int] = {}
    for line in text.splitlines():
        array, indices, name = [*line.split("|"), "", ""][:3]
        named = parse_job_name(name)
        if named is None or named[0] != tag:
            continue
        job = array, named[1]
        highest = max((index for _, index in _elements(array, indices)), default=WHOLE)
        found[job] = max(found.get(job, 1), highest + 1)
    return sorted((Job(array, first, size) for (array, first), size in found.items()), key=lambda job: job.first)


def jobs_from_sacct(text: str) -> str:
    """Lines of `sacct -o JobID,JobName` in the form that `parse_jobs` reads."""
    lines = []
    for line in text.splitlines():
        job_id, _, name = line.partition("|")
        array, _, indices = job_id.partition("_")
        lines.append(f"{array}|{indices.strip('[]')}|{name}")
    return "\n".join(lines)


def parse_job_id(text: str) -> Iterator[Element]:
    """The array tasks that an id names: `503_2`, `505_[0-9%2]`, `505_[1,4-6]`; of a bare id, those without a row."""
    array, _, indices = text.partition("_")
    return _elements(array, indices.strip("[]"))


def _elements(array: str, indices: str) -> Iterator[Element]:
    if not re.fullmatch(r"\d[\d,:%-]*", indices):
        yield array, WHOLE
        return
    for part in indices.partition("%")[0].split(","):
        low, _, high = part.partition("-")
        high, _, step = high.partition(":")
        for index in range(int(low), int(high or low) + 1, int(step or 1)):
            yield array, index


def _parse_exit(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def phase_of(state: str) -> Phase | None:
    """The phase of a job that has not ended, None for one that has; what we do not know counts as alive."""
    word = first_word(state)
    if word in CAUSE_OF_STATE or word in ("COMPLETED", "FAILED", "CANCELLED"):
        return None
    return Phase.RUNNING if word in RUNNING else Phase.QUEUED


def state_from_row(row: Row) -> JobState:
    """What a line says about its task: where it stands, or why it ended."""
    phase = phase_of(row.state)
    if phase is not None:
        return JobState(phase)
    word = first_word(row.state)
    if word == "CANCELLED":
        return JobState(Phase.ENDED, Cause.CANCELLED, _describe_cancel(row))
    if row.exit[1] == SIGNAL_OUT_OF_MEMORY or row.derived[1] == SIGNAL_OUT_OF_MEMORY:
        return _ended(CAUSE_OF_STATE["OUT_OF_MEMORY"], row)
    if word in CAUSE_OF_STATE:
        return _ended(CAUSE_OF_STATE[word], row)
    return _state_of_exit(row) if word == "FAILED" else JobState(Phase.ENDED)


def _ended(why: tuple[Cause, str], row: Row) -> JobState:
    cause, words = why
    return JobState(Phase.ENDED, cause, f"{words} ({row.nodes})" if row.nodes else words)


def _describe_cancel(row: Row) -> str:
    who = re.search(r"by (\d+)", row.state)
    words = f"cancelled by user {who[1]}" if who else "cancelled"
    return f"{words} before it started" if row.nodes == "None assigned" else words


def _state_of_exit(row: Row) -> JobState:
    code, number = row.exit
    if number == SIGNAL_NO_OUTPUT:
        return JobState(
            Phase.ENDED, Cause.EXIT, f"could not write its output file on {row.nodes}: is the folder there?"
        )
    if number:
        return JobState(Phase.ENDED, Cause.SIGNAL, describe_signal(number))
    if code in EXITS_WITHOUT_BLAME:
        return JobState(Phase.ENDED, None, EXITS_WITHOUT_BLAME[code])
    if code == EXIT_CONTINUE:
        return JobState(Phase.ENDED, Cause.CONTINUE, "it saved a checkpoint and left")
    return JobState(Phase.ENDED, Cause.EXIT, f"exit code {code}")


def describe_signal(number: int) -> str:
    """`signal 11 (SIGSEGV)`."""
    known = number in signal.valid_signals() and number < signal.SIGRTMIN
    return f"signal {number} ({signal.Signals(number).name})" if known else f"signal {number}"


def parse_output(text: str) -> JobState | None:
    """Why a job ended, from what Slurm wrote into its output file; None where it wrote nothing of the kind.

    For sites without accounting. The last line that says something counts: a file holds all attempts of an element.
    """
    for line in reversed(text.splitlines()):
        if "error:" in line:
            for words, cause in OUTPUT_LINES:
                if words in line:
                    return JobState(Phase.ENDED, cause, line.partition("error:")[2].strip(" *"))
    return None


def first_word(state: str) -> str:
    """`CANCELLED` of `CANCELLED by 1000`, and of `CANCELLED+`."""
    return state.split(" ")[0].rstrip("+")


def parse_submitted(out: str) -> str | None:
    """The id that `sbatch --parsable` printed, `503` or `503;cluster`; None where there is none."""
    words = [line for line in out.splitlines() if re.fullmatch(r"\d+(;\S+)?", line.strip())]
    return words[-1].strip().partition(";")[0] if words else None


def parse_config(text: str) -> dict[str, str]:
    """Names and values of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_limits(text: str) -> list[int]:
    """The numbers in rows of `sacctmgr -n -P`; empty fields mean no limit."""
    return [int(field) for line in text.splitlines() for field in line.split("|") if field.isdigit()]


def is_transient(err: str) -> bool:
    """Whether trying again may help: Slurm was not reached, or its answer was not."""
    return any(words in err for words in TRANSIENT)


def is_submit_limit(err: str) -> bool:
    """Whether a submission was refused because of how many jobs its user has."""
    reason = re.search(r"\b(?:QOS|Assoc)\w*Limit\b", err)
    return "SubmitJob" in reason[0] if reason else POLICY in err


def explain_refusal(err: str) -> str:
    """One line from what sbatch printed: its words, and what to do where we know."""
    lines = [_bare(line) for line in err.splitlines() if line.strip() and not line.startswith("Try ")]
    words = "; ".join(dict.fromkeys(line for line in lines if line)) or "it gave no reason"
    advice = next((advice for known, advice in ADVICE if known.lower() in words.lower()), "")
    return f"{words}: {advice}" if advice else words


def _bare(line: str) -> str:
    line = re.sub(r"^\w+: (error: )?", "", line.strip())
    return line.removeprefix("Batch job submission failed: ").strip()


def render_indices(indices: Iterable[int]) -> str:
    """`0-3,7,9-10` from indices in any order."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
