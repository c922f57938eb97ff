"""PBS Pro, OpenPBS and Torque: arrays by generated scripts, one query for all jobs, deletion by ranges."""

from __future__ import annotations

import os
import pwd
import stat
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anlp.core.errors import SchedulerError
from anlp.core.files import write_whole
from jobs.common import external
from jobs.config.resources import Resources
from jobs.schedulers import profiles
from jobs.schedulers.backoff import patiently
from jobs.schedulers.base import (
    Batch,
    Cause,
    Job,
    JobHandle,
    JobState,
    Phase,
    parse_job_name,
    report_to_none,
)
from jobs.schedulers.pbs import parse as answers
from jobs.schedulers.pbs.parse import JobId, Record, parse_id, parse_records
from jobs.schedulers.pbs.script import (
    Piece,
    Start,
    output_folder_of,
    render_options,
    render_script,
    script_of,
)
from jobs.schedulers.pbs.states import PHASES, never_ran, state_of
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.profiles import Profile

DEFAULT_ARRAY_LIMIT = 10_000  # PBS's own
IDS_PER_CALL = 10_000  # 300 kB of arguments
QUERY_TIMEOUT_S = 60.0
SLOW_QUERY_TIMEOUT_S = 300.0  # without -E every id is a connection: 200 took up to 52 s
SUBMIT_TIMEOUT_S = 60.0
DELETE_TIMEOUT_S = 180.0  # 10,000 queued sub-jobs take 5 s on an idle server
ENDED = frozenset(letter for letter, phase in PHASES.items() if phase is Phase.ENDED)
GONE = JobState(Phase.ENDED, Cause.UNKNOWN, "PBS no longer knows it")


