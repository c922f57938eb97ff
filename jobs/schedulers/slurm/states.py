"""Tell where a task of an array stands, from what the queue said and then the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from jobs.schedulers.base import (
    ACCOUNTS_AWAY,
    AWAITS_ACCOUNTS,
    NOT_KNOWN,
    Cause,
    JobState,
    Phase,
)
from jobs.schedulers.slurm import parse
from jobs.schedulers.slurm.parse import WHOLE, Element, Row


class Accounts(Enum):
    """Says whether sacct has anything to say."""

    KEPT = "kept"
    NONE = "none"  # this cluster keeps none
    AWAY = "away"  # slurmdbd does not answer now


@dataclass(frozen=True)
class QueueSnapshot:
    """Holds what was answered about some arrays."""

    queued: Mapping[Element, Row]  # by squeue, with the tasks that ended some minutes ago
    recorded: Mapping[Element, Row] = field(default_factory=dict)  # by sacct
    accounts: Accounts = Accounts.KEPT

    @cached_property
    def arrays(self) -> frozenset[str]:
        """Return the ids of which there is any row."""
        return frozenset(array for array, _ in (*self.queued, *self.recorded))

    def is_on_record(self, array: str) -> bool:
        """Return whether the accounts have any row of an array."""
        return array in self._recorded_arrays

    @cached_property
    def _recorded_arrays(self) -> frozenset[str]:
        return frozenset(array for array, _ in self.recorded)

    def in_queue(self, element: Element) -> Row | None:
        """Return the queue's row of a task."""
        return self.queued.get(element) or self.queued.get((element[0], WHOLE))

    def is_settled(self, element: Element) -> bool:
        """Return whether the queue alone says it all: the task is alive, or never will be."""
        row = self.in_queue(element)
        if row is None:
            return False
        return parse.phase_of(row.state) is not None or row.reason == parse.NEVER


def task_state(element: Element, answers: QueueSnapshot) -> JobState:
    """Return the state of one task.

    The queue knows first of a requeue, the accounts of the cause of an end. A task that was
    cancelled while it waited is in neither, though its array is on record. A task of an unknown
    array is in neither as well, and counts as alive. What is over by the queue alone waits for the
    accounts. Where the cluster keeps none, what the queue has forgotten has ended.
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
        return JobState(Phase.RUNNING, None, AWAITS_ACCOUNTS, answers.queued[element].nodes)
    if answers.is_on_record(element[0]):
        return _vanished(answers.recorded.get((element[0], WHOLE)))
    if element[0] in answers.arrays:
        return JobState(Phase.RUNNING, None, AWAITS_ACCOUNTS)
    return JobState(Phase.QUEUED, None, NOT_KNOWN)


def _vanished(row: Row | None) -> JobState:
    """Return the state of a task without a row: it was cancelled while it waited.

    Such tasks leave no row, or one row for all that are left when the last of them goes.
    """
    if row is not None and parse.first_word(row.state) == "CANCELLED":
        return parse.state_from_row(row)
    return JobState(Phase.ENDED, Cause.CANCELLED, "cancelled before it started")


def _without_accounts(row: Row | None) -> JobState:
    """Return the state where the queue alone knows; a failed job may have written its result."""
    if row is None or row.state == "FAILED":
        words = "this cluster keeps no accounts that would say why it ended"
        return JobState(Phase.ENDED, Cause.UNKNOWN, words, row.nodes if row else "")
    return parse.state_from_row(row)


def _until_accounts_return(row: Row | None) -> JobState:
    """Return the state by the queue, which knows some causes; all others wait."""
    if row is None:
        return JobState(Phase.QUEUED, None, ACCOUNTS_AWAY)
    if row.state in ("COMPLETED", "FAILED"):
        return JobState(Phase.RUNNING, None, ACCOUNTS_AWAY, row.nodes)
    return parse.state_from_row(row)
