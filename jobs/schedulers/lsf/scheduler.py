"""Submit to IBM Spectrum LSF: generated scripts, one bjobs for all jobs, bkill by ranges."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.common.external import Answer
from jobs.config.fields import Key, whole
from jobs.config.resources import Resources
from jobs.schedulers import backoff
from jobs.schedulers.backoff import Backoff
from jobs.schedulers.base import Batch, Cause, Job, JobHandle, JobState, Phase, Setup
from jobs.schedulers.batch import (
    BatchScheduler,
    Call,
    Piece,
    Submission,
    in_chunks,
    indices_by_job,
    render_ranges,
)
from jobs.schedulers.lsf import parse
from jobs.schedulers.lsf.parse import Element, Row
from jobs.schedulers.lsf.script import (
    ENVIRONMENT_PREFIXES,
    Start,
    folder_of,
    output_of,
    render_argv,
    render_script,
    script_of,
)
from jobs.schedulers.lsf.states import state_of
from jobs.schedulers.site import Profile

DEFAULT_ARRAY_LIMIT = 1000  # LSF's own
IDS_PER_CALL = 500
RANGES_PER_WORD = 2_000  # 30 kB
QUERY_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 10.0
# LSF's commands wait for ever by themselves, while it is down or the user's limit is reached
# BSUB_QUIET hides the id of a job that was taken, BSUB_CHK_RESREQ submits nothing
ENVIRONMENT = ("-u", "BSUB_QUIET", "-u", "BSUB_CHK_RESREQ", "LC_ALL=C", "LSB_NTRIES=1")
GONE = JobState(Phase.ENDED, Cause.UNKNOWN, "LSF no longer knows it")


@dataclass(frozen=True)
class LsfProfile(Profile):
    """Holds the profile of an LSF site."""

    KEYS: ClassVar[Mapping[str, Key]] = {"max_array_size": Key("max_array_size", whole(1))}

    scheduler: str = "lsf"


@dataclass(frozen=True, slots=True)
class QueueRows:
    """Holds what bjobs answered about some jobs."""

    rows: Mapping[Element, Row]
    unknown: frozenset[str]  # ids of which it says that it does not know them


class LsfScheduler(BatchScheduler[QueueRows]):
    """Asks and tells LSF by its own commands; no process stays behind."""

    name = "lsf"
    title = "LSF"
    is_experimental = True
    job_variable = "LSB_JOBID"
    environment_prefixes = ENVIRONMENT_PREFIXES
    can_exclude_nodes = True
    unsupported = frozenset({"qos", "nodes"})
    profile_type = LsfProfile
    submit_command = "bsub"
    cancel_timeout_s = 180.0
    always_array = True

    def __init__(
        self,
        profile: Profile | None = None,
        start: Start | None = None,
        *,
        patience_s: float | None = None,
        say: Callable[[str], None] = backoff.say,
    ) -> None:
        super().__init__(patience_s=patience_s, say=say)
        self._profile = profile
        self._start = start or Start(Path.cwd())

    @classmethod
    def create(cls, setup: Setup) -> LsfScheduler:
        """Return a scheduler whose elements run in the image, with the site's warning."""
        start = Start(Path.cwd(), container=setup.container)
        if setup.site is not None:
            start = replace(start, warn_s=setup.site.warn_s)
        return cls(setup.site, start)

    @classmethod
    def is_here(cls) -> bool:
        """Return whether there is a cluster, up or down."""
        if not shutil.which("bsub"):
            return False
        answer = _run(["lsid"], PROBE_TIMEOUT_S)
        return answer.code == 0 or parse.is_away(answer)

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return the file with what one element printed, and LSF's report about it."""
        return output_of(batch, job.native_id, index)

    @property
    def profile(self) -> Profile | None:
        """Return the site's profile."""
        return self._profile

    # ---- submit

    def prepare(self, batch: Batch, resources: Resources) -> Submission:
        """Fill in the site's defaults; LSF wants absolute paths."""
        submission = super().prepare(batch, resources)
        return replace(submission, batch=replace(batch, path=batch.path.resolve()))

    def render_call(self, submission: Submission, piece: Piece) -> Call:
        """Return the bsub call of an array, with a script of its own beside the batch file."""
        batch = submission.batch
        script = render_script(batch, piece, submission.resources, self._start)
        argv = tuple(render_argv(batch, piece))
        return Call(argv, folder_of(batch.path), {script_of(batch.path, piece.first): script})

    def run(self, argv: Sequence[str], timeout_s: float) -> Answer:
        """Call a command of LSF once, in English, without its own endless repeats."""
        return _run(argv, timeout_s)

    def read_array_limit(self, patience: Backoff) -> int:
        """Ask how many elements an array may have."""
        call = partial(_run, ["bparams", "-a"], QUERY_TIMEOUT_S)
        answer = patience.repeat(call, parse.is_away, parse.explain)
        if answer.code:
            raise self.refusal("bparams", answer)
        return parse.parse_array_limit(answer.out) or DEFAULT_ARRAY_LIMIT

    def parse_submitted(self, out: str) -> str | None:
        """Return the id that bsub printed."""
        return parse.parse_submitted(out)

    def is_not_taken(self, answer: Answer) -> bool:
        """Return whether LSF is away and says that it took no job."""
        return parse.is_not_taken(answer)

    def is_limit(self, answer: Answer) -> bool:
        """Return whether the user has as many jobs as are allowed."""
        return parse.is_limit(answer)

    def explain(self, answer: Answer) -> str:
        """Return what a command said, and what to do where that is known."""
        return parse.explain(answer)

    def refusal(self, command: str, answer: Answer) -> SchedulerError:
        """Return the error of a call that failed."""
        if parse.is_missing(answer):
            return SchedulerError(
                f"lsf: there is no {command} here: run this on a login node of the cluster"
            )
        words = f"lsf: {command}: {parse.explain(answer)}"
        return SchedulerError(words, transient=parse.is_away(answer))

    # ---- find, states, cancel

    def find_jobs(self, tag: str, user: str) -> list[Job]:
        """Return the user's jobs of a submission, those included that ended a short time ago."""
        return parse.parse_jobs(self._ask(("-u", user)).rows, tag)

    def hides_jobs_of_others(self) -> str:
        """Return whether the cluster keeps what jobs are from other users."""
        answer = _run(["bparams", "-a"], QUERY_TIMEOUT_S)
        if answer.code:
            raise self.refusal("bparams", answer)
        if parse.parse_secrecy(answer.out) == 0:
            return ""
        return "this cluster hides the jobs of others from you (SECURE_JOB_INFO_LEVEL)"

    def is_id(self, native_id: str) -> bool:
        """Return whether this is a number."""
        return native_id.isdigit()

    def look(self, ids: Sequence[str], jobs: Sequence[JobHandle]) -> QueueRows:
        """Call one bjobs for all arrays.

        Raises:
            SchedulerError: LSF did not answer.
        """
        del jobs
        rows: dict[Element, Row] = {}
        unknown: set[str] = set()
        for some in in_chunks(ids, IDS_PER_CALL):
            found = self._ask(some)
            rows |= found.rows
            unknown |= found.unknown
        return QueueRows(rows, frozenset(unknown))

    def state_in(self, snapshot: QueueRows, job: JobHandle) -> JobState:
        """Return the state of one element."""
        row = snapshot.rows.get((job.native_id, job.index + 1))
        if row is not None:
            return state_of(row)
        return GONE if job.native_id in snapshot.unknown else JobState(Phase.QUEUED)

    def cancel_calls(self, jobs: Sequence[JobHandle]) -> Iterator[list[str]]:
        """Name the elements of each array as ranges."""
        words: list[str] = []
        for native_id, indices in indices_by_job(jobs).items():
            numbers = render_ranges(index + 1 for index in indices)
            chunks = in_chunks(numbers, RANGES_PER_WORD)
            words += [f"{native_id}[{','.join(ranges)}]" for ranges in chunks]
        for some in in_chunks(words, IDS_PER_CALL):
            yield ["bkill", *some]

    def is_cancelled(self, answer: Answer) -> bool:
        """Return whether bkill did what it could."""
        return parse.is_killed(answer)

    def _ask(self, words: Sequence[str]) -> QueueRows:
        argv = ["bjobs", "-a", "-noheader", "-o", parse.FIELDS, *words]
        answer = _run(argv, QUERY_TIMEOUT_S)
        if not parse.is_answered(answer):
            raise self.refusal("bjobs", answer)
        return QueueRows(parse.parse_rows(answer.out), parse.unknown_ids(answer))


def _run(argv: Sequence[str], timeout_s: float) -> Answer:
    name = "bsub" if argv[0] == "sh" else argv[0]
    return external.run(["env", *ENVIRONMENT, *argv], timeout_s=timeout_s, name=name)
