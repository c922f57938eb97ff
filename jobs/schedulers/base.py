"""Define what the suite and a scheduler exchange: handles, states, causes, and the interface."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar, Protocol

from anlp.core import errors
from jobs.config.resources import Resources
from jobs.containers.apptainer import EXIT_NOT_STARTED, Container
from jobs.schedulers.site import Profile

MOST_OF_NAME = 40


@dataclass(frozen=True, slots=True)
class JobHandle:
    """One element of one job, as the scheduler knows it."""

    scheduler: str  # its name in the registry
    native_id: str
    index: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Describes one submission: a batch file with one line per element."""

    tag: str  # unique; named in the journal before the scheduler is called
    name: str  # job name: the grid's
    path: Path
    size: int
    max_parallel: int | None = None
    after: tuple[str, ...] = ()  # ids of jobs that must end well before any element starts
    cluster: str = ""  # that takes it, where the scheduler names one
    apart: bool = False  # one job per element, so that later jobs can depend on each (`after`)

    def job_name(self, first: int) -> str:
        """Return the name of the job whose first element is `first`: `mnist.3f2a9c0d1e4b.0`.

        The name is legal for every scheduler. It carries the tag, so that a job whose acceptance
        was never reported is found again (`parse_job_name`).
        """
        return f"{re.sub('[^A-Za-z0-9_-]', '_', self.name)[:MOST_OF_NAME]}.{self.tag}.{first}"


def parse_job_name(name: str) -> tuple[str, int] | None:
    """Return tag and first element of a job that this suite named, None for any other name.

    >>> parse_job_name("mnist.3f2a9c0d1e4b.8")
    ('3f2a9c0d1e4b', 8)
    >>> parse_job_name("bash") is None
    True
    """
    match = re.fullmatch(r"[A-Za-z0-9_-]+\.([0-9a-f]{12})\.(\d+)", name)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the scheduler named it, with elements `first` to `first + size - 1` of a batch.

    The handle of element `i` is `JobHandle(scheduler, native_id, i - first)`.
    """

    native_id: str
    first: int
    size: int


class Phase(str, Enum):
    """Names the stage of a job. A word of a scheduler that is not known counts as `QUEUED`."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Cause(str, Enum):
    """Names why a job ended before its run wrote a result.

    Journals hold the names, so these stay: `HELD_BACK` and `NO_ROOM` are written, and the code
    calls them `SKIPPED` and `DISK_FULL`.
    """

    CANCELLED = "cancelled"
    HELD_BACK = "held back"  # not started: a canary or too many runs in a row failed before it
    SKIPPED = HELD_BACK
    PREEMPTED = "preempted"
    TIMEOUT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE = "node failure"
    NOT_STARTED = "never started"  # its program did not begin: no output folder, image or module
    SIGNAL = "killed by a signal"
    EXIT = "exit code"
    LAUNCHER = "its launcher ended"
    CONTINUE = "asked to be continued"
    NO_ROOM = "its folder could not be written"  # a full disk or a quota
    DISK_FULL = NO_ROOM
    REMOVED = "its folder was removed"  # while it trained
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, text: object) -> Cause | None:
        """Return the cause with this value, None where there is none.

        >>> Cause.parse("node failure").name
        'NODE'
        >>> Cause.parse("bad luck") is None
        True
        """
        try:
            return cls(text)
        except ValueError:
            return None


AWAITS_ACCOUNTS = "ended, waiting for the accounts"
ACCOUNTS_AWAY = f"{AWAITS_ACCOUNTS}, which do not answer"
NOT_KNOWN = "neither the queue nor the accounts know it"


@dataclass(frozen=True, slots=True)
class JobState:
    """Holds a job's phase and, once it ended, the cause that the scheduler gives.

    A job that is over by the queue, and whose end the accounts may still tell, counts as running
    with the detail `AWAITS_ACCOUNTS`: nothing is concluded from it yet.
    """

    phase: Phase
    cause: Cause | None = None
    detail: str = ""  # one line in the scheduler's words: "signal 9", "used 2.1 of 2.0 GiB"
    node: str = ""  # where it ran, as the scheduler names it
    signal: int | None = None  # that ended it

    @property
    def awaits_accounts(self) -> bool:
        """Return whether it is over, and its accounts, which answer, have yet to say how."""
        return self.phase is Phase.RUNNING and self.detail == AWAITS_ACCOUNTS


NEVER_RUNS = "Can Never Run"  # what the detail of a job begins with that can never start


