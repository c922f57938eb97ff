"""Jobs whose acceptance was never reported: the answer of `sbatch` or `qsub` was lost, or its reader killed."""

from __future__ import annotations

from jobs.journal import Journal, Submission
from jobs.schedulers import choose


def has_open(journal: Journal) -> bool:
    """Whether there is a submission to a cluster of which nobody knows what was accepted."""
    return any(_is_open(submission) for submission in journal.submissions().values())


def adopt(journal: Journal) -> None:
    """Asks the schedulers about submissions whose answer was lost, and journals what they really took.

    Call it while holding the grid: whoever submits holds it too, so no answer is still to come.

    Raises:
        SchedulerError: a scheduler cannot be asked now.
    """
    for submission in filter(_is_open, journal.submissions().values()):
        known = {job.first for job in submission.jobs}
        for job in choose.choose(submission.scheduler).find(submission.tag):
            if job.first not in known:
                journal.accepted(submission.tag, job)
        journal.answered(submission.tag)


def _is_open(submission: Submission) -> bool:
    return not submission.is_answered and submission.refused is None and submission.scheduler != choose.LOCAL
