"""Send requests to a server from many threads, and repeat those that it refuses for the moment."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

LOG = logging.getLogger("anlp.http")
TRIES = 6
FIRST_WAIT_S = 1.0  # doubled each time
LONGEST_WAIT_S = 60.0

Item = TypeVar("Item")
Found = TypeVar("Found")


class Retries:
    """Repeats calls that failed for the moment, later each time.

    All threads wait when one of them has to.

    Args:
        is_transient: whether an exception may go away by itself.
        first_wait_s: before the second try.
    """

    def __init__(
        self, is_transient: Callable[[Exception], bool], *, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        self._is_transient = is_transient
        self._first_wait_s = first_wait_s
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._random = random.Random()

    def call(self, action: Callable[[], Found]) -> Found:
        """Return what `action` returns, or raise its exception after the last try."""
        for number in range(TRIES - 1):
            self._wait()
            try:
                return _timed(action)
            except Exception as error:
                if not self._is_transient(error):
                    raise
            self._postpone(min(self._first_wait_s * 2**number, LONGEST_WAIT_S))
        self._wait()
        return _timed(action)

    def _wait(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0:
            time.sleep(left)

    def _postpone(self, wait_s: float) -> None:
        """Wait for a random time, so that threads that failed together do not try together."""
        with self._lock:
            self._resume_at = max(
                self._resume_at, time.monotonic() + wait_s * self._random.uniform(0.5, 1.0)
            )


def _timed(action: Callable[[], Found]) -> Found:
    """Return what `action` returns; how long it took, and its error, go to the debug log."""
    began = time.monotonic()
    outcome = "answered"
    try:
        return action()
    except Exception as error:
        outcome = f"failed ({type(error).__name__}: {error})"
        raise
    finally:
        LOG.debug("request %s after %.2f s", outcome, time.monotonic() - began)


def in_threads(
    action: Callable[[Item], Found], items: Sequence[Item], threads: int
) -> Iterator[Found]:
    """Yield the results of `action` for each item, in the order in which they are done.

    The threads do not keep a process from ending, and begin nothing new when the caller stops
    reading.

    Raises:
        Exception: the first one that `action` raised.
    """
    todo = queue.SimpleQueue[Item]()
    done = queue.SimpleQueue["tuple[Found | None, Exception | None]"]()
    stop = threading.Event()
    for item in items:
        todo.put(item)

    def work() -> None:
        while not stop.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((action(item), None))
            except Exception as error:  # raised again where the results are taken
                stop.set()
                done.put((None, error))

    for _ in range(min(threads, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            found, error = done.get()
            if error is not None:
                raise error
            yield found  # type: ignore[misc]  # one of the two is not None
    finally:
        stop.set()
