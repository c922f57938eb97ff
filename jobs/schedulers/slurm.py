"""Slurm: batches become job arrays, and one query tells where all of them stand; no process stays behind."""

from __future__ import annotations

import os
import pwd
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from anlp.errors import SchedulerError
from jobs import profiles, shell
from jobs.profiles import Profile
from jobs.resources import Resources
from jobs.schedulers import slurm_parse as parse
from jobs.schedulers.base import Batch, Cause, Job, JobHandle, JobState, Phase, nobody
from jobs.schedulers.slurm_parse import WHOLE, Element, Row
from jobs.schedulers.slurm_render import SlurmOptions, folder_of, render_call, render_script, variables_over

DEFAULT_MAX_ARRAY_SIZE = 1001
SUBMIT_TIMEOUT_S = 90.0  # sbatch waits by itself while the controller is too busy to accept
DEFAULT_QOS = "normal"  # Slurm's own default
QUERY_TIMEOUT_S = 45.0
MOST_RETRIES = 3
PAUSE_S = 0.5
PATIENT_CLIENT_S = (
    5.0  # who waited so long has tried again by itself, as clients do for 9 s where the controller is down
)
IDS_PER_CALL = 500
FORGOTTEN_AFTER = "now-14days"  # how far back `find` looks for jobs that have ended
Rows = Mapping[Element, Row]
# Whatever the user's shell says, answers come in full, in English, and unfiltered.
SILENCED = (
    *("SQUEUE_STATES", "SQUEUE_PARTITION", "SQUEUE_USERS", "SQUEUE_ACCOUNT", "SQUEUE_QOS", "SQUEUE_NAMES"),
    *("SQUEUE_ARRAY", "SQUEUE_LICENSES", "SQUEUE_FEDERATION", "SACCT_FEDERATION", "SBATCH_WAIT", "SBATCH_ARRAY_INX"),
)


