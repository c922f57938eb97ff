"""Slurm: batches become job arrays, and one query tells where all of them stand; no process stays behind."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.config.resources import Resources
from jobs.schedulers import profiles
from jobs.schedulers.base import Batch, Job, JobHandle, JobState, Phase, report_to_none
from jobs.schedulers.profiles import Profile
from jobs.schedulers.slurm import client, parse
from jobs.schedulers.slurm import errors as refusals
from jobs.schedulers.slurm.client import Patience
from jobs.schedulers.slurm.parse import Element, Row
from jobs.schedulers.slurm.script import (
    SlurmOptions,
    folder_of,
    render_call,
    render_script,
    variables_over,
)
from jobs.schedulers.slurm.states import Accounts, QueueSnapshot, task_state

DEFAULT_MAX_ARRAY_SIZE = 1001
SUBMIT_TIMEOUT_S = 90.0  # sbatch waits by itself while the controller is too busy to accept
PATIENCE_S = 60.0  # of a submission whose calls are certainly not taken
DEFAULT_QOS = "normal"  # Slurm's own default
IDS_PER_CALL = 500
FORGOTTEN_AFTER = "now-14days"  # how far back `find` looks for jobs that have ended
LOOK_AGAIN_S = 0.2


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class SlurmScheduler:
    """Asks and tells Slurm by its own commands; keeps nothing but the site's limits and its notes.

    Args:
        options: how elements are run on the nodes.
        profile: of the site.
        patience_s: how long a submission goes on trying while nobody takes it.
        say: told when it waits for that.
    """

    name = "slurm"

    def __init__(
        self,
        options: SlurmOptions | None = None,
        profile: Profile | None = None,
        *,
        patience_s: float = PATIENCE_S,
        say: Callable[[str], None] = _warn,
    ) -> None:
        self._profile = profile
        self._options = options or SlurmOptions()
        self._patience_s = patience_s
        self._say = say
        self._notes: list[str] = []
        self._most_tasks: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the last call: what was left for the next submit, who did not answer."""
        return tuple(self._notes)

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        """Submits `batch` as job arrays, each as large as the site allows; see `Scheduler.submit`.

        A call that Slurm certainly did not take is made again for about a minute, and then counts as refused. One
        whose answer was lost is not repeated: the error is transient and `find` knows what was accepted.
        """
        self._notes = []
        if self._profile is not None:
            resources = profiles.apply(self._profile, resources)
        script = render_script(batch, resources, self._options, Path.cwd())
        patience = Patience(self._patience_s, self._say)
        spans = self._cut(batch.size, patience)
        environment = tuple(word for name in variables_over(script) for word in ("-u", name))
        lanes = min(len(spans), batch.max_parallel or len(spans))
        form = _Form(
            batch, _write_script(batch, script), _share(batch.max_parallel, lanes), environment
        )
        handles: list[JobHandle] = []
        taken: list[str] = []
        for number, span in enumerate(spans):
            behind = taken[number - lanes] if number >= lanes else None
            job = _submit_span(replace(form, behind=behind), resources, span, patience)
            if job is not None:
                accepted(job)
                taken.append(job.native_id)
                handles += [JobHandle(self.name, job.native_id, index) for index in range(job.size)]
            if job is None or job.size < len(span):
                self._note_rest(batch, len(handles))
                break
        return handles

    def find(self, tag: str) -> list[Job]:
        """The jobs of the submission `tag`: those in the queue, and where there is accounting those of two weeks."""
        _let_callers_end(tag)
        user = str(os.getuid())
        text = client.query("squeue", "-h", "-t", "all", "-u", user, "-o", parse.NAMES_FORMAT).out
        recorded = client.ask_sacct("-u", user, "-S", FORGOTTEN_AFTER, "-o", "JobID,JobName")
        if recorded is not None:
            text += parse.jobs_from_sacct(recorded)
        return parse.parse_jobs(text, tag)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """One squeue for all of `jobs`, however many, and one sacct if some of them are not alive by it.

        Where the accounts cannot be asked, `notes` says so, and what only they would know counts as alive.
        """
        self._notes = []
        elements = {job: (job.native_id, job.index) for job in jobs if job.native_id.isdigit()}
        if not elements:
            return {job: JobState(Phase.QUEUED) for job in jobs}
        ids = ",".join(sorted({array for array, _ in elements.values()}, key=int))
        answers = QueueSnapshot(
            parse.parse_squeue(client.ask_squeue("-t", "all", "-j", ids, "-o", parse.SQUEUE_FORMAT))
        )
        if not all(answers.is_settled(element) for element in elements.values()):
            answers = QueueSnapshot(answers.queued, *self._ask_accounts(ids))
        return {
            job: task_state(elements.get(job, (job.native_id, job.index)), answers) for job in jobs
        }

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        """One scancel for all of `jobs`; what has ended already is no error."""
        indices: dict[str, list[int]] = defaultdict(list)
        for job in jobs:
            if job.native_id.isdigit():
                indices[job.native_id].append(job.index)
        words = [f"{array}_[{parse.render_indices(found)}]" for array, found in indices.items()]
        for begin in range(0, len(words), IDS_PER_CALL):
            answer = client.run("scancel", "-Q", *words[begin : begin + IDS_PER_CALL])
            if answer.code and refusals.is_transient(answer.err):
                raise client.unreachable("scancel", answer)

    def _ask_accounts(self, ids: str) -> tuple[Mapping[Element, Row], Accounts]:
        """Asked once: the queue's answer stands by itself, so nobody is kept waiting for slurmdbd."""
        answer = client.run(*client.sacct("-j", ids, "-o", parse.SACCT_FIELDS))
        text = client.read_sacct(answer)
        if text is not None:
            return parse.parse_sacct(text), Accounts.KEPT
        if answer.code == external.NOT_FOUND or refusals.NO_ACCOUNTING in answer.err:
            return {}, Accounts.NONE
        self._notes.append(
            f"Slurm's accounts do not answer ({refusals.explain_refusal(answer.err)}): "
            "jobs of which only they would know the end count as alive"
        )
        return {}, Accounts.AWAY

    def _cut(self, size: int, patience: Patience) -> list[range]:
        most = self._read_most_tasks(patience)
        return [range(first, min(first + most, size)) for first in range(0, size, most)]

    def _read_most_tasks(self, patience: Patience) -> int:
        """How many tasks an array may have: MaxArraySize bounds the index, which we count from 0."""
        if self._most_tasks is None:
            answer = patience.repeat(
                partial(client.run, "scontrol", "show", "config"), refusals.is_transient
            )
            client.raise_if_missing("scontrol", answer)
            if answer.code:
                words = refusals.explain_refusal(answer.err)
                raise SchedulerError(
                    f"slurm: scontrol: {words}; nothing was submitted, submit again later"
                )
            self._most_tasks = int(
                parse.parse_config(answer.out).get("MaxArraySize", DEFAULT_MAX_ARRAY_SIZE)
            )
            if self._most_tasks < 1:
                raise SchedulerError(
                    "slurm: job arrays are switched off here (MaxArraySize is 0), and this tool needs them"
                )
        return self._most_tasks

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


