"""How long a command that watches a grid waits before it looks again."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.schedulers import choose
from jobs.state import RunStatus

LOCAL_S = 2.0
SHARED_S = 40.0  # one look at a shared scheduler serves everybody; more often is a burden
MOST_S = 180.0
GROWTH = 1.5

Sight = object  # whatever tells two looks apart


class Pace:
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
    return any(handle is not None and handle.scheduler != choose.LOCAL for handle in handles)