class SlurmScheduler:
    """Asks and tells Slurm by its own commands; keeps nothing but the site's limits and its notes."""

    name = "slurm"

    def __init__(self, options: SlurmOptions | None = None, profile: Profile | None = None) -> None:
        self._profile = profile
        self._options = options or SlurmOptions()
        self._notes: list[str] = []
        self._most_tasks: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the last submission (what was left for the next one)."""
        return tuple(self._notes)

    def submit(self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = nobody) -> list[JobHandle]:
        """Submits `batch` as job arrays, each as large as the site allows; see `Scheduler.submit`.

        A call whose answer was lost is not repeated: the error is transient and `find` knows what was accepted.
        """
        self._notes = []
        if self._profile is not None:
            resources = profiles.apply(self._profile, resources)
        script = render_script(batch, resources, self._options, Path.cwd())
        spans = self._cut(batch.size)
        path = _write_script(batch, script)
        parallel = _share(batch.max_parallel, len(spans))
        environment = tuple(word for name in variables_over(script) for word in ("-u", name))
        handles: list[JobHandle] = []
        for span in spans:
            job = self._submit_span(batch, resources, path, span, parallel, environment)
            if job is not None:
                accepted(job)
                handles += [JobHandle(self.name, job.native_id, index) for index in range(job.size)]
            if job is None or job.size < len(span):
                self._note_rest(batch, len(handles))
                break
        return handles

    def find(self, tag: str) -> list[Job]:
        """The jobs of the submission `tag`: those in the queue, and where there is accounting those of two weeks."""
        user = str(os.getuid())
        queued = _query("squeue", "-h", "-t", "all", "-u", user, "-o", parse.NAMES_FORMAT)
        text = queued.out
        recorded = _ask_sacct("-u", user, "-S", FORGOTTEN_AFTER, "-o", "JobID,JobName")
        if recorded is not None:
            text += parse.jobs_from_sacct(recorded)
        return parse.parse_jobs(text, tag)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """One sacct and one squeue for all of `jobs`, however many; see `Scheduler.states`."""
        arrays = sorted({job.native_id for job in jobs if job.native_id.isdigit()}, key=int)
        if not arrays:
            return {job: JobState(Phase.QUEUED) for job in jobs}
        ids = ",".join(arrays)
        queued = parse.parse_squeue(_ask_squeue("-t", "all", "-j", ids, "-o", parse.SQUEUE_FORMAT))
        text = _ask_sacct("-j", ids, "-o", parse.SACCT_FIELDS)
        recorded = None if text is None else parse.parse_sacct(text)
        known = {array for array, _ in (*queued, *(recorded or ()))}
        return {job: judge((job.native_id, job.index), queued, recorded, known) for job in jobs}

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """One scancel for all of `jobs`; what has ended already is no error."""
        indices: dict[str, list[int]] = defaultdict(list)
        for job in jobs:
            if job.native_id.isdigit():
                indices[job.native_id].append(job.index)
        words = [f"{array}_[{parse.render_indices(found)}]" for array, found in indices.items()]
        for begin in range(0, len(words), IDS_PER_CALL):
            answer = _run("scancel", "-Q", *words[begin : begin + IDS_PER_CALL])
            if answer.code and parse.is_transient(answer.err):
                raise _unreachable("scancel", answer)

    def _cut(self, size: int) -> list[range]:
        most = self._read_most_tasks()
        return [range(first, min(first + most, size)) for first in range(0, size, most)]

    def _read_most_tasks(self) -> int:
        """How many tasks an array may have: MaxArraySize bounds the index, which we count from 0."""
        if self._most_tasks is None:
            config = parse.parse_config(_query("scontrol", "show", "config").out)
            self._most_tasks = int(config.get("MaxArraySize", DEFAULT_MAX_ARRAY_SIZE))
            if self._most_tasks < 1:
                raise SchedulerError(
                    "slurm: job arrays are switched off here (MaxArraySize is 0), and this tool needs them"
                )
        return self._most_tasks

    def _submit_span(
        self,
        batch: Batch,
        resources: Resources,
        script: Path,
        span: range,
        parallel: int | None,
        environment: Sequence[str],
    ) -> Job | None:
        """The job that was accepted; smaller than `span` where the user's limit is near, None where it is reached."""
        answer = self._call(batch, script, span, parallel, environment)
        size = len(span)
        while answer.code and parse.is_submit_limit(answer.err):
            room = size // 2 if size < len(span) else _room(resources, size)
            size = min(room, size - 1)
            if size < 1:
                return None
            answer = self._call(batch, script, span[:size], parallel, environment)
        return Job(_accepted_id(answer), span.start, size)

    def _call(
        self, batch: Batch, script: Path, span: range, parallel: int | None, environment: Sequence[str]
    ) -> shell.Answer:
        argv = render_call(batch, script, span, parallel)
        return _run(*argv, options=environment, timeout_s=SUBMIT_TIMEOUT_S)

    def _note_rest(self, batch: Batch, done: int) -> None:
        rest = batch.size - done
        self._notes.append(
            f"{done} of {batch.size} submitted: you have as many jobs in the queue as you may; "
            f"{rest} wait for the next submit"
        )
        if not done:
            raise SchedulerError(
                "slurm: you have as many jobs in the queue as you may (job submit limit); "
                "submit again when some have ended"
            )


def judge(element: Element, queued: Rows, recorded: Rows | None, arrays: Collection[str]) -> JobState:
    """The state of one task, from what squeue said and then sacct.

    The queue knows first of a requeue, the accounts of the cause of an end. A task that was cancelled while it waited
    is in neither, nor is one of an array that nobody knows: that one counts as alive.

    Args:
        element: the task.
        queued: what squeue says, with the tasks that ended some minutes ago.
        recorded: what sacct says; None where the site has no accounting: what the queue has forgotten has then ended.
        arrays: ids of which there is any row.
    """
    in_queue = queued.get(element) or queued.get((element[0], WHOLE))
    if in_queue is not None and (phase := parse.phase_of(in_queue.state)) is not None:
        return JobState(phase)
    if recorded is None:
        return _without_accounting(in_queue)
    if (row := recorded.get(element)) is not None:
        return parse.state_from_row(row)
    if element in queued:
        return _not_on_record(queued[element])
    return _vanished(recorded.get((element[0], WHOLE))) if element[0] in arrays else JobState(Phase.QUEUED)


def _not_on_record(row: Row) -> JobState:
    """Of a task that has ended by the queue, which tells no exit codes: accounts may be 5 s late."""
    return JobState(Phase.ENDED if row.state == "COMPLETED" else Phase.RUNNING)


def _vanished(row: Row | None) -> JobState:
    """Tasks cancelled while they wait leave no row, or one for all that are left when the last of them goes."""
    if row is not None and parse.first_word(row.state) == "CANCELLED":
        return parse.state_from_row(row)
    return JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started")


def _without_accounting(row: Row | None) -> JobState:
    """squeue does not tell exit codes: a job that failed may well have written its result."""
    if row is None or row.state == "FAILED":
        return JobState(Phase.ENDED, Cause.UNKNOWN, "this cluster keeps no accounts that would say why it ended")
    return parse.state_from_row(row)


