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
SQUEUE_FORMAT = "%F|%K|%T|%N|%r"
NAMES_FORMAT = "%F|%K|%j"

EXIT_CONTINUE = 3
EXIT_SKIPPED = 5
EXIT_DISK_FULL = 6
EXIT_SETUP = 72  # of a script whose container did not start
EXITS_OF_SHELL = {
    EXIT_SETUP: "its container did not start",
    126: "its program could not be executed",
    127: "its program was not found",
}
EXITS_WITHOUT_BLAME = {0: "", 1: "", 4: "another process is training it"}
SIGNAL_NO_OUTPUT = 53  # Slurm's own: the output file could not be opened on the node
SIGNAL_OUT_OF_MEMORY = 125  # Slurm's own as well

RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
CAUSE_OF_STATE: Mapping[str, tuple[Cause, str]] = {
    "TIMEOUT": (Cause.TIMEOUT, "reached its time limit"),
    "DEADLINE": (Cause.TIMEOUT, "reached its deadline"),
    "OUT_OF_MEMORY": (Cause.OUT_OF_MEMORY, "used more memory than it asked for"),
    "NODE_FAIL": (Cause.NODE, "its node failed"),
    "BOOT_FAIL": (Cause.NODE, "its node did not boot"),
    "PREEMPTED": (Cause.PREEMPTED, "preempted by another job"),
    "REVOKED": (Cause.CANCELLED, "revoked by the cluster it was moved to"),
    "LAUNCH_FAILED": (Cause.NOT_STARTED, "could not be launched on its node"),
    "RECONFIG_FAIL": (Cause.NODE, "its node could not be set up"),
}
NEVER = "DependencyNeverSatisfied"  # the queue's reason of a job that waits in vain, or was ended for it
HELD_BACK = (Cause.SKIPPED, "its canary did not pass")
NOWHERE = ("", "None assigned", "(null)")  # in the place of nodes, of a job that never had one

