"""Submit to PBS Pro, OpenPBS and Torque: generated scripts, one query, deletion by ranges."""

from __future__ import annotations

import os
import shutil
import stat
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anlp.console.verbs import command_name
from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.common.external import Answer
from jobs.config.resources import Resources
from jobs.schedulers import backoff, profiles
from jobs.schedulers.backoff import Backoff
from jobs.schedulers.base import (
    Batch,
    Cause,
    Job,
    JobHandle,
    JobState,
    Phase,
    Setup,
    can_never_run,
    parse_job_name,
)
from jobs.schedulers.batch import (
    BatchScheduler,
    Call,
    Piece,
    Submission,
    indices_by_job,
)
from jobs.schedulers.pbs import parse as answers
from jobs.schedulers.pbs.delete import render_deletions
from jobs.schedulers.pbs.parse import JobId, Record, parse_id, parse_records
from jobs.schedulers.pbs.profile import PbsProfile
from jobs.schedulers.pbs.script import (
    ENVIRONMENT_PREFIXES,
    Start,
    find_output,
    output_folder_of,
    render_options,
    render_script,
    script_of,
)
from jobs.schedulers.pbs.server import (
    QUERY_TIMEOUT_S,
    Server,
    ask_server,
    is_missing,
    missing,
    raise_unless,
)
from jobs.schedulers.pbs.states import BEING_DELETED, COPIES_OUTPUT, never_ran, state_of
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.site import Profile

DEFAULT_ARRAY_LIMIT = 10_000  # PBS's own
PROBE_TIMEOUT_S = 10.0
PAUSES_BEFORE_COMMENT_S = (0.0, 0.5, 1.0)  # a server places jobs within a second or so
PAUSES_S = (0.0, 0.5, 1.0, 2.0)  # before each look for a sign that a deletion was heard
GONE = JobState(Phase.ENDED, Cause.UNKNOWN, "PBS no longer knows it")


@dataclass(frozen=True, slots=True)
class QueueRecords:
    """Holds what the server answered about some jobs."""

    records: Mapping[JobId, Record]
    unknown: frozenset[JobId]  # of which it says that it does not know them


