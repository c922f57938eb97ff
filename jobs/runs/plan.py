"""What a submit would do, worked out before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anlp.core.spec import RunSpec
from anlp.records.results import RunState
from jobs.runs.batches import Redo
from jobs.runs.status import RunStatus

TAKEN_ALWAYS = frozenset({RunState.NEW, RunState.INTERRUPTED})
TAKEN_BY_RETRY = TAKEN_ALWAYS | {RunState.FAILED, RunState.LOST}
TAKEN_BY_REPLACE = TAKEN_BY_RETRY | {RunState.DONE, RunState.DIVERGED}

BY_STRENGTH: Sequence[Redo] = ("none", "failed", "all")
TAKEN: Mapping[Redo, frozenset[RunState]] = {
    "none": TAKEN_ALWAYS,
    "failed": TAKEN_BY_RETRY,
    "all": TAKEN_BY_REPLACE,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs that a grid file names, where each stands, and which of them a submit would take."""

    specs: tuple[RunSpec, ...]
    states: Mapping[str, RunState]
    chosen: tuple[RunSpec, ...]
    redo: Redo
    due: frozenset[str] = frozenset()  # ids of chosen lost runs that are repeated unasked

    def counts(self) -> dict[RunState, int]:
        """Return how many runs of the file are in each state, in the order of `RunState`."""
        counted = Counter(self.states[spec.run_id] for spec in self.specs)
        return {state: counted[state] for state in RunState if counted[state]}

    @property
    def replaced(self) -> int:
        """Return the number of finished runs whose results would be replaced."""
        finished = (RunState.DONE, RunState.DIVERGED)
        return sum(self.states[spec.run_id] in finished for spec in self.chosen)


def redo_of(status: RunStatus | None, redo: Redo) -> Redo:
    """Return which earlier results a run sets aside: as asked now, or more if asked so before.

    Otherwise a submit after an interrupted `--replace` would bring the old results back.
    """
    if status is None or status.state not in (RunState.INTERRUPTED, RunState.LOST):
        return redo
    return max(redo, status.redo, key=BY_STRENGTH.index)


def make_plan(
    specs: Sequence[RunSpec],
    history: Mapping[str, RunStatus],
    redo: Redo,
    due: Collection[str] = (),
) -> Plan:
    """Plan what to submit: missing runs, with `redo` also failed ones or all inactive ones.

    Args:
        specs: the runs that are asked for.
        history: every run that was ever submitted.
        redo: which earlier results are set aside.
        due: ids of lost runs that are repeated with every `redo`.
    """
    states = {}
    for spec in specs:
        status = history.get(spec.run_id)
        states[spec.run_id] = RunState.NEW if status is None else status.state
    chosen = tuple(
        spec for spec in specs if states[spec.run_id] in TAKEN[redo] or spec.run_id in due
    )
    repeated = frozenset(spec.run_id for spec in chosen if spec.run_id in due)
    return Plan(tuple(specs), states, chosen, redo, repeated)


def count_strangers(specs: Iterable[RunSpec], history: Mapping[str, RunStatus]) -> int:
    """Count the search runs that an earlier version of the grid file named and `specs` do not."""
    named = {spec.run_id for spec in specs}
    return sum(
        status.purpose == "search" and status.run_id not in named for status in history.values()
    )
