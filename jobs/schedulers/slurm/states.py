"""Where a task of an array stands, from what the queue said and then the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from jobs.schedulers.base import Cause, JobState, Phase
from jobs.schedulers.slurm import parse
from jobs.schedulers.slurm.parse import WHOLE, Element, Row


class Accounts(Enum):
    """Whether sacct has anything to say."""

    KEPT = "kept"
    NONE = "none"  # this cluster keeps none
    AWAY = "away"  # slurmdbd does not answer now


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """What was answered about some arrays."""

    queued: Mapping[Element, Row]  # by squeue, with the tasks that ended some minutes ago
    recorded: Mapping[Element, Row] = field(default_factory=dict)  # by sacct
    accounts: Accounts = Accounts.KEPT
    arrays: frozenset[str] = field(init=False)  # ids of which there is any row

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "arrays", frozenset(array for array, _ in (*self.queued, *self.recorded))
        )

    def in_queue(self, element: Element) -> Row | None:
        """The queue's row of a task."""
        return self.queued.get(element) or self.queued.get((element[0], WHOLE))

    def is_settled(self, element: Element) -> bool:
        """Whether the queue alone says all that there is to say: the task is alive, or never will be."""
        row = self.in_queue(element)
        return row is not None and (
            parse.phase_of(row.state) is not None or row.reason == parse.NEVER
        )


def task_state(element: Element, answers: QueueSnapshot) -> JobState:
    """The state of one task.

    The queue knows first of a requeue, the accounts of the cause of an end. A task that was cancelled while it waited
    is in neither, nor is one of an array that nobody knows: that one counts as alive. Where the cluster keeps no
    accounts, what the queue has forgotten has ended; where they are away, it counts as alive.
    """
    row = answers.in_queue(element)
    if row is not None and answers.is_settled(element):
        return parse.state_from_row(row)
    if answers.accounts is Accounts.NONE:
        return _without_accounts(row)
    if answers.accounts is Accounts.AWAY:
        return _until_accounts_return(row)
    if (recorded := answers.recorded.get(element)) is not None:
        return parse.state_from_row(recorded)
    if element in answers.queued:
        return _not_on_record(answers.queued[element])
    if element[0] in answers.arrays:
        return _vanished(answers.recorded.get((element[0], WHOLE)))
    return JobState(Phase.QUEUED)


def _not_on_record(row: Row) -> JobState:
    """Of a task that has ended by the queue, which tells no exit codes: accounts may be 5 s late."""
    return JobState(Phase.ENDED if row.state == "COMPLETED" else Phase.RUNNING, node=row.nodes)


def _vanished(row: Row | None) -> JobState:
    """Tasks cancelled while they wait leave no row, or one for all that are left when the last of them goes."""
    if row is not None and parse.first_word(row.state) == "CANCELLED":
        return parse.state_from_row(row)
    return JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started")


def _without_accounts(row: Row | None) -> JobState:
    """A job that failed may well have written its result: the queue does not tell exit codes."""
    if row is None or row.state == "FAILED":
        words = "this cluster keeps no accounts that would say why it ended"
        return JobState(Phase.ENDED, Cause.UNKNOWN, words, row.nodes if row else "")
    return parse.state_from_row(row)


def _until_accounts_return(row: Row | None) -> JobState:
    if row is None:
        return JobState(Phase.QUEUED)
    return (
        JobState(Phase.RUNNING, node=row.nodes)
        if row.state == "FAILED"
        else parse.state_from_row(row)
    )
