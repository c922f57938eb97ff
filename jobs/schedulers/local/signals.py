"""Ctrl-C, SIGTERM and SIGHUP as something a loop can wait for beside its other descriptors."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered (in the main thread), these signals are collected instead of raising or ending the process."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._previous: dict[signal.Signals, Any] = {}
        self._readable, self._writable = -1, -1

    def __enter__(self) -> Interrupts:
        self._readable, self._writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if (
            threading.current_thread() is threading.main_thread()
        ):  # Python has signal handlers there only
            self._previous = {number: signal.signal(number, self._collect) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._readable)
        os.close(self._writable)

    def fileno(self) -> int:
        """Becomes readable when a signal arrives."""
        return self._readable

    def take(self) -> list[int]:
        """The signals since the last call."""
        try:
            os.read(self._readable, 1 << 10)
        except BlockingIOError:
            return []
        taken, self.received = self.received, []
        return taken

    def _collect(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        os.write(self._writable, b"!")