class PbsScheduler:
    """One object asks the server's dialect and limits once; every other call is one command.

    What a site's `qsub` allows decides how many calls a submit takes: ceil(n / max_array_size), and at most 14 more
    where the user's limit is met on the way; up to twice as many where a queue takes smaller arrays than the server, as
    halves are tried.
    """

    name = "pbs"

    def __init__(self, profile: Profile | None = None, start: Start | None = None) -> None:
        self._profile = profile or profiles.load_profile("generic-pbs")
        self._start = start or default_start()
        self._dialect: Dialect | None = (
            None if self._profile.dialect == "auto" else Dialect(self._profile.dialect)
        )
        self._array_limit: int | None = None
        self._notes: list[str] = []
        self._has_history = True
        self._is_plain = False  # this release refuses -E, -w or -1
        self._strange: set[JobId] = set()  # their server is not known here

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the last submission (what was left for the next one)."""
        return tuple(self._notes)

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Writes a script for each array beside the batch file and hands it to qsub.

        Where the user's limit of queued jobs is met, smaller arrays are tried (an array counts with all of its
        elements), and what does not fit is left. A server that is away is asked again for a minute.

        Raises:
            SchedulerError: refused or unreachable, or the limit leaves room for nothing.
        """
        self._notes = []
        resources = profiles.apply(self._profile, resources)
        self._check_env_file()
        batch = replace(batch, path=batch.path.resolve())
        largest = 1 if batch.apart else self._largest_array(batch.size)
        if batch.max_parallel and largest == 1 < batch.size:
            self._notes.append(
                "every run is a job of its own here, and PBS cannot limit how many of those run at a time"
            )
        handles: list[JobHandle] = []
        while len(handles) < batch.size:
            piece = _cut(batch, len(handles), largest)
            answer = self._hand_over(batch, piece, resources)
            if answers.is_limit(answer) or answers.is_array_limit(answer):
                if piece.size == 1:
                    return self._stop_at_limit(handles, answer)
                largest = piece.size // 2
                continue
            job = Job(self._accepted_id(answer, piece), piece.first, piece.size)
            accepted(job)
            handles += [JobHandle(self.name, job.native_id, index) for index in range(piece.size)]
        return handles

    def find(self, tag: str) -> list[Job]:
        """The jobs of a submission, ended ones included where the server keeps them, by their names."""
        wanted = ["qselect", "-u", pwd.getpwuid(os.getuid()).pw_name]
        with_ended = self._has_history and self._known_dialect() is Dialect.PRO
        answer = external.run([*wanted, *(["-x"] if with_ended else [])], timeout_s=QUERY_TIMEOUT_S)
        if with_ended and (answers.is_history_off(answer) or answers.is_usage(answer)):
            answer = external.run(wanted, timeout_s=QUERY_TIMEOUT_S)
        if _is_missing(answer):  # Slurm's wrappers for Torque have none
            return _jobs_of(parse_records(self._ask((), with_sub_jobs=False).out).values(), tag)
        _raise_unless(answer.code == 0, "qselect", answer)
        ids = {_parent_of(word) for word in answer.out.split() if parse_id(word) is not None}
        records, _ = self._query(sorted(ids), with_sub_jobs=False)
        return _jobs_of(records.values(), tag)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """State of every job and sub-job, with one qstat for all of them.

        A job that the server says it does not know has ended (`Cause.UNKNOWN`); one that is merely not in an answer
        is asked about once more, by itself, and counts as alive if nothing definite is said.

        Raises:
            SchedulerError: the server did not answer.
        """
        return self._look(jobs)[0]

    def _look(
        self, jobs: Sequence[JobHandle]
    ) -> tuple[dict[JobHandle, JobState], dict[JobId, Record]]:
        ids = {job: parse_id(job.native_id) for job in jobs}
        askable = sorted({job.native_id for job, key in ids.items() if key is not None})
        records, unknown = self._query(askable)
        absent = [native for native in askable if parse_id(native) not in {*records, *unknown}]
        if absent and len(absent) < len(askable):
            unknown |= self._query(absent)[1]
        return {job: self._state(job, ids[job], records, unknown) for job in jobs}, records

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """Deletes what is alive; PBS sends TERM, and KILL some 10 s later.

        Jobs that have ended are left out: naming them is an error, and once took a server down.

        Raises:
            SchedulerError: the server did not answer, or refused.
        """
        states, records = self._look(jobs)
        indices: dict[str, set[int]] = defaultdict(set)
        for job, state in states.items():
            if state.phase is not Phase.ENDED and parse_id(job.native_id) is not None:
                indices[job.native_id].add(job.index)
        for argv in self._render_deletions(indices, records):
            answer = external.run(argv, timeout_s=DELETE_TIMEOUT_S)
            _raise_unless(answers.is_deleted(answer), "qdel", answer)

    def _render_deletions(
        self, indices: Mapping[str, set[int]], records: Mapping[JobId, Record]
    ) -> Iterator[list[str]]:
        """One call for all of them; Torque names the sub-jobs of an array apart from it, and so takes one for each."""
        ids = list[str]()
        for native, some in indices.items():
            if "[]" not in native or _is_all_that_lives(native, some, records):
                ids.append(native)
            elif self._dialect is Dialect.TORQUE:
                yield ["qdel", "-t", ",".join(answers.render_ranges(some)), native]
            else:
                ids += [native.replace("[]", f"[{one}]", 1) for one in answers.render_ranges(some)]
        for start in range(0, len(ids), IDS_PER_CALL):
            yield ["qdel", *ids[start : start + IDS_PER_CALL]]

    def _state(
        self,
        job: JobHandle,
        key: JobId | None,
        records: Mapping[JobId, Record],
        unknown: set[JobId],
    ) -> JobState:
        if key is None:
            return JobState(Phase.QUEUED, None, f"no id of PBS: {job.native_id!r}")
        record, parent = records.get(key.sub_job(job.index)), records.get(key)
        whole = (
            state_of(parent, self._known_dialect(), has_history=self._has_history)
            if parent
            else None
        )
        if (
            parent
            and whole
            and whole.phase is Phase.ENDED
            and self._dialect is Dialect.PRO
            and never_ran(parent)
        ):
            return whole  # an array that ended as it waited, and with it all of its sub-jobs
        if record is not None:
            state = state_of(record, self._known_dialect(), has_history=self._has_history)
            is_waiting = state.phase is Phase.QUEUED and not state.detail and whole is not None
            return (
                replace(state, detail=whole.detail) if is_waiting and whole else state
            )  # why, its array says
        if whole is not None:
            return GONE if whole.phase is Phase.ENDED else JobState(Phase.QUEUED)
        if key in self._strange:
            return JobState(
                Phase.QUEUED,
                None,
                f"this PBS does not know the server of {job.native_id}; ask on its own",
            )
        return GONE if key in unknown else JobState(Phase.QUEUED, None, "PBS did not mention it")

    def _query(
        self, ids: Sequence[str], *, with_sub_jobs: bool = True
    ) -> tuple[dict[JobId, Record], set[JobId]]:
        """The jobs that the server knows, and the ids of which it says that it does not."""
        records: dict[JobId, Record] = {}
        unknown: set[JobId] = set()
        for start in range(0, len(ids), IDS_PER_CALL):
            some = ids[start : start + IDS_PER_CALL]
            answer = self._ask(some, with_sub_jobs and any("[" in native for native in some))
            found = parse_records(answer.out)
            records |= found
            unknown |= answers.unknown_ids(answer)
            self._strange |= answers.strange_ids(answer)
            if (
                not found and answer.code == answers.EXIT_UNKNOWN_JOB
            ):  # of several that it does not know it names one
                unknown |= {key for key in map(parse_id, some) if key is not None}
        return records, unknown

    def _ask(self, ids: Sequence[str], with_sub_jobs: bool) -> external.Answer:
        """One qstat; again with fewer options where this release or server refuses one, which is remembered.

        A dialect that is not known yet is taken for PBS Pro's, whose options Torque refuses: that saves a call.
        """
        options = self._query_options(with_sub_jobs)
        timeout_s = SLOW_QUERY_TIMEOUT_S if self._is_plain else QUERY_TIMEOUT_S
        answer = external.run(["qstat", *options, *ids], timeout_s=timeout_s)
        if answers.is_history_off(answer) and self._has_history:
            self._has_history = False
        elif answers.is_usage(answer) and self._dialect is None:
            self._is_plain = self._known_dialect() is Dialect.PRO
        elif answers.is_usage(answer) and not self._is_plain:
            self._is_plain = True
        else:
            _raise_unless(answers.is_answered(answer), "qstat", answer)
            self._dialect = self._dialect or Dialect.PRO
            return answer
        return self._ask(ids, with_sub_jobs)

    def _query_options(self, with_sub_jobs: bool) -> list[str]:
        sub_jobs = ["-t"] if with_sub_jobs else []
        if self._dialect is Dialect.TORQUE:
            return ["-f", *([] if self._is_plain else ["-1", *sub_jobs])]
        history = ["-x"] if self._has_history else []
        return [
            *([] if self._is_plain else ["-E"]),
            *history,
            *sub_jobs,
            "-f",
            *([] if self._is_plain else ["-w"]),
        ]

    def _known_dialect(self) -> Dialect:
        """The server's dialect, asked for once."""
        if self._dialect is None:
            answer = external.run(["qstat", "--version"], timeout_s=QUERY_TIMEOUT_S)
            if _is_missing(answer):
                raise SchedulerError(
                    "pbs: there is no qstat here: run this on a login node of the cluster"
                )
            _raise_unless(not answers.is_unreachable(answer), "qstat", answer)
            word = answers.parse_dialect(answer)
            if word is None:
                raise SchedulerError(
                    "pbs: `qstat --version` names neither PBS Pro nor Torque; set `dialect: pro` or `dialect: torque` "
                    "in the site profile"
                )
            self._dialect = Dialect(word)
        return self._dialect

    def _largest_array(self, size: int) -> int:
        """How many elements one array may have; the server is asked once, and only where it matters."""
        if size > 1 and self._array_limit is None:
            answer = patiently(_ask_server(), _ask_server)
            _raise_unless(not answers.is_unreachable(answer), "qstat", answer)
            self._array_limit = answers.parse_array_limit(answer.out) or DEFAULT_ARRAY_LIMIT
        return min(self._array_limit or 1, self._profile.max_array_size or size, size)

    def _hand_over(self, batch: Batch, piece: Piece, resources: Resources) -> external.Answer:
        """qsub's answer; its folder for output is there before, without which PBS loses the output."""
        script = script_of(batch.path, piece.first)
        dialect = self._known_dialect()
        argv = ["qsub", *render_options(batch, piece, dialect), str(script)]
        content = render_script(batch, piece, resources, self._profile, dialect, self._start)
        try:
            output_folder_of(batch.path).mkdir(exist_ok=True)
            write_whole(script, content.encode())
        except OSError as error:
            raise SchedulerError(f"pbs: {script}: cannot be written: {error.strerror}") from error
        answer = external.run(argv, timeout_s=SUBMIT_TIMEOUT_S)
        if "unknown host" in answer.err.lower() and "@" in (
            resources.queue or ""
        ):  # QUEUE@SERVER: a name that is wrong
            return answer
        return patiently(answer, lambda: self._hand_over_again(argv, answer, batch.tag, piece))

    def _hand_over_again(
        self, argv: Sequence[str], before: external.Answer, tag: str, piece: Piece
    ) -> external.Answer:
        """qsub's answer; only where the server, which is there again, has no such job."""
        try:
            taken = [job.native_id for job in self.find(tag) if job.first == piece.first]
        except SchedulerError as error:
            if not error.transient:
                raise
            return before
        return (
            external.Answer(0, taken[0], "")
            if taken
            else external.run(argv, timeout_s=SUBMIT_TIMEOUT_S)
        )

    def _accepted_id(self, answer: external.Answer, piece: Piece) -> str:
        """The id that qsub printed.

        Raises:
            SchedulerError: refused; transient where the job may have been accepted without our knowing.
        """
        _raise_unless(answer.code == 0, "qsub", answer)
        lines = [line.strip() for line in answer.out.splitlines() if line.strip()]
        if not lines or parse_id(lines[-1]) is None:
            raise SchedulerError(
                f"pbs: qsub accepted a job, but printed no id: {answer.out.strip()!r}",
                transient=True,
            )
        if piece.is_array and "[]" not in lines[-1]:
            external.run(["qdel", lines[-1]], timeout_s=DELETE_TIMEOUT_S)
            raise SchedulerError(
                f"pbs: this qsub numbers an array like a job ({lines[-1]}), so its elements could not be told apart; "
                "it was deleted. Set `max_array_size: 1` in the site profile, and submit again"
            )
        return lines[-1]

    def _stop_at_limit(self, handles: list[JobHandle], answer: external.Answer) -> list[JobHandle]:
        if handles:
            self._notes.append(
                f"your limit of queued jobs took {len(handles)}; the rest waits for the next submit"
            )
            return handles
        said = answers.render_refusal("qsub", answer)
        raise SchedulerError(
            f"{said} (your jobs in PBS leave no room; submit again when some have ended)"
        )

    def _check_env_file(self) -> None:
        """A file with secrets is for its owner alone.

        Raises:
            SchedulerError: others can read it, or it is somebody else's.
        """
        file = self._profile.env_file
        if file is None:
            return
        try:
            found = file.stat()
        except OSError as error:
            raise SchedulerError(f"pbs: env_file {file}: {error.strerror}") from error
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SchedulerError(
                f"pbs: env_file {file}: must be yours and closed to others: chmod 600 {file}"
            )