def can_never_run(state_detail: str) -> bool:
    """Return whether a scheduler says that a queued job can never start as it is.

    >>> can_never_run("Can Never Run: Insufficient amount of resource: ngpus (R: 99 A: 2 T: 2)")
    True
    """
    return state_detail.startswith(NEVER_RUNS)


EXIT_SETUP = 72  # of a job's script that could not begin: no module, no folder, no container

READ_OUTPUT = "the job's output says why"
RUNS_FAILED = "exit code 1"  # of runs that failed and left their results, or of what began none
# What the exit code of an element means: of `anlp.run` and of the script that starts it.
EXITS: Mapping[int, tuple[Cause | None, str]] = {
    errors.EXIT_OK: (None, ""),
    errors.EXIT_RUNS_FAILED: (None, RUNS_FAILED),
    errors.EXIT_USAGE: (
        Cause.EXIT,
        "exit code 2: it could not use its batch file; the job's output says why",
    ),
    errors.EXIT_CONTINUE: (Cause.CONTINUE, "it saved a checkpoint and left"),
    errors.EXIT_HELD: (None, "another process is training it"),
    errors.EXIT_SKIPPED: (Cause.SKIPPED, "too many runs before it failed in the same way"),
    errors.EXIT_DISK_FULL: (
        Cause.DISK_FULL,
        "a full disk, a quota or missing permissions (the job's output names the file)",
    ),
    errors.EXIT_FOLDER_REMOVED: (Cause.REMOVED, "while it trained; submit again to begin again"),
    errors.EXIT_ESCAPED: (
        Cause.EXIT,
        "exit code 70: an exception escaped; the job's output has its traceback",
    ),
    EXIT_SETUP: (
        Cause.NOT_STARTED,
        f"exit code 72: its script or its container could not start; {READ_OUTPUT}",
    ),
    126: (Cause.NOT_STARTED, "exit code 126: a program on the node cannot be executed"),
    127: (Cause.NOT_STARTED, "exit code 127: a program was not found on the node"),
    EXIT_NOT_STARTED: (
        Cause.NOT_STARTED,
        f"exit code 255: its container did not start; {READ_OUTPUT}",
    ),
}


def state_of_exit(code: int, node: str = "") -> JobState:
    """Return the state of an element that ended by itself with this exit code.

    There is no cause where its runs have their results or another process trains them.

    >>> state_of_exit(3).cause.value
    'asked to be continued'
    >>> state_of_exit(9).detail
    'exit code 9'
    """
    cause, detail = EXITS.get(code, (Cause.EXIT, f"exit code {code}"))
    return JobState(Phase.ENDED, cause, detail, node)


def cause_of_record(cause: object, detail: str) -> Cause:
    """Return the cause of a crash from its record on disk, whose process knows no table of codes.

    >>> cause_of_record("out of memory", "").name
    'OUT_OF_MEMORY'
    >>> cause_of_record("exit code", "exit code 127").name
    'NOT_STARTED'
    """
    known = Cause.parse(cause) or Cause.UNKNOWN
    code = re.match(r"exit code (\d+)\b", detail) if known is Cause.EXIT else None
    if code is None:
        return known
    return state_of_exit(int(code[1])).cause or known


def state_of_signal(number: int, node: str = "") -> JobState:
    """Return the state of an element that a signal ended.

    >>> state_of_signal(9).detail
    'signal 9 (SIGKILL)'
    """
    return JobState(Phase.ENDED, Cause.SIGNAL, render_signal(number), node, number)


def render_signal(number: int) -> str:
    """Return `signal 11 (SIGSEGV)`, and the number alone of a signal without a name.

    >>> render_signal(11), render_signal(99)
    ('signal 11 (SIGSEGV)', 'signal 99')
    """
    name = signal_name(number)
    return f"signal {number} ({name})" if name.startswith("SIG") else f"signal {number}"


def signal_name(number: int | None) -> str:
    """Return the name of a signal, `a signal` where it has none.

    >>> signal_name(15), signal_name(99)
    ('SIGTERM', 'a signal')
    """
    try:
        known = signal.Signals(number or 0)
    except ValueError:
        return "a signal"
    return "a signal" if known in (signal.SIGRTMIN, signal.SIGRTMAX) else known.name


def parse_signal(detail: str) -> int | None:
    """Return the number of the signal that a recorded detail names, None where it names none.

    For records on disk, which keep the sentence alone; a `JobState` carries the number.

    >>> parse_signal("signal 9"), parse_signal("SIGSEGV"), parse_signal("killed")
    (9, 11, None)
    """
    named = re.search(r"\bSIG[A-Z0-9]+\b", detail)
    if named and named[0] in signal.Signals.__members__:
        return int(signal.Signals[named[0]])
    numbered = re.search(r"\d+", detail)
    return int(numbered[0]) if numbered else None