@dataclass(frozen=True, slots=True)
class _Form:
    """What the sbatch calls of a batch have in common."""

    batch: Batch
    script: Path
    parallel: int | None
    environment: Sequence[str]
    behind: str | None = None  # an array that has to have ended before this one begins

    def hand_in(self, span: range) -> external.Answer:
        """One sbatch call for the elements of `span`."""
        argv = render_call(self.batch, self.script, span, self.parallel, self.behind)
        return client.run(*argv, options=self.environment, timeout_s=SUBMIT_TIMEOUT_S)


def _submit_span(form: _Form, resources: Resources, span: range, patience: Patience) -> Job | None:
    """The job that was accepted; smaller than `span` where the user's limit is near, None where it is reached."""
    answer = patience.repeat(partial(form.hand_in, span), refusals.is_not_taken)
    size = len(span)
    while answer.code and refusals.is_submit_limit(answer.err):
        room = size // 2 if size < len(span) else _room(resources, size)
        size = min(room, size - 1)
        if size < 1:
            return None
        answer = patience.repeat(partial(form.hand_in, span[:size]), refusals.is_not_taken)
    return Job(_accepted_id(answer), span.start, size)


def _share(max_parallel: int | None, lanes: int) -> int | None:
    """Slurm throttles each array by itself, so those that go at the same time share what the batch may have."""
    return None if max_parallel is None else max_parallel // lanes


def _write_script(batch: Batch, text: str) -> Path:
    """The folder must be there before a job starts: Slurm does not make it, and the job would fail without a word."""
    folder = folder_of(batch)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.sh"
    path.write_text(text)
    path.chmod(0o755)
    return path


def _accepted_id(answer: external.Answer) -> str:
    client.raise_if_missing("sbatch", answer)
    if answer.code and refusals.is_not_taken(answer.err):
        raise SchedulerError(
            f"slurm: sbatch: {refusals.explain_refusal(answer.err)}; it took nothing, submit again later"
        )
    if answer.code == external.TIMED_OUT or (answer.code and refusals.is_transient(answer.err)):
        raise client.unreachable("sbatch", answer)
    if answer.code:
        raise SchedulerError(f"slurm: sbatch refused: {refusals.explain_refusal(answer.err)}")
    native_id = parse.parse_submitted(answer.out)
    if native_id is None:
        said = answer.out.strip().splitlines()[-1:] or ["nothing"]
        raise SchedulerError(f"slurm: sbatch printed no job id but {said[0]!r}", transient=True)
    return native_id


def _let_callers_end(tag: str) -> None:
    """Returns when no sbatch of that submission is at work on this host: it outlives a submit that is killed.

    Raises:
        SchedulerError: one of them does not end.
    """
    deadline = time.monotonic() + SUBMIT_TIMEOUT_S
    while any(tag in words for words in _sbatch_calls()):
        if time.monotonic() > deadline:
            raise SchedulerError(
                "slurm: an sbatch of that submission has not ended; try again later", transient=True
            )
        time.sleep(LOOK_AGAIN_S)


def _sbatch_calls() -> list[str]:
    """The command lines of our sbatch processes on this host."""
    calls = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if b"--job-name=" in words:
            calls.append(words.decode(errors="replace"))
    return calls


def _room(resources: Resources, wanted: int) -> int:
    """How many more jobs the user may submit by the limits that can be read; half of `wanted` where there are none."""
    account = [f"account={resources.account}"] if resources.account else []
    qos = resources.qos or DEFAULT_QOS
    of_user = _limits("assoc", f"user={_user_name()}", *account, "format=MaxSubmitJobs")
    of_qos = _limits("qos", f"name={qos}", "format=MaxSubmitJobsPerUser")
    if not of_user and not of_qos:
        return wanted // 2
    jobs = client.ask_squeue("-r", "-u", str(os.getuid()), "-o", "%q").split()
    rooms = [
        *(limit - len(jobs) for limit in of_user),
        *(limit - jobs.count(qos) for limit in of_qos),
    ]
    return max(0, min(rooms))


def _limits(*words: str) -> list[int]:
    answer = client.run("sacctmgr", "-n", "-P", "show", *words)
    return [] if answer.code else parse.parse_limits(answer.out)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
