"""Signals that ask a run to save what it has and make room."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGURG, which whatever does not know it ignores: it may go to all of a job without ending what
# mounts its image
ASKS_TO_STOP = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGURG)


class Interrupted(Exception):  # noqa: N818 it is no error
    """The run was asked to stop and has saved its checkpoint."""


class ClaimLostError(Exception):
    """This process stood still for so long that another has taken the run over: nothing may be written any more."""


class StopFlag:
    """Remembers that a signal asked to stop; signals after the first change nothing."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def is_set(self) -> bool:
        """Tell whether a signal has arrived."""
        return self.signal is not None

    def raise_if_set(self) -> None:
        """Raises `Interrupted` where nothing is worth saving."""
        if self.signal is not None:
            raise Interrupted(signal.Signals(self.signal).name)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        del frame
        self.signal = self.signal or number


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """A flag that SIGTERM, SIGUSR2, SIGURG and Ctrl-C set for as long as the context lasts."""
    flag = StopFlag()
    before = {number: signal.signal(number, flag.receive) for number in ASKS_TO_STOP}
    # whoever forked us may have held them back until there is somebody to receive them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKS_TO_STOP)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
