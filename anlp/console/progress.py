"""Progress of a command that takes longer than a moment, on stderr.

On a terminal one line that moves, elsewhere a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from anlp.console.stdio import can_redraw

PATIENCE_S = 2.0  # a shorter command shows no progress
TERMINAL_EVERY_S = 0.2
LOG_EVERY_S = 15.0

Item = TypeVar("Item")


class Progress:
    """Counts what is done; use as a context manager.

    Args:
        what: what is going on, e.g. `reading runs`.
        total: how many there are, 0 where that is not known.
        stream: stderr by default.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._is_terminal = can_redraw(self._stream)
        self._started = clock()
        self._due = self._started + PATIENCE_S
        self._done = 0
        self._drawn = False

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._started

    def add(self, count: int = 1) -> None:
        """Count so many more as done."""
        self._done += count
        if self._clock() >= self._due:
            self._draw()

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, each counted when it is there."""
        for item in items:
            self.add()
            yield item

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn and self._is_terminal:
            self._stream.write("\r\x1b[K")  # what follows begins on an empty line
            self._stream.flush()

    def _draw(self) -> None:
        self._drawn = True
        self._due = self._clock() + (TERMINAL_EVERY_S if self._is_terminal else LOG_EVERY_S)
        of = f" of {self._total:,}" if self._total else ""
        line = f"{self._what}: {self._done:,}{of}, {self.seconds:.0f} s"
        self._stream.write(f"\r\x1b[K{line}" if self._is_terminal else f"{line}\n")
        self._stream.flush()