def default_start() -> Start:
    """Elements start where this process did, with its Python and its copy of our packages."""
    code = Path(__file__).resolve().parents[3]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return Start(Path.cwd(), code=None if code in installed else code)


def _cut(batch: Batch, first: int, largest: int) -> Piece:
    """The next piece; `max_parallel` holds for all pieces together, so each has its share, at least one."""
    size = min(largest, batch.size - first)
    share = None if batch.max_parallel is None else max(1, batch.max_parallel * size // batch.size)
    return Piece(first, size, share)


def _is_all_that_lives(array: str, indices: set[int], records: Mapping[JobId, Record]) -> bool:
    """Whether an array has no other sub-jobs left than these, so that it can be named as a whole."""
    whole = parse_id(array)
    letters = {
        key.brackets: record.get("job_state")
        for key, record in records.items()
        if whole
        and (key.number, key.server) == (whole.number, whole.server)
        and key.brackets not in ("", "[]")
    }
    named = {f"[{index}]" for index in indices}
    return bool(letters) and all(
        brackets in named or letter in ENDED for brackets, letter in letters.items()
    )


def _parent_of(native: str) -> str:
    """`123[].server` of `123[4].server`: Torque's qselect lists sub-jobs."""
    key = parse_id(native)
    return native.replace(key.brackets, "[]", 1) if key and key.brackets else native


def _jobs_of(records: Iterable[Record], tag: str) -> list[Job]:
    found = []
    for record in records:
        key = parse_id(record.id)
        named = parse_job_name(record.get("Job_Name"))
        if key is None or named is None or named[0] != tag:
            continue
        indices = record.get("array_indices_submitted") or record.get("job_array_request")
        found.append(
            Job(record.id, named[1], (answers.parse_count(indices) or 1) if key.brackets else 1)
        )
    return sorted(found, key=lambda job: job.first)


def _ask_server() -> external.Answer:
    return external.run(["qstat", "-B", "-f"], timeout_s=QUERY_TIMEOUT_S)


def _raise_unless(is_good: bool, command: str, answer: external.Answer) -> None:
    if is_good:
        return
    if _is_missing(answer):
        raise SchedulerError(
            f"pbs: there is no {command} here: run this on a login node of the cluster"
        )
    refusal = answers.render_refusal(command, answer)
    raise SchedulerError(refusal, transient=answers.is_unreachable(answer))


def _is_missing(answer: external.Answer) -> bool:
    return answer.code == external.NOT_FOUND and "no such command" in answer.err