_MIB_PER: Mapping[str, float] = {"": 1 / 1024**2, "k": 1 / 1024, "m": 1, "g": 1024, "t": 1024**2}
_USE = re.compile(r"used ([\d.]+) ?(?:([kmgt]?)i?b)? of ([\d.]+) ?([kmgt]?)i?b\b", re.IGNORECASE)


def parse_memory_use(detail: str) -> tuple[float, float] | None:
    """Return MiB used and MiB asked for that a recorded detail names, None where it names none.

    >>> parse_memory_use("exceeded resource mem: used 462848kb of 150mb")
    (452.0, 150.0)
    >>> parse_memory_use("used 2.5 of 2.0 GiB"), parse_memory_use("exit code 3")
    ((2560.0, 2048.0), None)
    """
    found = _USE.search(detail)
    if found is None:
        return None
    try:
        used, asked = float(found[1]), float(found[3])
    except ValueError:  # a number with two points
        return None
    unit = found[4].lower()
    own_unit = unit if found[2] is None else found[2].lower()
    return used * _MIB_PER[own_unit], asked * _MIB_PER[unit]


def report_to_none(_: Job) -> None:
    """Ignore an accepted job."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Says how a scheduler of one submission is set up; each backend takes what it needs."""

    site: Profile | None = None  # None: the backend's own defaults
    container: Container | None = None  # the image that elements run in
    slots: int | None = None  # elements at a time on this machine
    pack: int = 1  # elements that share a GPU of this machine
    environment_prefixes: tuple[str, ...] = ()  # of all known schedulers' variables


class Scheduler(Protocol):
    """Defines what a backend does; `tests/support/schedulers/conformance.py` holds for all of them.

    A backend is a class: its class attributes say what the suite needs to know without a scheduler
    at hand, `create` makes one. `jobs.schedulers.batch.BatchScheduler` does most of the work for a
    scheduler with job arrays.
    """

    name: ClassVar[str]  # as `--on` takes it and the journal keeps it
    title: ClassVar[str]  # as its users write it
    is_experimental: ClassVar[bool]
    job_variable: ClassVar[str]  # environment variable that is set within its jobs; "": none
    environment_prefixes: ClassVar[tuple[str, ...]]  # of its variables, which a container needs
    can_exclude_nodes: ClassVar[bool]
    node_packages: ClassVar[tuple[str, ...]]  # that its own code on the node imports
    unsupported: ClassVar[frozenset[str]]  # fields of Resources that it refuses
    profile_type: ClassVar[type[Profile] | None]  # of its site profiles; None: it has none
    default_profile: ClassVar[str]  # name of the profile that holds where none is named; ""

    @classmethod
    def create(cls, setup: Setup) -> Scheduler:
        """Return a scheduler that is set up so."""
        ...

    @classmethod
    def is_here(cls) -> bool:
        """Return whether its commands are on this machine and its server exists, up or down.

        Raises:
            UserError: its commands are here and cannot be used; says what to do about it.
        """
        ...

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return the file with what element `index` of a job printed, None where there is none."""
        ...

    def cluster(self) -> str:
        """Return the name of the cluster that takes its jobs, empty where it has none."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what people should know about the last call."""
        ...

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Submit the elements of `batch`, in order, with as few calls as the site's limits allow.

        Args:
            batch: the elements.
            resources: what each asks for.
            accepted: told of each job as soon as it is accepted, before the next call.

        Returns:
            A handle for each accepted element, in order: fewer than the batch has where the user's
            submit limit is reached; the rest is for the next submit.

        Raises:
            SchedulerError: refused or unreachable; jobs that `accepted` was told of stay accepted.
                Where the error is transient, the failed call may have been accepted (`find` knows).
        """
        ...

    def find(self, tag: str, user: str = "") -> list[Job]:
        """Return the jobs of a submission by their names, for when its answer was lost.

        Args:
            tag: of the submission.
            user: who submitted it; empty: the user of this process.

        Raises:
            SchedulerError: it cannot be asked now, or it hides the jobs of that user.
        """
        ...

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """Return the state of every job, with one query for all of them."""
        ...

    def cancel(self, jobs: Sequence[JobHandle]) -> Sequence[JobHandle] | None:
        """Ask for all of them to be stopped; return before they are.

        Returns:
            Those of which there is no sign that the scheduler heard; None: that cannot be told.
        """
        ...
