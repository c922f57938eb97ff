"""Signals: their names in words, and a pipe that tells which have arrived."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType

# What ends a process with such a signal, where that is not obvious from its name.
HINTS: Mapping[int, str] = {
    signal.SIGKILL: "not sent by the job itself: the kernel does this when memory runs out",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code, or a full /dev/shm",
    signal.SIGABRT: "native code gave up",
}


def signal_name(number: int) -> str:
    """Return the name of a signal; empty for a real-time signal or an unknown number.

    >>> signal_name(11), signal_name(50), signal_name(999)
    ('SIGSEGV', '', '')
    """
    if number not in signal.valid_signals() or number >= signal.SIGRTMIN:
        return ""
    return signal.Signals(number).name


def describe_signal(number: int) -> str:
    """Return the number, name and likely cause of a signal.

    >>> describe_signal(11)
    'signal 11 (SIGSEGV: a crash in native code)'
    >>> describe_signal(50)
    'signal 50'
    """
    name = signal_name(number)
    if not name:
        return f"signal {number}"
    hint = HINTS.get(number)
    return f"signal {number} ({name}: {hint})" if hint else f"signal {number} ({name})"


class SignalPipe:
    """A descriptor that becomes readable with the number of each signal that this process handles.

    Args:
        reader: end of the pipe to wait for and to read from.
        writer: end of the pipe that Python writes to before it calls a handler.
        outer: the wake-up descriptor that was set before, -1 for none; it gets the signals, too.
    """

    def __init__(self, reader: int, writer: int, outer: int) -> None:
        self.descriptors = (reader, writer)
        self._reader = reader
        self._outer = outer

    def fileno(self) -> int:
        """Return the readable end, for a selector."""
        return self._reader

    def take(self) -> list[int]:
        """Return the signals since the last call, in the order in which they arrived."""
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._reader, 1 << 12)
            if self._outer >= 0:
                os.write(self._outer, numbers)
            return list(numbers)
        return []


@contextlib.contextmanager
def signal_pipe(handle: Iterable[int] = ()) -> Iterator[SignalPipe]:
    """Collect the signals that arrive while the context lasts.

    The pipe reports every signal that has a Python handler, even one that code inside the context
    installs. Only the main thread can listen; in any other thread the pipe stays silent.

    Args:
        handle: signals that get a handler that does nothing; their earlier handlers are put back at
            the end.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    can_listen = threading.current_thread() is threading.main_thread()
    outer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False) if can_listen else -1
    before = {number: signal.signal(number, _ignore) for number in handle} if can_listen else {}
    pipe = SignalPipe(reader, writer, outer)
    try:
        yield pipe
    finally:
        if can_listen:
            signal.set_wakeup_fd(outer)
            pipe.take()  # passes on what has just arrived
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Handle a signal that only the pipe has to report."""