def _share(max_parallel: int | None, arrays: int) -> int | None:
    """Slurm throttles each array by itself, so they share what the batch may have at a time."""
    return None if max_parallel is None else max(1, max_parallel // max(1, arrays))


def _write_script(batch: Batch, text: str) -> Path:
    """The folder must be there before a job starts: Slurm does not make it, and the job would fail without a word."""
    folder = folder_of(batch)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.sh"
    path.write_text(text)
    path.chmod(0o755)
    return path


def _accepted_id(answer: shell.Answer) -> str:
    if answer.code == shell.NOT_FOUND:
        raise SchedulerError("slurm: there is no sbatch here; submit on a login node of the cluster")
    if answer.code == shell.TIMED_OUT or (answer.code and parse.is_transient(answer.err)):
        raise _unreachable("sbatch", answer)
    if answer.code:
        raise SchedulerError(f"slurm: sbatch refused: {parse.explain_refusal(answer.err)}")
    native_id = parse.parse_submitted(answer.out)
    if native_id is None:
        said = answer.out.strip().splitlines()[-1:] or ["nothing"]
        raise SchedulerError(f"slurm: sbatch printed no job id but {said[0]!r}", transient=True)
    return native_id


def _room(resources: Resources, wanted: int) -> int:
    """How many more jobs the user may submit by the limits that can be read; half of `wanted` where there are none."""
    account = [f"account={resources.account}"] if resources.account else []
    qos = resources.qos or DEFAULT_QOS
    of_user = _limits("assoc", f"user={_user_name()}", *account, "format=MaxSubmitJobs")
    of_qos = _limits("qos", f"name={qos}", "format=MaxSubmitJobsPerUser")
    if not of_user and not of_qos:
        return wanted // 2
    jobs = _ask_squeue("-r", "-u", str(os.getuid()), "-o", "%q").split()
    rooms = [*(limit - len(jobs) for limit in of_user), *(limit - jobs.count(qos) for limit in of_qos)]
    return max(0, min(rooms))


def _limits(*words: str) -> list[int]:
    answer = _run("sacctmgr", "-n", "-P", "show", *words)
    return [] if answer.code else parse.parse_limits(answer.out)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _ask_squeue(*words: str) -> str:
    """What squeue printed; nothing where it has forgotten the only job it was asked for."""
    answer = _query("squeue", "-h", *words, tolerated=parse.NO_SUCH_JOB)
    return "" if answer.code else answer.out


def _ask_sacct(*words: str) -> str | None:
    """What sacct printed, None where the site keeps no accounts."""
    answer = _query("sacct", "-n", "-P", "-X", *words, tolerated=parse.NO_ACCOUNTING)
    return None if answer.code or parse.NO_ACCOUNTING in answer.err else answer.out


def _query(*argv: str, tolerated: str = "\0") -> shell.Answer:
    """The answer to a question, asked again after a pause where Slurm was not reached.

    Raises:
        SchedulerError: no answer, or an error other than the tolerated one.
    """
    for pause in (*_pauses(), None):
        began = time.monotonic()
        answer = _run(*argv)
        if answer.code == 0 or tolerated in answer.err:
            return answer
        if answer.code == shell.NOT_FOUND and argv[0] == "sacct":
            return answer
        if answer.code != shell.TIMED_OUT and not parse.is_transient(answer.err):
            raise SchedulerError(f"slurm: {argv[0]}: {parse.explain_refusal(answer.err)}")
        if pause is None or time.monotonic() - began > PATIENT_CLIENT_S:
            break
        time.sleep(pause)
    raise _unreachable(argv[0], answer)


def _pauses() -> list[float]:
    """Seconds to wait before each new try: doubled each time, with jitter so that many clients do not come together."""
    return [PAUSE_S * 2**number * random.uniform(0.5, 1.5) for number in range(MOST_RETRIES)]


def _unreachable(command: str, answer: shell.Answer) -> SchedulerError:
    return SchedulerError(f"slurm: {command}: {parse.explain_refusal(answer.err)}; try again later", transient=True)


def _run(*argv: str, options: Sequence[str] = (), timeout_s: float = QUERY_TIMEOUT_S) -> shell.Answer:
    silenced = [word for name in SILENCED for word in ("-u", name)]
    environment = ["LC_ALL=C", "SLURM_BITSTR_LEN=0", "SLURM_TIME_FORMAT=standard"]
    return shell.run(["env", *silenced, *options, *environment, *argv], timeout_s=timeout_s)
