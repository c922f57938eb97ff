"""Submit to Slurm: batches become job arrays, and one query tells where all of them stand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from anlp.core.errors import SchedulerError, UserError
from jobs.common import external
from jobs.common.external import Answer
from jobs.common.users import user_name
from jobs.config.fields import Key, texts, whole
from jobs.config.resources import Resources
from jobs.config.yaml_tree import Tree
from jobs.schedulers import backoff
from jobs.schedulers.backoff import Backoff
from jobs.schedulers.base import Batch, Job, JobHandle, JobState, Setup
from jobs.schedulers.batch import (
    BatchScheduler,
    Call,
    Piece,
    Submission,
    in_chunks,
    indices_by_job,
)
from jobs.schedulers.site import Profile, read_seconds
from jobs.schedulers.slurm import client, parse
from jobs.schedulers.slurm import errors as refusals
from jobs.schedulers.slurm.environment import (
    check_names,
    environment,
    options_left_out,
    options_passed,
    variables_over,
)
from jobs.schedulers.slurm.parse import Element, Row
from jobs.schedulers.slurm.script import (
    ENVIRONMENT_PREFIXES,
    MANAGED,
    MOST_MARGIN_S,
    SlurmOptions,
    folder_of,
    output_of,
    render_call,
    render_script,
)
from jobs.schedulers.slurm.states import Accounts, QueueSnapshot, task_state

DEFAULT_MAX_ARRAY_SIZE = 1001
DEFAULT_QOS = "normal"  # Slurm's own default
IDS_PER_CALL = 500
RANGES_PER_WORD = 2_000  # 30 kB
FORGOTTEN_AFTER = "now-14days"  # how far back `find` looks for jobs that have ended
PROBE_TIMEOUT_S = 10.0


def _read_warning(tree: Tree) -> float:
    seconds = read_seconds(tree)
    if not 1 <= seconds <= MOST_MARGIN_S:
        wanted = f"expected 1 s to {MOST_MARGIN_S} s, got {seconds:g} s"
        raise ValueError(f"{wanted}: Slurm warns early")
    return seconds


def _read_variables(tree: Tree) -> tuple[str, ...]:
    return check_names(texts(tree), MANAGED)


@dataclass(frozen=True)
class SlurmProfile(Profile):
    """Holds the profile of a Slurm site."""

    KEYS: ClassVar[Mapping[str, Key]] = {
        "warn": Key("warn_s", _read_warning),
        "continuations": Key("continuations", whole(0)),
        "environment": Key("environment", _read_variables),
    }

    scheduler: str = "slurm"
    warn_s: float = 90.0
    continuations: int = 20  # of an element after reaching its time limit
    environment: tuple[str, ...] = ()  # further variables that sbatch gets from the user's shell


class SlurmScheduler(BatchScheduler[QueueSnapshot]):
    """Asks and tells Slurm by its own commands; no process stays behind.

    Args:
        options: how elements are run on the nodes.
        profile: of the site.
        patience_s: how long a submission repeats calls that were not taken.
        say: told before each pause.
    """

    name = "slurm"
    title = "Slurm"
    job_variable = "SLURM_JOB_ID"
    environment_prefixes = ENVIRONMENT_PREFIXES
    can_exclude_nodes = True
    node_packages = ("submitit",)
    profile_type = SlurmProfile
    submit_command = "sbatch"
    submit_timeout_s = 90.0  # sbatch waits by itself while the controller is too busy to accept
    cancel_timeout_s = client.QUERY_TIMEOUT_S
    waits_for_arrays = True
    always_array = True
    name_option = "--job-name="

    def __init__(
        self,
        options: SlurmOptions | None = None,
        profile: Profile | None = None,
        *,
        patience_s: float | None = None,
        say: Callable[[str], None] = backoff.say,
    ) -> None:
        super().__init__(patience_s=patience_s, say=say)
        self._profile = profile
        self._options = options or SlurmOptions()
        self._variables = profile.environment if isinstance(profile, SlurmProfile) else ()
        self._asked: Resources | None = None  # by the submission under way
        self._overruled: tuple[str, ...] = ()  # variables whose option its script has
        self._configuration: Mapping[str, str] | None = None  # of the cluster

    @classmethod
    def create(cls, setup: Setup) -> SlurmScheduler:
        """Return a scheduler whose elements run in the image, with the site's warning."""
        options = SlurmOptions(container=setup.container)
        if isinstance(setup.site, SlurmProfile):
            options = replace(
                options,
                margin_s=round(setup.site.warn_s),
                continuations=setup.site.continuations,
            )
        return cls(options, setup.site)

    @classmethod
    def is_here(cls) -> bool:
        """Return whether there is a controller, up or down.

        A login node must not train by itself because its controller is away for a moment, or
        because a module is not loaded.

        Raises:
            UserError: sbatch is here, and finds no cluster.
        """
        if not shutil.which("sbatch"):
            return False
        why = client.missing_configuration()
        if not why:
            answer = client.run("scontrol", "ping", timeout_s=PROBE_TIMEOUT_S)
            if answer.code == 0 or " is DOWN" in answer.out:
                return True
            why = refusals.last_words(answer.err)
        raise UserError(
            f"sbatch is here, but it finds no Slurm ({why}): {refusals.CONFIGURE}, "
            "or train on this machine: --on local"
        )

    @classmethod
    def output_path(cls, batch: Path, job: Job, index: int) -> Path | None:
        """Return the file with what one task printed, and Slurm's own lines about its end."""
        return output_of(batch, job.native_id, index)

    @property
    def profile(self) -> Profile | None:
        """Return the site's profile."""
        return self._profile

    # ---- submit

    def prepare(self, batch: Batch, resources: Resources) -> Submission:
        """Render the one script of the batch, with the site's defaults."""
        submission = super().prepare(batch, resources)
        script = render_script(batch, submission.resources, self._options, Path.cwd())
        self._asked, self._overruled = submission.resources, tuple(variables_over(script))
        left_out = options_left_out(self._variables, self._overruled)
        if left_out:
            self._notes.append(
                f"{', '.join(left_out)} of the environment did not count: the grid and the profile "
                "say what is asked for"
            )
        return replace(submission, script=script)

    def next_piece(self, batch: Batch, first: int, largest: int, taken: Sequence[str]) -> Piece:
        """Return the next array.

        Slurm throttles each array by itself: those that run at the same time share what the batch
        may have, and the others wait behind them.
        """
        size = min(largest, batch.size - first)
        if batch.max_parallel is None:
            return Piece(first, size)
        arrays = -(-batch.size // min(self._array_limit or batch.size, batch.size))
        lanes = min(arrays, batch.max_parallel)
        behind = taken[-lanes] if len(taken) >= lanes else None
        return Piece(first, size, batch.max_parallel // lanes, behind)

    def render_call(self, submission: Submission, piece: Piece) -> Call:
        """Return the sbatch call of an array; no variable overrides an option of the script."""
        batch = submission.batch
        folder = folder_of(batch)
        path = folder / "job.sh"
        span = range(piece.first, piece.first + piece.size)
        argv = render_call(batch, path, span, piece.most, piece.behind)
        own = environment(self._variables, self._overruled)
        return Call(tuple(argv), folder, {path: submission.script}, own)

    def hand_in(self, call: Call) -> Answer:
        """Call sbatch with the variables that it may have; keep what the site says about it."""
        answer = client.run(*call.argv, own=call.environment, timeout_s=self.submit_timeout_s)
        if answer.code == 0:
            words = [f"sbatch: {line}" for line in refusals.site_words(answer.err)]
            self._notes += [line for line in words if line not in self._notes]
        return answer

    def run(self, argv: Sequence[str], timeout_s: float) -> Answer:
        """Call a command of Slurm, in full, in English and unfiltered."""
        return client.run(*argv, timeout_s=timeout_s)

    def read_array_limit(self, patience: Backoff) -> int:
        """Ask how many tasks an array may have: MaxArraySize bounds the index, counted from 0."""
        configuration = self._read_configuration(patience)
        most = int(configuration.get("MaxArraySize", DEFAULT_MAX_ARRAY_SIZE))
        if most < 1:
            raise SchedulerError(
                "slurm: job arrays are switched off here (MaxArraySize is 0), "
                "and this tool needs them"
            )
        return most

    def cluster(self) -> str:
        """Return the cluster's name, by the call that a submission makes anyway."""
        patience = Backoff(self.name, self._patience_s, self._say)
        return self._read_configuration(patience).get("ClusterName", "")

    def _read_configuration(self, patience: Backoff) -> Mapping[str, str]:
        """Return what `scontrol show config` prints, asked for once.

        Raises:
            SchedulerError: there is no configuration here, or no controller.
        """
        if self._configuration is not None:
            return self._configuration
        if why := client.missing_configuration():
            raise SchedulerError(f"slurm: {why}; {refusals.CONFIGURE}")
        call = partial(client.run, "scontrol", "show", "config")
        answer = patience.repeat(
            call, lambda failed: refusals.is_transient(failed.err), self.explain
        )
        client.raise_if_missing("scontrol", answer)
        if answer.code:
            later = ", submit again later" if refusals.NO_CONFIGURATION not in answer.err else ""
            raise SchedulerError(
                f"slurm: scontrol: {self.explain(answer)}; nothing was submitted{later}"
            )
        self._configuration = parse.parse_config(answer.out)
        return self._configuration

    def parse_submitted(self, out: str) -> str | None:
        """Return the id that `sbatch --parsable` printed."""
        return parse.parse_submitted(out)

    def is_not_taken(self, answer: Answer) -> bool:
        """Return whether no daemon listened, or Slurm said that it cannot take jobs now."""
        return answer.code != 0 and refusals.is_not_taken(answer.err)

    def is_limit(self, answer: Answer) -> bool:
        """Return whether the user has as many jobs as are allowed."""
        return answer.code != 0 and refusals.is_submit_limit(answer.err)

    def explain(self, answer: Answer) -> str:
        """Return what a command said, and what to do where that is known."""
        return refusals.explain_refusal(answer.err)

    def refusal(self, command: str, answer: Answer) -> SchedulerError:
        """Return the error of a call that failed."""
        if answer.code == external.NOT_FOUND:
            return client.missing(command)
        if command == "scancel" and refusals.DENIED in answer.err:
            return SchedulerError(
                "slurm: scancel: some of these jobs are another user's, and stay: "
                "only who submitted them may cancel them"
            )
        words = self.explain(answer)
        if command == self.submit_command:
            passed = options_passed(self._variables, self._overruled)
            words = refusals.explain_refusal(answer.err, self._asked, passed)
        if self.is_not_taken(answer):
            return SchedulerError(f"slurm: {command}: {words}; it took nothing, submit again later")
        if answer.code == external.TIMED_OUT or refusals.is_transient(answer.err):
            return client.unreachable(command, answer)
        return SchedulerError(f"slurm: {command} refused: {words}")

    def free_places(self, resources: Resources, wanted: int) -> int | None:
        """Return how many more jobs the user may submit by the limits that can be read."""
        del wanted
        account = [f"account={resources.account}"] if resources.account else []
        qos = resources.qos or DEFAULT_QOS
        of_user = _limits("assoc", f"user={user_name()}", *account, "format=MaxSubmitJobs")
        of_qos = _limits("qos", f"name={qos}", "format=MaxSubmitJobsPerUser")
        if not of_user and not of_qos:
            return None
        jobs = client.ask_squeue("-r", "-u", user_name(), "-o", "%q").split()
        rooms = [limit - len(jobs) for limit in of_user]
        rooms += [limit - jobs.count(qos) for limit in of_qos]
        return max(0, min(rooms))

    # ---- find, states, cancel

    def find_jobs(self, tag: str, user: str) -> list[Job]:
        """Return those in the queue, and where there is accounting those of two weeks."""
        text = client.query("squeue", "-h", "-t", "all", "-u", user, "-o", parse.NAMES_FORMAT).out
        recorded = client.ask_sacct("-u", user, "-S", FORGOTTEN_AFTER, "-o", "JobID,JobName")
        if recorded is not None:
            text += parse.jobs_from_sacct(recorded)
        return parse.parse_jobs(text, tag)

    def hides_jobs_of_others(self) -> str:
        """Return whether the queue or the accounts keep jobs private."""
        if os.getuid() == 0:
            return ""
        queue = client.query("scontrol", "show", "config").out
        accounts = client.run("sacctmgr", "-n", "show", "configuration").out
        if not any(map(parse.keeps_jobs_private, (queue, accounts))):
            return ""
        return "this cluster hides the jobs of others from you (PrivateData)"

    def is_id(self, native_id: str) -> bool:
        """Return whether this is a number."""
        return native_id.isdigit()

    def look(self, ids: Sequence[str], jobs: Sequence[JobHandle]) -> QueueSnapshot:
        """Call one squeue for all arrays, and one sacct if some tasks are not alive by it.

        Where the accounts cannot be asked, `notes` says so, and their jobs count as alive.
        """
        arrays = ",".join(ids)
        rows = client.ask_squeue("-t", "all", "-j", arrays, "-o", parse.SQUEUE_FORMAT)
        queue = QueueSnapshot(parse.parse_squeue(rows))
        if all(queue.is_settled((job.native_id, job.index)) for job in jobs):
            return queue
        return QueueSnapshot(queue.queued, *self._ask_accounts(arrays))

    def state_in(self, snapshot: QueueSnapshot, job: JobHandle) -> JobState:
        """Return the state of one task."""
        return task_state((job.native_id, job.index), snapshot)

    def cancel_calls(self, jobs: Sequence[JobHandle]) -> Iterator[list[str]]:
        """Name the tasks of each array as ranges."""
        words: list[str] = []
        for array, indices in indices_by_job(jobs).items():
            chunks = in_chunks(parse.render_indices(indices).split(","), RANGES_PER_WORD)
            words += [f"{array}_[{','.join(ranges)}]" for ranges in chunks]
        for named in in_chunks(words, IDS_PER_CALL):
            yield ["scancel", "-Q", *named]

    def is_cancelled(self, answer: Answer) -> bool:
        """Return whether Slurm heard it; what has ended already is no error."""
        return answer.code == 0 or refusals.is_past_cancelling(answer)

    def _ask_accounts(self, ids: str) -> tuple[Mapping[Element, Row], Accounts]:
        """Ask once: the queue's answer stands by itself, so nothing waits for slurmdbd."""
        answer = client.run(*client.sacct("-j", ids, "-o", parse.SACCT_FIELDS))
        text = client.read_sacct(answer)
        if text is not None:
            return parse.parse_sacct(text), Accounts.KEPT
        if answer.code == external.NOT_FOUND or refusals.NO_ACCOUNTING in answer.err:
            return {}, Accounts.NONE
        self._notes.append(
            f"Slurm's accounts do not answer ({self.explain(answer)}): "
            "jobs of which only they would know the end count as alive"
        )
        return {}, Accounts.AWAY


def _limits(*words: str) -> list[int]:
    answer = client.run("sacctmgr", "-n", "-P", "show", *words)
    return [] if answer.code else parse.parse_limits(answer.out)
