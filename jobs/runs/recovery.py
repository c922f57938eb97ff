"""Recover from killed submits: find jobs whose acceptance was not recorded, wait for orphans."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from anlp.core import lease
from anlp.core.errors import SchedulerError
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.common.users import owner_of
from jobs.runs.journal import Journal, Submission
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Phase, Scheduler

LEAVING_S = 25.0  # a little more than a pool gives its children
POLL_S = 0.2
CALL_S = 180.0  # longer than any submit call lasts


def has_unanswered(journal: Journal) -> bool:
    """Return whether it is not recorded what a cluster accepted of some submission."""
    return any(_is_unanswered(submission) for submission in journal.submissions().values())


def reconcile(journal: Journal) -> None:
    """Ask the schedulers about submissions whose answer was lost, and record what they accepted.

    Call it while holding the grid: a submit holds it too, so no answer is still to come on this
    host. The jobs are looked for by their tag among those of the user who submitted them.

    Raises:
        SchedulerError: a scheduler cannot be asked now, or it would not tell all.
    """
    for submission in filter(_is_unanswered, journal.submissions().values()):
        scheduler = registry.get_scheduler(submission.scheduler)
        _check_cluster(submission, scheduler)
        known = {job.first for job in submission.jobs}
        user = submission.user or owner_of(journal.folder.path / submission.batch)
        found = [job for job in scheduler.find(submission.tag, user) if job.first not in known]
        for job in found:
            journal.accepted(submission.tag, job)
        taken = sum(job.size for job in (*submission.jobs, *found))
        if taken < submission.size:
            _check_call_is_over(submission)
        journal.answered(submission.tag)


def _check_cluster(submission: Submission, scheduler: Scheduler) -> None:
    """Refuse to look on another cluster than the one that was asked: both may see the folder.

    Raises:
        SchedulerError: this is another cluster.
    """
    here = scheduler.cluster() if submission.cluster else ""
    if here and here != submission.cluster:
        raise SchedulerError(
            f"{submission.scheduler}: an answer of the cluster {submission.cluster} was lost, and "
            f"this is {here}: submit or cancel this grid once on {submission.by.host}"
        )


def _check_call_is_over(submission: Submission) -> None:
    """Refuse to conclude that jobs were not taken while a call on another host may take them.

    Raises:
        SchedulerError: the submit ended there a moment ago.
    """
    if submission.by.host == lease.Process.this().host:
        return
    left_s = submission.last + CALL_S - time.time()
    if left_s > 0:
        raise SchedulerError(
            f"{submission.scheduler}: a submit on {submission.by.host} was cut off, and a call of "
            f"it may still be at work there; try again in {math.ceil(left_s)} s",
            transient=True,
        )


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
