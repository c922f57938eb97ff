"""The questions of one command to the schedulers: each job is asked about once, and not if an answer is still young."""

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
from jobs.schedulers.base import JobHandle, JobState

YOUNG_S = 40.0  # one look at a shared scheduler serves every command for so long

Reply = tuple[
    Mapping[JobHandle, JobState], tuple[str, ...]
]  # states, and what the scheduler has to say about them
Ask = Callable[[str, Sequence[JobHandle]], Reply]


@dataclass(frozen=True, slots=True)
class SchedulerReport:
    """How much one scheduler had to say; what stands beside the states on every screen."""

    scheduler: str
    asked: float | None  # unix time of its oldest answer in use, None: it never answered
    outage: str = ""  # what it said instead of an answer
    notes: tuple[str, ...] = ()

    def render(self, now: float) -> list[str]:
        """Lines for a screen; none where the answer is fresh and complete."""
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
    """One query to the scheduler of that name."""
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
    """Asks about the jobs of one grid on behalf of one command; `states` is the query that `read_states` takes.

    Answers of shared schedulers are kept in the grid's folder, for other commands and for the time of an outage. What
    runs on this machine is always looked at anew: that costs nothing, and nobody else's answer would do.

    Made by `for_viewing`, `for_changing` or `for_dry_run`.

    Args:
        folder: the grid's.
        policy: what the command may rely on and write.
        ask: asks one scheduler.
        now: the clock, unix seconds.
    """

    def __init__(
        self,
        folder: GridFolder,
        policy: PollingPolicy,
        *,
        ask: Ask = ask_scheduler,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = folder.answers
        self._policy = policy
        self._ask = ask
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
        ask: Ask = ask_scheduler,
        now: Callable[[], float] = time.time,
    ) -> JobPoller:
        """Poll for a command that shows a grid: recent answers of other commands will do, and an outage is shown.

        Args:
            folder: the grid's.
            fresh: whether schedulers are asked although another command did so a moment ago.
            ask: asks one scheduler.
            now: the clock, unix seconds.
        """
        return cls(folder, PollingPolicy(uses_cache=not fresh), ask=ask, now=now)

    @classmethod
    def for_changing(
        cls,
        folder: GridFolder,
        *,
        ask: Ask = ask_scheduler,
        now: Callable[[], float] = time.time,
    ) -> JobPoller:
        """Poll for a command that changes a grid: it asks now, and an outage ends it."""
        return cls(folder, PollingPolicy(uses_cache=False, survives_outage=False), ask=ask, now=now)

    @classmethod
    def for_dry_run(
        cls,
        folder: GridFolder,
        *,
        ask: Ask = ask_scheduler,
        now: Callable[[], float] = time.time,
    ) -> JobPoller:
        """Poll for a command that shows what it would change: as `for_changing`, but writing nothing."""
        policy = PollingPolicy(uses_cache=False, survives_outage=False, writes_cache=False)
        return cls(folder, policy, ask=ask, now=now)

    @property
    def accounts(self) -> tuple[SchedulerReport, ...]:
        """Of every shared scheduler that this command needed, after `states`."""
        names = sorted({*self._oldest, *self._outages})
        return tuple(
            SchedulerReport(
                name, self._oldest.get(name), self._outages.get(name, ""), self._notes.get(name, ())
            )
            for name in names
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What schedulers said beside their answers."""
        return tuple(note for account in self.accounts for note in account.notes)

    @property
    def unreachable(self) -> dict[str, str]:
        """Schedulers that did not answer, with their words."""
        return dict(self._outages)

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        """What is known of `jobs`; those of a scheduler that is down and never spoke of them are missing.

        Raises:
            SchedulerError: a scheduler could not be asked, and that is not put up with.
        """
        found: dict[JobHandle, JobState] = {}
        groups: dict[str, list[JobHandle]] = defaultdict(list)
        for job in jobs:
            groups[job.scheduler].append(job)
        for name, group in groups.items():
            found |= (
                self._ask(name, group)[0] if name == registry.LOCAL else self._shared(name, group)
            )
        return found

    def forget(self, jobs: Iterable[JobHandle]) -> None:
        """Drops what is known of `jobs`, since this command has just changed it: the next one asks."""
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
        missing = [job for job in jobs if not self._is_young(job)]
        if missing and name not in self._outages:
            self._put(name, missing, jobs)
        earlier = self._known_earlier()
        answers = {
            job: answer for job in jobs if (answer := self._asked.get(job) or earlier.jobs.get(job))
        }
        if answers:
            self._oldest[name] = min(answer.time for answer in answers.values())
        self._notes.setdefault(name, earlier.notes.get(name, ()))
        return {job: answer.state for job, answer in answers.items()}

    def _is_young(self, job: JobHandle) -> bool:
        if job in self._asked:
            return True
        earlier = self._known_earlier().jobs.get(job) if self._policy.uses_cache else None
        return earlier is not None and 0 <= self._now() - earlier.time < YOUNG_S

    def _put(self, name: str, missing: Sequence[JobHandle], jobs: Sequence[JobHandle]) -> None:
        """Asks about what is missing, and keeps what is then known of `jobs`: of the others nobody asks any more."""
        try:
            states, notes = self._ask(name, missing)
        except SchedulerError as error:
            if not self._policy.survives_outage:
                raise
            self._outages[name] = _words(name, error)
            return
        at = round(self._now(), 3)
        self._asked.update({job: CachedState(state, at) for job, state in states.items()})
        self._notes[name] = notes
        if self._policy.writes_cache:
            self._keep(name, jobs)

    def _keep(self, name: str, jobs: Sequence[JobHandle]) -> None:
        earlier = self._known_earlier()
        others = {job: answer for job, answer in earlier.jobs.items() if job.scheduler != name}
        own = {
            job: answer for job in jobs if (answer := self._asked.get(job) or earlier.jobs.get(job))
        }
        write_cache(self._path, JobStateCache({**others, **own}, {**earlier.notes, **self._notes}))

    def _known_earlier(self) -> JobStateCache:
        if self._earlier is None:
            self._earlier = read_cache(self._path)
        return self._earlier


def _words(name: str, error: SchedulerError) -> str:
    """What a scheduler said, without what the screen says already."""
    return str(error).splitlines()[0].removeprefix(f"{name}: ").removesuffix("; try again later")


LOCAL_S = 2.0
SHARED_S = 40.0  # one look at a shared scheduler serves everybody; more often is a burden
MOST_S = 180.0
GROWTH = 1.5

Sight = object  # whatever tells two looks apart


class PollInterval:
    """Steady where this machine runs everything; where a shared scheduler is asked, slower while nothing changes."""

    def __init__(self) -> None:
        self._seen: Sight = None
        self._wait_s = SHARED_S

    def wait_s(self, sight: Sight, statuses: Iterable[RunStatus]) -> float:
        """Seconds until the next look, after one that showed `sight`: 40, 60, 90, 135, 180 while it is the same."""
        if not is_shared(statuses):
            return LOCAL_S
        self._wait_s = min(MOST_S, self._wait_s * GROWTH) if sight == self._seen else SHARED_S
        self._seen = sight
        return self._wait_s


def is_shared(statuses: Iterable[RunStatus]) -> bool:
    """Whether a scheduler that others use, too, must be asked about any of these runs."""
    handles = (status.handle for status in statuses if status.state.is_active)
    return any(handle is not None and handle.scheduler != registry.LOCAL for handle in handles)