class PbsScheduler(BatchScheduler[QueueRecords]):
    """Asks the server's dialect and limits once; every other call is one command.

    What a site's `qsub` allows decides how many calls a submit takes: ceil(n / max_array_size), and
    at most 14 more where the user's limit is met on the way; up to twice as many where a queue
    takes smaller arrays than the server, as halves are tried.
    """

    name = "pbs"
    title = "PBS"
    job_variable = "PBS_JOBID"
    environment_prefixes = ENVIRONMENT_PREFIXES
    unsupported = frozenset({"qos", "exclude", "nodes"})
    profile_type = PbsProfile
    default_profile = "generic-pbs"
    submit_command = "qsub"
    cancel_timeout_s = 180.0  # 10,000 queued sub-jobs take 5 s on an idle server
    looks_before_repeating = True

    def __init__(
        self,
        profile: Profile | None = None,
        start: Start | None = None,
        *,
        patience_s: float | None = None,
        say: Callable[[str], None] = backoff.say,
    ) -> None:
        super().__init__(patience_s=patience_s, say=say)
        site = profile or profiles.load_profile(self.default_profile)
        if not isinstance(site, PbsProfile):
            raise TypeError(f"pbs: expected a profile for PBS, got {type(site).__name__}")
        self._profile = site
        self._start = start or default_start()
        self._server = Server(self._profile.dialect)

    @classmethod
    def create(cls, setup: Setup) -> PbsScheduler:
        """Return a scheduler whose elements run in the image, if there is one."""
        start = None
        if setup.container is not None:
            start = Start(Path.cwd(), container=setup.container)
        return cls(setup.site, start)

    @classmethod
    def is_here(cls) -> bool:
        """Return whether there is a server, up, down, or asking for a password.

        Grid Engine has a `qstat` as well, which knows no `-B`.
        """
        if not shutil.which("qsub"):
            return False
        answer = external.run(["qstat", "-B"], timeout_s=PROBE_TIMEOUT_S)
        return answer.code == 0 or answers.is_away(answer)

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return the file with what a sub-job printed."""
        return find_output(batch, job.first, job.native_id, index)

    @property
    def profile(self) -> PbsProfile:
        """Return the site's profile."""
        return self._profile

    # ---- submit

    def prepare(self, batch: Batch, resources: Resources) -> Submission:
        """Fill in the site's defaults, and check its file with secrets."""
        submission = super().prepare(batch, resources)
        self._check_env_file()
        return replace(submission, batch=replace(batch, path=batch.path.resolve()))

    def render_call(self, submission: Submission, piece: Piece) -> Call:
        """Return the qsub call of a piece, with a script of its own beside the batch file."""
        batch, dialect = submission.batch, self._server.known_dialect()
        script = script_of(batch.path, piece.first)
        argv = ("qsub", *render_options(batch, piece, dialect), str(script))
        content = render_script(
            batch, piece, submission.resources, self._profile, dialect, self._start
        )
        return Call(argv, output_folder_of(batch.path), {script: content})

    def read_array_limit(self, patience: Backoff) -> int:
        """Ask the server how many elements an array may have."""
        answer = patience.repeat(ask_server, self.is_not_taken, self.explain)
        raise_unless(not answers.is_unreachable(answer), "qstat", answer)
        return answers.parse_array_limit(answer.out) or DEFAULT_ARRAY_LIMIT

    def parse_submitted(self, out: str) -> str | None:
        """Return the id that qsub printed in its last line."""
        lines = [line.strip() for line in out.splitlines() if line.strip()]
        return lines[-1] if lines and parse_id(lines[-1]) is not None else None

    def check_accepted(self, native_id: str, piece: Piece) -> None:
        """Delete an array whose elements cannot be told apart, and raise."""
        if piece.is_array and "[]" not in native_id:
            external.run(["qdel", native_id], timeout_s=self.cancel_timeout_s)
            raise SchedulerError(
                f"pbs: this qsub numbers an array like a job ({native_id}), so its elements could "
                "not be told apart; it was deleted. Set `max_array_size: 1` in the site profile, "
                "and submit again"
            )

    def look_at_accepted(self, batch: Batch, handles: Sequence[JobHandle]) -> list[str]:
        """Return the server's words where it says at once that these jobs can never start.

        PBS accepts more than any node has, and says so after it has tried to place the first job.
        """
        if batch.after or self._server.dialect is not Dialect.PRO:
            return []
        comment = self._first_comment(handles[0].native_id)
        if not can_never_run(comment):
            return []
        cancel = f"{command_name('jobs.cancel')} {batch.name}"
        return [f"{comment}. Take them back ({cancel}), and ask for less"]

    def _first_comment(self, native_id: str) -> str:
        """Return what the server says of a new job, once it says anything; empty if it does not."""
        for pause_s in PAUSES_BEFORE_COMMENT_S:
            time.sleep(pause_s)
            try:
                records, _ = self._server.query([native_id], with_sub_jobs=False)
            except SchedulerError:  # the jobs are accepted: there is nothing to fail
                return ""
            for record in records.values():
                if record.get("job_state") != "Q" or record.get("comment"):
                    return record.get("comment")
        return ""

    def is_not_taken(self, answer: Answer) -> bool:
        """Return whether the command did not get through to a server at all."""
        return answers.is_unheard(answer)

    def may_submit_again(self, answer: Answer, resources: Resources) -> bool:
        """Return whether qsub may be repeated; not where QUEUE@SERVER names a wrong server."""
        is_wrong_name = "unknown host" in answer.err.lower() and "@" in (resources.queue or "")
        return self.is_not_taken(answer) and not is_wrong_name

    def is_limit(self, answer: Answer) -> bool:
        """Return whether the user's limit or the queue's size of arrays was met."""
        return answers.is_limit(answer) or answers.is_array_limit(answer)

    def explain(self, answer: Answer) -> str:
        """Return the command's first words."""
        return answers.first_words(answer)

    def refusal(self, command: str, answer: Answer) -> SchedulerError:
        """Return the error of a call that failed."""
        if is_missing(answer):
            return missing(command)
        words = answers.render_refusal(command, answer)
        return SchedulerError(words, transient=answers.is_unreachable(answer))

    def _check_env_file(self) -> None:
        """Refuse a file with secrets that is not for its owner alone.

        Raises:
            SchedulerError: others can read it, or it belongs to another user.
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

    # ---- find, states, cancel

    def find_jobs(self, tag: str, user: str) -> list[Job]:
        """Return the jobs of a submission, ended ones included where the server keeps them."""
        wanted = ["qselect", "-u", user]
        with_ended = self._server.has_history and self._server.known_dialect() is Dialect.PRO
        history = ["-x"] if with_ended else []
        answer = external.run([*wanted, *history], timeout_s=QUERY_TIMEOUT_S)
        if with_ended and (answers.is_history_off(answer) or answers.is_usage(answer)):
            answer = external.run(wanted, timeout_s=QUERY_TIMEOUT_S)
        if is_missing(answer):  # Slurm's wrappers for Torque have none
            return _jobs_of(parse_records(self._server.ask_of_all().out).values(), tag)
        raise_unless(answer.code == 0, "qselect", answer)
        ids = {_parent_of(word) for word in answer.out.split() if parse_id(word) is not None}
        records, _ = self._server.query(sorted(ids), with_sub_jobs=False)
        return _jobs_of(records.values(), tag)

    def hides_jobs_of_others(self) -> str:
        """Return whether the server shows users their own jobs only: its default."""
        answer = ask_server()
        raise_unless(not answers.is_unreachable(answer), "qstat", answer)
        if answers.shows_jobs_of_others(answer.out):
            return ""
        return "this server does not show you the jobs of others (query_other_jobs)"

    def is_id(self, native_id: str) -> bool:
        """Return whether PBS could have given this id: one other word fails a whole query."""
        return parse_id(native_id) is not None

    def look(self, ids: Sequence[str], jobs: Sequence[JobHandle]) -> QueueRecords:
        """Call one qstat for all jobs and their sub-jobs.

        A job that the server says it does not know has ended (`Cause.UNKNOWN`). One that is merely
        not in an answer is asked about once more, and counts as alive if nothing definite is said.

        Raises:
            SchedulerError: the server did not answer.
        """
        del jobs
        records, unknown = self._server.query(ids)
        absent = [native for native in ids if parse_id(native) not in {*records, *unknown}]
        if absent and len(absent) < len(ids):
            unknown |= self._server.query(absent)[1]
        return QueueRecords(records, frozenset(unknown))

    def state_in(self, snapshot: QueueRecords, job: JobHandle) -> JobState:
        """Return the state of a job or sub-job, from its own record and its array's."""
        key = parse_id(job.native_id)
        if key is None:
            return JobState(Phase.QUEUED, None, f"no id of PBS: {job.native_id!r}")
        record, parent = snapshot.records.get(key.sub_job(job.index)), snapshot.records.get(key)
        whole = self._read(parent) if parent is not None else None
        if parent is not None and whole is not None and self._never_began(parent, whole):
            return whole
        if record is not None:
            state = self._read(record)
            if whole is not None and state.phase is Phase.QUEUED and not state.detail:
                return replace(state, detail=whole.detail)  # its array says why
            return state
        if whole is not None:
            return GONE if whole.phase is Phase.ENDED else JobState(Phase.QUEUED)
        if key in self._server.strange:
            words = f"this PBS does not know the server of {job.native_id}; ask on its own"
            return JobState(Phase.QUEUED, None, words)
        if key in snapshot.unknown:
            return GONE
        return JobState(Phase.QUEUED, None, "PBS did not mention it")

    def _read(self, record: Record) -> JobState:
        return state_of(record, self._server.known_dialect(), has_history=self._server.has_history)

    def _never_began(self, array: Record, whole: JobState) -> bool:
        """Return whether an array ended as it waited, and with it all of its sub-jobs."""
        is_over = whole.phase is Phase.ENDED and self._server.dialect is Dialect.PRO
        return is_over and never_ran(array)

    def cancel_calls(self, jobs: Sequence[JobHandle]) -> Iterator[list[str]]:
        """Delete what is alive; PBS sends TERM, and KILL some 10 s later.

        Jobs that have ended are left out: naming them is an error, and has ended a server.
        """
        snapshot = self.look(sorted({job.native_id for job in jobs}), jobs)
        alive = [job for job in jobs if self.state_in(snapshot, job).phase is not Phase.ENDED]
        yield from render_deletions(
            indices_by_job(alive),
            snapshot.records,
            self._server.dialect,
            has_history=self._server.has_history,
        )

    def is_cancelled(self, answer: Answer) -> bool:
        """Return whether qdel did what it could."""
        return answers.is_deleted(answer)

    def unheeded(self, jobs: Sequence[JobHandle]) -> list[JobHandle]:
        """Ask a few times until each of `jobs` has ended or is being deleted; return the others.

        A qdel that leaves with 0 proves nothing: the server may have died of it.
        """
        left = list(jobs)
        for pause_s in PAUSES_S:
            time.sleep(pause_s)
            snapshot = self.look(sorted({job.native_id for job in left}), left)
            left = [job for job in left if not self._is_leaving(self.state_in(snapshot, job))]
            if not left:
                break
        return left

    def _is_leaving(self, state: JobState) -> bool:
        """Return whether a job that was deleted shows it; a running one of Torque does not."""
        if state.phase is Phase.RUNNING and self._server.dialect is Dialect.TORQUE:
            return True
        return state.phase is Phase.ENDED or state.detail.startswith((BEING_DELETED, COPIES_OUTPUT))


def default_start() -> Start:
    """Start elements where this process did, with its Python and its copy of the packages."""
    code = Path(__file__).resolve().parents[3]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return Start(Path.cwd(), code=None if code in installed else code)


def _parent_of(native: str) -> str:
    """Return the array's id of a sub-job's: Torque's qselect lists sub-jobs.

    >>> _parent_of("123[4].server")
    '123[].server'
    """
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
        size = answers.parse_count(indices) if key.brackets else 1
        found.append(Job(record.id, named[1], size or 1))
    return sorted(found, key=lambda job: job.first)
