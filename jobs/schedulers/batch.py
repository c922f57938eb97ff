"""Submit, ask and cancel on any scheduler with job arrays; a backend adds the texts.

`BatchScheduler` cuts a batch into arrays within the site's limits, repeats calls that were not
taken, keeps notes, finds jobs whose acceptance was never reported, and groups jobs for queries and
cancellations. A backend says what it writes (scripts, arguments) and what it reads (answers).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from anlp.core.errors import SchedulerError
from anlp.core.files import EXECUTABLE, describe_fault, make_folder, write_whole
from anlp.core.units import render_duration
from jobs.common import external
from jobs.common.external import Answer
from jobs.common.users import user_name
from jobs.config.resources import Resources
from jobs.schedulers import backoff
from jobs.schedulers.backoff import Backoff
from jobs.schedulers.base import (
    Batch,
    Job,
    JobHandle,
    JobState,
    Phase,
    Scheduler,
    Setup,
    report_to_none,
)
from jobs.schedulers.site import Profile, apply

LOOK_AGAIN_S = 0.2
CALLS_AT_ONCE = 50  # of a cancellation, before there are pauses between them
PAUSE_S = 0.12  # a login node has some 500 privileged ports, each of use once a minute
CHARACTERS_PER_CALL = 60_000  # Linux takes 128 KiB in one argument, and 256 KiB at least in all
Snapshot = TypeVar("Snapshot")  # what a backend's queries answered about some jobs


@dataclass(frozen=True, slots=True)
class Piece:
    """Describes the elements of a call: `first` to `first + size - 1`, `most` at a time."""

    first: int
    size: int
    most: int | None = None
    behind: str | None = None  # a job that has to end first, well or not

    @property
    def is_array(self) -> bool:
        """Return whether the piece has more than one element."""
        return self.size > 1


@dataclass(frozen=True, slots=True)
class Submission:
    """Holds what all calls of a submission have in common."""

    batch: Batch
    resources: Resources
    script: str = ""  # where one script serves all calls


@dataclass(frozen=True, slots=True)
class Call:
    """Holds the arguments of a submit call, and the files that must be there before."""

    argv: tuple[str, ...]
    folder: Path  # of what the job prints: many schedulers lose it where the folder is missing
    files: Mapping[Path, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None  # None: that of this process


class BatchScheduler(ABC, Scheduler, Generic[Snapshot]):
    """Does what all schedulers with job arrays have in common.

    Args:
        patience_s: how long a submission repeats calls that were not taken; None: a minute.
        say: told before each pause.
    """

    is_experimental: ClassVar[bool] = False
    job_variable: ClassVar[str] = ""
    environment_prefixes: ClassVar[tuple[str, ...]] = ()
    can_exclude_nodes: ClassVar[bool] = False
    node_packages: ClassVar[tuple[str, ...]] = ()
    unsupported: ClassVar[frozenset[str]] = frozenset()
    profile_type: ClassVar[type[Profile] | None] = None
    default_profile: ClassVar[str] = ""

    submit_command: ClassVar[str]  # the program that submits
    submit_timeout_s: ClassVar[float] = 60.0
    cancel_timeout_s: ClassVar[float] = 60.0
    waits_for_arrays: ClassVar[bool] = False  # whether jobs can depend on a whole array
    always_array: ClassVar[bool] = False  # whether a single element is an array as well
    looks_before_repeating: ClassVar[bool] = False  # whether a call that failed may have been taken
    name_option: ClassVar[str] = ""  # of the submit call, by which a process is recognised

    def __init__(
        self, *, patience_s: float | None = None, say: Callable[[str], None] = backoff.say
    ) -> None:
        self._patience_s = patience_s
        self._say = say
        self._notes: list[str] = []
        self._array_limit: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what people should know about the last call: what was left, who did not answer."""
        return tuple(self._notes)

    # ---- what a backend adds

    @classmethod
    @abstractmethod
    def create(cls, setup: Setup) -> BatchScheduler[Snapshot]:
        """Return a scheduler that is set up so."""

    @classmethod
    @abstractmethod
    def is_here(cls) -> bool:
        """Return whether its commands are on this machine and its server exists, up or down."""

    @classmethod
    @abstractmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return the file with what element `index` of a job printed, None where there is none."""

    @property
    @abstractmethod
    def profile(self) -> Profile | None:
        """Return the site's profile."""

    @abstractmethod
    def render_call(self, submission: Submission, piece: Piece) -> Call:
        """Return the call that submits a piece, with its script."""

    @abstractmethod
    def read_array_limit(self, patience: Backoff) -> int:
        """Ask how many elements an array may have."""

    @abstractmethod
    def parse_submitted(self, out: str) -> str | None:
        """Return the job's id from what the submit command printed."""

    @abstractmethod
    def is_not_taken(self, answer: Answer) -> bool:
        """Return whether a request was certainly not taken, so that it may be made again."""

    @abstractmethod
    def is_limit(self, answer: Answer) -> bool:
        """Return whether a submission was refused because of how many jobs there may be."""

    @abstractmethod
    def explain(self, answer: Answer) -> str:
        """Return what an answer says, in one line."""

    @abstractmethod
    def refusal(self, command: str, answer: Answer) -> SchedulerError:
        """Return the error of a call that failed."""

    @abstractmethod
    def find_jobs(self, tag: str, user: str) -> list[Job]:
        """Return the jobs of the submission `tag` of a user that are known, by their names."""

    @abstractmethod
    def is_id(self, native_id: str) -> bool:
        """Return whether this can be the id of a job."""

    @abstractmethod
    def look(self, ids: Sequence[str], jobs: Sequence[JobHandle]) -> Snapshot:
        """Ask about the jobs with these ids, with one query; `jobs` are their elements."""

    @abstractmethod
    def state_in(self, snapshot: Snapshot, job: JobHandle) -> JobState:
        """Return the state of one element."""

    @abstractmethod
    def cancel_calls(self, jobs: Sequence[JobHandle]) -> Iterator[list[str]]:
        """Return the calls that cancel these elements."""

    # ---- what it may change

    def prepare(self, batch: Batch, resources: Resources) -> Submission:
        """Fill in the site's defaults; refuse what the scheduler cannot be asked for."""
        if self.profile is not None:
            resources = apply(self.profile, resources)
        return Submission(batch, resources)

    def next_piece(self, batch: Batch, first: int, largest: int, taken: Sequence[str]) -> Piece:
        """Return the next piece; the pieces share `max_parallel`, each at least one element."""
        del taken
        size = min(largest, batch.size - first)
        most = batch.max_parallel
        return Piece(first, size, None if most is None else max(1, most * size // batch.size))

    def run(self, argv: Sequence[str], timeout_s: float) -> Answer:
        """Call a command of the scheduler once."""
        return external.run(argv, timeout_s=timeout_s)

    def hand_in(self, call: Call) -> Answer:
        """Submit once."""
        return self.run(call.argv, self.submit_timeout_s)

    def may_submit_again(self, answer: Answer, resources: Resources) -> bool:
        """Return whether a submit call that failed may be repeated."""
        del resources
        return self.is_not_taken(answer)

    def free_places(self, resources: Resources, wanted: int) -> int | None:
        """Return how many more elements the user may submit, None where that cannot be read."""
        del resources, wanted
        return None

    def hides_jobs_of_others(self) -> str:
        """Return why this user may not see all jobs of others, empty where they are seen."""
        return ""

    def cluster(self) -> str:
        """Return the name of the cluster that takes the jobs, empty where it has none."""
        return ""

    def check_accepted(self, native_id: str, piece: Piece) -> None:
        """Raise where an accepted job cannot be used."""

    def look_at_accepted(self, batch: Batch, handles: Sequence[JobHandle]) -> list[str]:
        """Return what people should know about jobs that were just accepted."""
        del batch, handles
        return []

    def is_cancelled(self, answer: Answer) -> bool:
        """Return whether a cancellation did what it could."""
        return answer.code == 0

    def unheeded(self, jobs: Sequence[JobHandle]) -> list[JobHandle]:
        """Return those of the cancelled `jobs` of which the scheduler shows no sign that it heard.

        For schedulers whose command may leave with 0 although nothing happened.
        """
        del jobs
        return []

    # ---- submit

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Submit `batch` as arrays, each as large as the site allows; see `Scheduler.submit`.

        A call that was certainly not taken is repeated for about a minute. One whose answer was
        lost is not: the error is transient, and `find` knows what was accepted. Where the user's
        limit is met, smaller arrays are tried, and what does not fit is left.
        """
        self._notes = []
        submission = self.prepare(batch, resources)
        batch = submission.batch
        patience = Backoff(self.name, self._patience_s, self._say)
        room = _Room(self._largest_piece(batch, patience))
        handles: list[JobHandle] = []
        taken: list[str] = []
        while len(handles) < batch.size and not room.is_used_up:
            piece = self.next_piece(batch, len(handles), room.largest, taken)
            answer = self._hand_in(submission, piece, patience)
            if self.is_limit(answer):
                room.shrink(piece.size, partial(self.free_places, submission.resources))
                if room.largest == 0 and not handles:
                    raise SchedulerError(
                        f"{self.name}: you have as many jobs in the queue as you may "
                        f"({self.explain(answer)}); submit again when some have ended"
                    )
                continue
            job = Job(self._accepted_id(answer, piece), piece.first, piece.size)
            accepted(job)
            taken.append(job.native_id)
            handles += [JobHandle(self.name, job.native_id, index) for index in range(job.size)]
            room.use(piece.size)
        self._note_rest(batch.size, len(handles))
        self._notes += self.look_at_accepted(batch, handles)
        return handles

    def _largest_piece(self, batch: Batch, patience: Backoff) -> int:
        """Return how many elements a call may submit; ask for the limit once, if it matters."""
        if batch.apart and not self.waits_for_arrays:
            return 1
        if self._array_limit is None and (batch.size > 1 or self.always_array):
            self._array_limit = self.read_array_limit(patience)
        own = self.profile.max_array_size if self.profile is not None else None
        largest = min(self._array_limit or 1, own or batch.size, batch.size)
        if batch.max_parallel and largest == 1 < batch.size:
            self._notes.append(
                f"every run is a job of its own here, and {self.title} cannot limit how many of "
                "those run at a time"
            )
        return largest

    def _hand_in(self, submission: Submission, piece: Piece, patience: Backoff) -> Answer:
        call = self.render_call(submission, piece)
        self._write(call)
        return patience.repeat(
            partial(self.hand_in, call),
            lambda answer: self.may_submit_again(answer, submission.resources),
            self.explain,
            partial(self._hand_in_again, call, submission.batch.tag, piece),
        )

    def _write(self, call: Call) -> None:
        try:
            make_folder(call.folder)
            for path, text in call.files.items():
                write_whole(path, text.encode(), mode=EXECUTABLE)
        except OSError as error:
            raise SchedulerError(
                f"{self.name}: cannot be written: {describe_fault(error)}"
            ) from error

    def _hand_in_again(self, call: Call, tag: str, piece: Piece, before: Answer) -> Answer:
        """Repeat a submit call, where that matters only if the scheduler has no such job."""
        if self.looks_before_repeating:
            try:
                found = [job.native_id for job in self.find(tag) if job.first == piece.first]
            except SchedulerError as error:
                if not error.transient:
                    raise
                return before
            if found:
                return Answer(0, found[0], "")
        return self.hand_in(call)

    def _accepted_id(self, answer: Answer, piece: Piece) -> str:
        if answer.code:
            raise self.refusal(self.submit_command, answer)
        native_id = self.parse_submitted(answer.out)
        if native_id is None:
            said = answer.out.strip().splitlines()[-1:] or ["nothing"]
            raise SchedulerError(
                f"{self.name}: {self.submit_command} printed no job id but {said[0]!r}",
                transient=True,
            )
        self.check_accepted(native_id, piece)
        return native_id

    def _note_rest(self, size: int, done: int) -> None:
        if done < size:
            self._notes.append(
                f"{done} of {size} submitted: you have as many jobs in the queue as you may; "
                f"{size - done} wait for the next submit"
            )

    # ---- find, states, cancel

    def find(self, tag: str, user: str = "") -> list[Job]:
        """Return the jobs of the submission `tag`; see `Scheduler.find`."""
        own = user_name()
        if user not in ("", own) and (why := self.hides_jobs_of_others()):
            raise SchedulerError(
                f"{self.name}: {user} submitted this, and {why}: what was taken is not known. "
                f"Ask {user} to submit or cancel this grid once, which records it",
                transient=True,
            )
        if self.name_option:
            self._let_callers_end(tag)
        return self.find_jobs(tag, user or own)

    def _let_callers_end(self, tag: str) -> None:
        """Return when no submit call of that submission is at work: it outlives a killed submit.

        Raises:
            SchedulerError: one of them does not end.
        """
        deadline = time.monotonic() + self.submit_timeout_s
        while any(tag in words for words in _calls_with(self.name_option)):
            if time.monotonic() > deadline:
                raise SchedulerError(
                    f"{self.name}: an {self.submit_command} of that submission has not ended; "
                    "try again later",
                    transient=True,
                )
            time.sleep(LOOK_AGAIN_S)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """Return the state of every element, with one query; see `Scheduler.states`."""
        self._notes = []
        ids = {job.native_id for job in jobs if self.is_id(job.native_id)}
        known = [job for job in jobs if job.native_id in ids]
        snapshot = self.look(sorted(ids, key=number_first), known) if ids else None
        found = {}
        for job in jobs:
            if snapshot is None or job.native_id not in ids:
                strange = f"no id of {self.title}: {job.native_id!r}"
                found[job] = JobState(Phase.QUEUED, None, strange)
            else:
                found[job] = self.state_in(snapshot, job)
        return found

    def cancel(self, jobs: Sequence[JobHandle]) -> Sequence[JobHandle]:
        """Cancel all of `jobs` with as few calls as are safe; what has ended is no error.

        Returns:
            Those of which the scheduler shows no sign that it heard.

        Raises:
            SchedulerError: the scheduler did not answer, or refused.
        """
        known = [job for job in jobs if self.is_id(job.native_id)]
        calls = list(self.cancel_calls(known)) if known else []
        if len(calls) > CALLS_AT_ONCE:
            took_s = (len(calls) - CALLS_AT_ONCE) * PAUSE_S
            self._say(
                f"{self.name}: {len(calls)} calls of {calls[0][0]}, spread over "
                f"{render_duration(took_s)} to spare the server"
            )
        for number, argv in enumerate(calls):
            if number >= CALLS_AT_ONCE:
                time.sleep(PAUSE_S)
            answer = self.run(argv, self.cancel_timeout_s)
            if not self.is_cancelled(answer):
                raise self.refusal(argv[0], answer)
        return self._ask_for_unheeded(known) if calls else []

    def _ask_for_unheeded(self, jobs: Sequence[JobHandle]) -> Sequence[JobHandle]:
        try:
            return self.unheeded(jobs)
        except SchedulerError as error:
            raise SchedulerError(
                f"{error}\nWhether it stopped the jobs is not known: cancel again once it answers",
                transient=error.transient,
            ) from error


class _Room:
    """Tracks how many elements the next call may submit."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._free: int | None = None  # places that the user's limit leaves, where it can be read
        self._has_asked = False

    @property
    def is_used_up(self) -> bool:
        return self.largest < 1

    def shrink(self, size: int, free_places: Callable[[int], int | None]) -> None:
        """Take a smaller size after one that was refused: what is free, else half of it."""
        self._free = None
        if not self._has_asked:
            self._free = free_places(size)
            self._has_asked = True
        self.largest = size // 2 if self._free is None else min(self._free, size - 1)

    def use(self, size: int) -> None:
        """Note an accepted call: where exactly the free places are used, there are none left."""
        if self._free is not None:
            self._free -= size
            self.largest = min(self.largest, self._free)


def indices_by_job(jobs: Iterable[JobHandle]) -> Mapping[str, set[int]]:
    """Return the indices of elements, grouped by their job."""
    found: dict[str, set[int]] = defaultdict(set)
    for job in jobs:
        found[job.native_id].add(job.index)
    return found


def in_chunks(words: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Cut arguments into calls that a system takes: of so many words, and not too long.

    >>> list(in_chunks(["1", "2", "3"], 2))
    [['1', '2'], ['3']]
    """
    chunk: list[str] = []
    length = 0
    for word in words:
        if chunk and (len(chunk) == most or length + len(word) > CHARACTERS_PER_CALL):
            yield chunk
            chunk, length = [], 0
        chunk.append(word)
        length += len(word) + 1
    if chunk:
        yield chunk


def render_ranges(indices: Iterable[int]) -> list[str]:
    """Return the fewest ranges with exactly these indices.

    >>> render_ranges([9, 3, 4, 5, 1])
    ['1', '3-5', '9']
    """
    ranges: list[list[int]] = []
    for index in sorted(set(indices)):
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return [str(low) if low == high else f"{low}-{high}" for low, high in ranges]


def number_first(native_id: str) -> tuple[int, str]:
    """Return a key that sorts ids by their number.

    >>> sorted(["10[]", "9"], key=number_first)
    ['9', '10[]']
    """
    digits = native_id[: len(native_id) - len(native_id.lstrip("0123456789"))]
    return int(digits or 0), native_id


def _calls_with(option: str) -> list[str]:
    """Return the command lines on this host that have an option."""
    calls = [_read_words(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [words for words in calls if option in words]


def _read_words(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # the process has just ended, or belongs to another user
        return ""
