"""Signals that ask a run to save a checkpoint and leave."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGURG is ignored by programs that do not know it: sent to a whole job, it does not end the
# process that mounts its image
ASKS_TO_STOP = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGURG)


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The run was asked to stop and has saved its checkpoint."""


class LeaseLostError(Exception):
    """Another process has taken over the run: nothing may be written any more.

    This process was frozen for longer than its lease.
    """


class StopFlag:
    """Remembers that a signal asked to stop; signals after the first change nothing."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def is_set(self) -> bool:
        """Tell whether a signal has arrived."""
        return self.signal is not None

    def raise_if_set(self) -> None:
        """Raise `Interrupted` where a signal has arrived; for use where nothing is worth saving."""
        if self.signal is not None:
            raise Interrupted(signal.Signals(self.signal).name)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        self.signal = self.signal or number


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Provide a flag that SIGTERM, SIGUSR2, SIGURG and Ctrl-C set while the context lasts."""
    flag = StopFlag()
    before = {number: signal.signal(number, flag.receive) for number in ASKS_TO_STOP}
    # the parent may have blocked them until there is a handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKS_TO_STOP)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
