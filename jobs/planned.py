"""What a submission says when others were faster, or when there is nothing to do."""

from __future__ import annotations

from anlp.record import GridFolder, RunState
from jobs.plan import Plan


def say_nothing_to_do(folder: GridFolder, plan: Plan) -> None:
    """Why there is nothing to submit, and what can be done about it."""
    counts = plan.counts()
    print(f"nothing to submit: {', '.join(f'{count} {state.value}' for state, count in counts.items())}")
    if any(state.is_active for state in counts):
        print(f"  the queued and running ones were submitted before: python -m jobs.status {folder.name} --watch")
    if RunState.FAILED in counts or RunState.LOST in counts:
        print(f"  failed and lost runs are repeated by --retry; why they ended: python -m jobs.status {folder.name}")


def say_taken_meanwhile(runs: int) -> None:
    """How many runs of the plan another submit has taken since."""
    if runs:
        print(f"{runs} of these runs were taken by another submit meanwhile")
