"""Poll schedulers for one command: each job is asked about once, and not if an answer is recent."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anlp.core.errors import SchedulerError
from anlp.core.units import render_duration
from anlp.records.folders import GridFolder
from jobs.runs.polling_cache import CachedState, JobStateCache, read_cache, write_cache
from jobs.runs.status import RunStatus
from jobs.schedulers import registry
from jobs.schedulers.base import (
    ACCOUNTS_AWAY,
    AWAITS_ACCOUNTS,
    NOT_KNOWN,
    Cause,
    JobHandle,
    JobState,
    Phase,
)

SHARED_S = 40.0  # one query to a shared scheduler serves every command for so long
LOCAL_S = 2.0
MOST_S = 180.0
ACCOUNTS_S = 900.0  # so long a job that is over waits for the accounts to say how it ended
GROWTH = 1.5

Reply = tuple[Mapping[JobHandle, JobState], tuple[str, ...]]  # states, and notes of the scheduler


@dataclass(frozen=True, slots=True)
class SchedulerReport:
    """How complete and how recent the answers of one scheduler are; shown beside the states."""

    scheduler: str
    asked: float | None  # unix time of its oldest answer in use, None: it never answered
    outage: str = ""  # what it said instead of an answer
    notes: tuple[str, ...] = ()

    def render(self, now: float) -> list[str]:
        """Return lines for a screen; none where the answer is recent and complete."""
        notes = [f"{self.scheduler}: {note}" for note in self.notes]
        age = "" if self.asked is None else render_duration(now - self.asked)
        if self.outage:
            source = f"the folders and its answer of {age} ago say" if age else "the folders say"
            return [
                f"{self.scheduler} does not answer; this is what {source} ({self.outage})",
                *notes,
            ]
        if self.asked is not None and now - self.asked >= 1:
            return [f"{self.scheduler} was asked {age} ago (--fresh asks now)", *notes]
        return notes


def ask_scheduler(name: str, jobs: Sequence[JobHandle]) -> Reply:
    """Query the scheduler of that name once."""
    scheduler = registry.get_scheduler(name)
    states = scheduler.states(jobs)
    return states, scheduler.notes


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """What a command may rely on when it asks schedulers, and whether it leaves a trace."""

    uses_cache: bool = True  # recent answers that other commands got
    survives_outage: bool = True  # jobs of a scheduler that is down count as it described them last
    writes_cache: bool = True  # for other commands


class JobPoller:
    """Polls the jobs of one grid for one command; `states` is the query that `read_states` takes.

    Answers of shared schedulers are cached in the grid's folder, for other commands and for the
    time of an outage. Jobs on this machine are always looked up: that costs nothing.

    Made by `for_viewing`, `for_changing` or `for_dry_run`.

    Args:
        folder: the grid's.
        policy: what the command may rely on and write.
        now: the clock, unix seconds.
    """

    def __init__(
        self,
        folder: GridFolder,
        policy: PollingPolicy,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = folder.answers
        self._policy = policy
        self._now = now
        self._earlier: JobStateCache | None = None  # of other commands; read when they are needed
        self._asked: dict[JobHandle, CachedState] = {}  # by this one
        self._notes: dict[str, tuple[str, ...]] = {}
        self._outages: dict[str, str] = {}
        self._oldest: dict[str, float] = {}

    @classmethod
    def for_viewing(
        cls,
        folder: GridFolder,
        *,
        fresh: bool = False,
        now: Callable[[], float] = time.time,
    ) -> JobPoller:
        """Poll for a command that shows a grid: cached answers will do, and an outage is shown.

        Args:
            folder: the grid's.
            fresh: whether schedulers are asked although another command did so a moment ago.
            now: the clock, unix seconds.
        """
        return cls(folder, PollingPolicy(uses_cache=not fresh), now=now)

    @classmethod
    def for_changing(cls, folder: GridFolder, *, now: Callable[[], float] = time.time) -> JobPoller:
        """Poll for a command that changes a grid: it asks now, and an outage ends it."""
        return cls(folder, PollingPolicy(uses_cache=False, survives_outage=False), now=now)

    @classmethod
    def for_dry_run(cls, folder: GridFolder, *, now: Callable[[], float] = time.time) -> JobPoller:
        """Poll as `for_changing`, writing nothing: for a command that shows what it would do."""
        policy = PollingPolicy(uses_cache=False, survives_outage=False, writes_cache=False)
        return cls(folder, policy, now=now)

    @property
    def reports(self) -> tuple[SchedulerReport, ...]:
        """Return one report for each shared scheduler that this command needed, after `states`."""
        names = sorted({*self._oldest, *self._outages})
        return tuple(
            SchedulerReport(
                name, self._oldest.get(name), self._outages.get(name, ""), self._notes.get(name, ())
            )
            for name in names
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what schedulers said beside their answers."""
        return tuple(note for report in self.reports for note in report.notes)

    @property
    def unreachable(self) -> dict[str, str]:
        """Return the schedulers that did not answer, with their messages."""
        return dict(self._outages)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """Return the known states of `jobs`; without any for those of a scheduler that is down.

        Raises:
            SchedulerError: a scheduler is down, and the command must not go on without it.
        """
        found: dict[JobHandle, JobState] = {}
        groups: dict[str, list[JobHandle]] = defaultdict(list)
        for job in jobs:
            groups[job.scheduler].append(job)
        for name, group in groups.items():
            if name == registry.LOCAL:
                found |= ask_scheduler(name, group)[0]
            else:
                found |= self._shared(name, group)
        return found

    def forget(self, jobs: Iterable[JobHandle]) -> None:
        """Drop the answers about `jobs`, which this command has changed: the next command asks."""
        dropped = set(jobs)
        earlier = self._known_earlier()
        known = {**earlier.jobs, **self._asked}
        self._asked = {job: answer for job, answer in self._asked.items() if job not in dropped}
        self._earlier = JobStateCache(
            {job: known[job] for job in known if job not in dropped}, earlier.notes
        )
        if self._policy.writes_cache and len(self._earlier.jobs) < len(known):
            write_cache(self._path, self._earlier)

    def _shared(self, name: str, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        missing = [job for job in jobs if not self._is_recent(job)]
        if missing and name not in self._outages:
            self._update(name, missing, jobs)
        earlier = self._known_earlier()
        answers = self._answers(jobs)
        if answers:
            self._oldest[name] = min(answer.time for answer in answers.values())
        self._notes.setdefault(name, earlier.notes.get(name, ()))
        return {job: answer.state for job, answer in answers.items()}

    def _answers(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, CachedState]:
        """Return the latest answer about each job, of this command or another."""
        earlier = self._known_earlier().jobs
        found = {}
        for job in jobs:
            answer = self._asked.get(job) or earlier.get(job)
            if answer is not None:
                found[job] = answer
        return found

    def _is_recent(self, job: JobHandle) -> bool:
        if job in self._asked:
            return True
        earlier = self._known_earlier().jobs.get(job) if self._policy.uses_cache else None
        return earlier is not None and 0 <= self._now() - earlier.time < SHARED_S

    def _update(self, name: str, missing: Sequence[JobHandle], jobs: Sequence[JobHandle]) -> None:
        """Ask about `missing`, and cache what is then known of `jobs`, the only open ones."""
        try:
            states, notes = ask_scheduler(name, missing)
        except SchedulerError as error:
            if not self._policy.survives_outage:
                raise
            self._outages[name] = _words(name, error)
            return
        at, earlier = round(self._now(), 3), self._known_earlier().jobs
        self._asked.update(
            {job: _await_accounts(state, at, earlier.get(job)) for job, state in states.items()}
        )
        self._notes[name] = notes
        if self._policy.writes_cache:
            self._keep(name, jobs)

    def _keep(self, name: str, jobs: Sequence[JobHandle]) -> None:
        earlier = self._known_earlier()
        others = {job: answer for job, answer in earlier.jobs.items() if job.scheduler != name}
        own = self._answers(jobs)
        write_cache(self._path, JobStateCache({**others, **own}, {**earlier.notes, **self._notes}))

    def _known_earlier(self) -> JobStateCache:
        if self._earlier is None:
            self._earlier = read_cache(self._path)
        return self._earlier


def _await_accounts(state: JobState, at: float, before: CachedState | None) -> CachedState:
    """Return an answer; after a while, of a job whose end the accounts do not tell, that it ended.

    A job that was over once stays so, though the queue has forgotten it meanwhile.

    Args:
        state: what the scheduler says.
        at: unix time.
        before: the last answer about the job.
    """
    since = before.since if before is not None else None
    is_forgotten = since is not None and state.detail == NOT_KNOWN
    if not (state.awaits_accounts or is_forgotten):
        # the time begins anew when they answer again
        is_away = since is not None and state.detail == ACCOUNTS_AWAY
        return CachedState(state, at, at if is_away else None)
    since = at if since is None else since
    node = state.node or (before.state.node if before is not None else "")
    if at - since > ACCOUNTS_S:
        words = f"the accounts have not told for {render_duration(ACCOUNTS_S)} how it ended"
        return CachedState(JobState(Phase.ENDED, Cause.UNKNOWN, words, node), at, since)
    return CachedState(JobState(Phase.RUNNING, None, AWAITS_ACCOUNTS, node), at, since)


def _words(name: str, error: SchedulerError) -> str:
    """Return the message of a scheduler, without what the screen says already."""
    return str(error).splitlines()[0].removeprefix(f"{name}: ").removesuffix("; try again later")


class PollInterval:
    """How long to wait between two looks: longer while a shared scheduler reports nothing new."""

    def __init__(self) -> None:
        self._seen: object = None
        self._wait_s = SHARED_S

    def wait_s(self, sight: object, statuses: Iterable[RunStatus]) -> float:
        """Return the seconds until the next look: 40, 60, 90, 135, 180 while nothing changes.

        Args:
            sight: what the last look showed; compared with what the one before showed.
            statuses: the runs that are watched.
        """
        if not is_shared(statuses):
            return LOCAL_S
        self._wait_s = min(MOST_S, self._wait_s * GROWTH) if sight == self._seen else SHARED_S
        self._seen = sight
        return self._wait_s


def is_shared(statuses: Iterable[RunStatus]) -> bool:
    """Return whether a shared scheduler must be asked about any of these runs."""
    handles = (status.handle for status in statuses if status.state.is_active)
    return any(handle is not None and handle.scheduler != registry.LOCAL for handle in handles)
