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
    due: frozenset[str] = (
        frozenset()
    )  # ids of the lost runs among the chosen that nobody asked for (`retries`)

    def counts(self) -> dict[RunState, int]:
        """How many runs of the file are in each state, in the order of `RunState`."""
        counted = Counter(self.states[spec.run_id] for spec in self.specs)
        return {state: counted[state] for state in RunState if counted[state]}

    @property
    def replaced(self) -> int:
        """Finished runs whose results would be thrown away."""
        finished = (RunState.DONE, RunState.DIVERGED)
        return sum(self.states[spec.run_id] in finished for spec in self.chosen)


def redo_of(status: RunStatus | None, redo: Redo) -> Redo:
    """What a run sets aside: what is asked for now, or more where an earlier request was not carried out.

    Without the latter, stopping `--replace` and submitting again would bring the old results back.
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
    """The plan for `specs`: what is missing, and with `redo` what failed or everything that is not active.

    Args:
        specs: the runs that are asked for.
        history: every run that was ever submitted.
        redo: which earlier results are set aside.
        due: ids of lost runs that are taken whatever `redo` says.
    """
    states = {
        spec.run_id: history[spec.run_id].state
        if spec.run_id in history
        else RunState.NEW  # never submitted
        for spec in specs
    }
    chosen = tuple(
        spec for spec in specs if states[spec.run_id] in TAKEN[redo] or spec.run_id in due
    )
    return Plan(
        tuple(specs),
        states,
        chosen,
        redo,
        frozenset(spec.run_id for spec in chosen if spec.run_id in due),
    )


def count_strangers(specs: Iterable[RunSpec], history: Mapping[str, RunStatus]) -> int:
    """Search runs that an earlier form of the grid's file named and `specs` do not."""
    named = {spec.run_id for spec in specs}
    return sum(
        status.purpose == "search" and status.run_id not in named for status in history.values()
    )