# What slurmstepd writes into a job's output, for sites without accounting.
OUTPUT_LINES: tuple[tuple[str, Cause], ...] = (
    ("DUE TO TIME LIMIT", Cause.TIMEOUT),
    ("DUE TO NODE FAILURE", Cause.NODE),
    ("DUE TO PREEMPTION", Cause.PREEMPTED),
    ("oom-kill event", Cause.OUT_OF_MEMORY),
    ("oom_kill event", Cause.OUT_OF_MEMORY),
    (": Out Of Memory", Cause.OUT_OF_MEMORY),
    ("CANCELLED AT", Cause.CANCELLED),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of sacct or squeue about one task of an array, or about all that have no line of their own."""

    element: Element
    state: str  # in Slurm's words, complete: `CANCELLED by 1000`
    exit: tuple[int, int] = (0, 0)  # code, signal
    derived: tuple[int, int] = (0, 0)  # the worst of its steps
    nodes: str = ""  # empty of a task that never had one
    reason: str = ""  # why it waits or ended; of rows of the queue, where it is never empty


def parse_sacct(text: str) -> dict[Element, Row]:
    """Rows of `sacct -n -P -X -o JobID,State,ExitCode,DerivedExitCode,NodeList`; the last attempt of each counts."""
    rows = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 5 or "." in fields[0]:
            continue
        job_id, state, code, derived, nodes = fields[:5]
        for element in parse_job_id(job_id):
            rows[element] = Row(
                element, state, _parse_exit(code), _parse_exit(derived), _parse_nodes(nodes)
            )
    return rows


def parse_squeue(text: str) -> dict[Element, Row]:
    """Rows of `squeue -h -o '%F|%K|%T|%N|%r'`."""
    rows = {}
    for line in text.splitlines():
        fields = line.split("|", 4)
        if len(fields) == 5:
            array, indices, state, nodes, reason = fields
            for element in _elements(array, indices):
                rows[element] = Row(
                    element, state, nodes=_parse_nodes(nodes), reason=reason.strip()
                )
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
    return sorted(
        (Job(array, first, size) for (array, first), size in found.items()),
        key=lambda job: job.first,
    )


def jobs_from_sacct(text: str) -> str:
    """Lines of `sacct -o JobID,JobName` in the form that `parse_jobs` reads."""
    lines = []
    for line in text.splitlines():
        job_id, _, name = line.partition("|")
        array, _, indices = job_id.partition("_")
        lines.append(f"{array}|{indices.strip('[]')}|{name}")
    return "\n".join(lines)


def parse_job_id(text: str) -> Iterable[Element]:
    """The array tasks that an id names: `503_2`, `505_[0-9%2]`, `505_[1,4-6]`; of a bare id, those without a row."""
    array, _, indices = text.partition("_")
    return _elements(array, indices.strip("[]"))


def _elements(array: str, indices: str) -> Iterable[Element]:
    return (
        ((array, int(indices)),) if indices.isdecimal() else _several(array, indices)
    )  # nearly all have one


def _several(array: str, indices: str) -> Iterator[Element]:
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


def _parse_nodes(text: str) -> str:
    return "" if text.strip() in NOWHERE else text.strip()


def phase_of(state: str) -> Phase | None:
    """The phase of a job that has not ended, None for one that has; what we do not know counts as alive."""
    word = first_word(state)
    if word in CAUSE_OF_STATE or word in ("COMPLETED", "FAILED", "CANCELLED"):
        return None
    return Phase.RUNNING if word in RUNNING else Phase.QUEUED


def state_from_row(row: Row) -> JobState:
    """What a line says about its task: where it stands, or why it ended."""
    phase = phase_of(row.state)
    if phase is not None and row.reason != NEVER:
        return JobState(phase, node=row.nodes)
    cause, detail = _why(row)
    return JobState(Phase.ENDED, cause, detail, row.nodes)


def _why(row: Row) -> tuple[Cause | None, str]:
    word = first_word(row.state)
    if row.reason == NEVER:
        return HELD_BACK
    if word == "CANCELLED":
        return _why_cancelled(row)
    if SIGNAL_OUT_OF_MEMORY in (row.exit[1], row.derived[1]):
        word = "OUT_OF_MEMORY"
    if word in CAUSE_OF_STATE:
        cause, words = CAUSE_OF_STATE[word]
        return cause, f"{words} ({row.nodes})" if row.nodes else words
    return _why_failed(row) if word == "FAILED" else (None, "")


def _why_cancelled(row: Row) -> tuple[Cause, str]:
    who = re.search(r"by (\d+)", row.state)
    is_on_record = not row.reason
    if who is None and is_on_record and not row.nodes:
        return HELD_BACK  # accounts name the user, unless Slurm ended it by itself, since what it waited for had failed
    words = f"cancelled by user {who[1]}" if who else "cancelled"
    return Cause.CANCELLED, words if row.nodes else f"{words} before it started"


def _why_failed(row: Row) -> tuple[Cause | None, str]:
    code, number = row.exit
    if number == SIGNAL_NO_OUTPUT:
        return (
            Cause.NOT_STARTED,
            f"could not write its output file on {row.nodes}: is the folder there?",
        )
    if number:
        return Cause.SIGNAL, describe_signal(number)
    if not row.nodes:
        return Cause.NOT_STARTED, "ended before it had a node"
    if code in EXITS_OF_SHELL:
        return Cause.NOT_STARTED, f"{EXITS_OF_SHELL[code]} on {row.nodes} (exit code {code})"
    if code in EXITS_WITHOUT_BLAME:
        return None, EXITS_WITHOUT_BLAME[code]
    if code == EXIT_CONTINUE:
        return Cause.CONTINUE, "it saved a checkpoint and left"
    if code == EXIT_DISK_FULL:
        return Cause.DISK_FULL, "make room, or mend who may write it; then submit again"
    if code == EXIT_SKIPPED:
        return Cause.SKIPPED, "too many runs before it failed in the same way"
    return Cause.EXIT, f"exit code {code}"


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
    return [
        int(field) for line in text.splitlines() for field in line.split("|") if field.isdigit()
    ]


def render_indices(indices: Iterable[int]) -> str:
    """`0-3,7,9-10` from indices in any order."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
