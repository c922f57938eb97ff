"""Parse what Slurm's commands print: ids of array tasks, states with their causes, limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from jobs.schedulers.base import (
    Cause,
    Job,
    JobState,
    Phase,
    parse_job_name,
    state_of_exit,
    state_of_signal,
)
from jobs.schedulers.batch import render_ranges

Element = tuple[str, int]  # id of an array and index in it
WHOLE = -1  # index of a row that stands for all tasks of an array which have no row of their own

SACCT_FIELDS = "JobID,State,ExitCode,DerivedExitCode,NodeList"
SQUEUE_FORMAT = "%F|%K|%T|%N|%r"
NAMES_FORMAT = "%F|%K|%j|%o"  # %o: the script with its arguments, the last of which is the name

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
# the queue's reason of a job that waits in vain, or was ended for it
NEVER = "DependencyNeverSatisfied"
HELD_BACK = JobState(Phase.ENDED, Cause.SKIPPED, "its canary did not pass")
NOWHERE = ("", "None assigned", "(null)")  # in the place of nodes, of a job that never had one


@dataclass(frozen=True, slots=True)
class Row:
    """Holds a line of sacct or squeue about one task, or about all without a line of their own."""

    element: Element
    state: str  # in Slurm's words, complete: `CANCELLED by 1000`
    exit: tuple[int, int] = (0, 0)  # code, signal
    derived: tuple[int, int] = (0, 0)  # the worst of its steps
    nodes: str = ""  # empty of a task that never had one
    reason: str = ""  # why it waits or ended; of rows of the queue, where it is never empty


def parse_sacct(text: str) -> dict[Element, Row]:
    """Parse rows of `sacct -n -P -X -o FIELDS`; the last attempt of each task counts."""
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
    """Parse rows of `squeue -h -o '%F|%K|%T|%N|%r'`."""
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
    """Return the jobs of one submission among lines of `NAMES_FORMAT`.

    They are sized by their highest index. A site's plug-in may have given jobs other names.
    """
    found: dict[tuple[str, int], int] = {}
    for line in text.splitlines():
        array, indices, name, command = [*line.split("|", 3), "", "", ""][:4]
        names = map(parse_job_name, (name, command.rpartition(" ")[2]))
        named = next((each for each in names if each is not None), None)
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
    """Return lines of `sacct -o JobID,JobName` in the form that `parse_jobs` reads."""
    lines = []
    for line in text.splitlines():
        job_id, _, name = line.partition("|")
        array, _, indices = job_id.partition("_")
        lines.append(f"{array}|{indices.strip('[]')}|{name}")
    return "\n".join(lines)


def parse_job_id(text: str) -> Iterable[Element]:
    """Return the array tasks that an id names, of a bare id those without a row.

    >>> list(parse_job_id("505_[1,4-6%2]"))
    [('505', 1), ('505', 4), ('505', 5), ('505', 6)]
    """
    array, _, indices = text.partition("_")
    return _elements(array, indices.strip("[]"))


def _elements(array: str, indices: str) -> Iterable[Element]:
    if indices.isdecimal():  # nearly all have one
        return ((array, int(indices)),)
    return _several(array, indices)


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
    """Return the phase of a job that has not ended, else None; unknown words count as alive."""
    word = first_word(state)
    if word in CAUSE_OF_STATE or word in ("COMPLETED", "FAILED", "CANCELLED"):
        return None
    return Phase.RUNNING if word in RUNNING else Phase.QUEUED


def state_from_row(row: Row) -> JobState:
    """Return what a line says about its task: where it stands, or why it ended."""
    phase = phase_of(row.state)
    if phase is not None and row.reason != NEVER:
        return JobState(phase, node=row.nodes)
    word = first_word(row.state)
    if row.reason == NEVER:
        return HELD_BACK
    if word == "CANCELLED":
        return _cancelled_state(row)
    if SIGNAL_OUT_OF_MEMORY in (row.exit[1], row.derived[1]):
        word = "OUT_OF_MEMORY"
    if word in CAUSE_OF_STATE:
        cause, words = CAUSE_OF_STATE[word]
        detail = f"{words} ({row.nodes})" if row.nodes else words
        return JobState(Phase.ENDED, cause, detail, row.nodes)
    return _failed_state(row) if word == "FAILED" else JobState(Phase.ENDED, node=row.nodes)


def _cancelled_state(row: Row) -> JobState:
    who = re.search(r"by (\d+)", row.state)
    is_on_record = not row.reason
    if who is None and is_on_record and not row.nodes:
        # accounts name the user, unless Slurm cancelled it since what it waited for had failed
        return HELD_BACK
    words = f"cancelled by user {who[1]}" if who else "cancelled"
    detail = words if row.nodes else f"{words} before it started"
    return JobState(Phase.ENDED, Cause.CANCELLED, detail, row.nodes)


def _failed_state(row: Row) -> JobState:
    code, number = row.exit
    if number == SIGNAL_NO_OUTPUT:
        detail = f"could not write its output file on {row.nodes}: is the folder there?"
        return JobState(Phase.ENDED, Cause.NOT_STARTED, detail, row.nodes)
    if number:
        return state_of_signal(number, row.nodes)
    if not row.nodes:
        return JobState(Phase.ENDED, Cause.NOT_STARTED, "ended before it had a node")
    return state_of_exit(code, row.nodes)


def first_word(state: str) -> str:
    """Return the state without what follows it.

    >>> first_word("CANCELLED by 1000"), first_word("CANCELLED+")
    ('CANCELLED', 'CANCELLED')
    """
    return state.split(" ")[0].rstrip("+")


def parse_submitted(out: str) -> str | None:
    """Return the id that `sbatch --parsable` printed, None where there is none.

    >>> parse_submitted("503;cluster")
    '503'
    """
    words = [line for line in out.splitlines() if re.fullmatch(r"\d+(;\S+)?", line.strip())]
    return words[-1].strip().partition(";")[0] if words else None


def parse_config(text: str) -> dict[str, str]:
    """Return names and values of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def keeps_jobs_private(text: str) -> bool:
    """Return whether a configuration hides jobs from other users.

    >>> keeps_jobs_private("PrivateData             = accounts,jobs,usage")
    True
    >>> keeps_jobs_private("PrivateData             = none")
    False
    """
    values = re.findall(r"^\s*PrivateData\s*=\s*(\S+)", text, re.MULTILINE)
    return any("jobs" in value.split(",") for value in values)


def parse_limits(text: str) -> list[int]:
    """Return the numbers in rows of `sacctmgr -n -P`; empty fields mean no limit."""
    return [
        int(field) for line in text.splitlines() for field in line.split("|") if field.isdigit()
    ]


def render_indices(indices: Iterable[int]) -> str:
    """Return indices as Slurm takes them.

    >>> render_indices([9, 0, 1, 2, 5])
    '0-2,5,9'
    """
    return ",".join(render_ranges(indices))
