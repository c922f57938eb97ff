"""Runs whose submit was killed: they save a checkpoint and leave, and are then free to be submitted again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from anlp.record import GridFolder, RunState
from jobs.adoption import adopt, has_open
from jobs.journal import Journal
from jobs.schedulers import choose
from jobs.schedulers.base import Phase
from jobs.state import Query, RunStatus, read_states

LEAVING_S = 25.0  # a little more than a pool gives its children
POLL_S = 0.2


def settled_states(
    folder: GridFolder, *, say: Callable[[str], None], patience_s: float = LEAVING_S, query: Query = choose.states
) -> dict[str, RunStatus]:
    """`read_states` once no run is leaving any more; those that stay for longer than `patience_s` count as running."""
    deadline = time.monotonic() + patience_s
    journal = Journal(folder)
    if has_open(journal):
        with journal.locked():
            adopt(journal)
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
    """How many run on this machine although their job has ended; asks no shared scheduler."""
    running = (status.handle for status in statuses if status.state is RunState.RUNNING)
    handles = [handle for handle in running if handle is not None and handle.scheduler == choose.LOCAL]
    jobs = choose.states(list(dict.fromkeys(handles)))
    return sum(jobs[handle].phase is Phase.ENDED for handle in handles)
