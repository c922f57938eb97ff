"""Recover from killed submits: find jobs whose acceptance was not recorded, wait for orphans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.runs.journal import Journal, Submission
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Phase

LEAVING_S = 25.0  # a little more than a pool gives its children
POLL_S = 0.2


def has_unanswered(journal: Journal) -> bool:
    """Return whether it is not recorded what a cluster accepted of some submission."""
    return any(_is_unanswered(submission) for submission in journal.submissions().values())


def reconcile(journal: Journal) -> None:
    """Ask the schedulers about submissions whose answer was lost, and record what they accepted.

    Call it while holding the grid: a submit holds it too, so no answer is still to come.

    Raises:
        SchedulerError: a scheduler cannot be asked now.
    """
    for submission in filter(_is_unanswered, journal.submissions().values()):
        known = {job.first for job in submission.jobs}
        for job in registry.get_scheduler(submission.scheduler).find(submission.tag):
            if job.first not in known:
                journal.accepted(submission.tag, job)
        journal.answered(submission.tag)


def _is_unanswered(submission: Submission) -> bool:
    return (
        not submission.is_answered
        and submission.refused is None
        and submission.scheduler != registry.LOCAL
    )


def wait_for_orphans(
    folder: GridFolder,
    *,
    say: Callable[[str], None],
    patience_s: float = LEAVING_S,
    query: Query = registry.states,
) -> dict[str, RunStatus]:
    """Return `read_states` once no orphan is left.

    An orphan is a run on this machine whose submit was killed: it saves a checkpoint and ends.
    After `patience_s` those that are left count as running.
    """
    deadline = time.monotonic() + patience_s
    journal = Journal(folder)
    if has_unanswered(journal):
        with journal.held():
            reconcile(journal)
    states = read_states(folder, query)
    leaving = count_orphans(states.values())
    if leaving:
        say(f"waiting for {leaving} runs of a submit that was killed: they save their checkpoints")
    while leaving and time.monotonic() < deadline:
        time.sleep(POLL_S)
        states = read_states(folder, query)
        leaving = count_orphans(states.values())
    return states


def count_orphans(statuses: Iterable[RunStatus]) -> int:
    """Count the runs on this machine that outlive their job; asks no shared scheduler."""
    running = (status.handle for status in statuses if status.state is RunState.RUNNING)
    handles = [
        handle for handle in running if handle is not None and handle.scheduler == registry.LOCAL
    ]
    jobs = registry.states(list(dict.fromkeys(handles)))
    return sum(jobs[handle].phase is Phase.ENDED for handle in handles)
