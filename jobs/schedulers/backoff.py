"""Repeat a call that was certainly not taken: with growing pauses, for a bounded time, and said."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator

from jobs.common.external import Answer

PATIENCE_S = 60.0  # of a submission: the grid is locked meanwhile
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 16.0
JITTER = (0.5, 1.5)  # so that many clients do not come back together


def say(words: str) -> None:
    """Tell the person who waits, on stderr: screens are on stdout."""
    print(words, file=sys.stderr, flush=True)


def pauses(first_s: float | None = None, longest_s: float | None = None) -> Iterator[float]:
    """Return seconds to wait before each new try: doubled each time, with jitter."""
    pause_s = FIRST_PAUSE_S if first_s is None else first_s
    most_s = LONGEST_PAUSE_S if longest_s is None else longest_s
    while True:
        yield pause_s * random.uniform(*JITTER)
        pause_s = min(2 * pause_s, most_s)


class Backoff:
    """Repeats calls within one budget of time, which all calls of a submission share.

    Args:
        scheduler: its name, for what is said.
        total_s: seconds that may pass between first tries and their last repeats, all together;
            None: `PATIENCE_S`.
        tell: hears of every pause, before it.
    """

    def __init__(
        self, scheduler: str, total_s: float | None = None, tell: Callable[[str], None] = say
    ) -> None:
        self._scheduler = scheduler
        self._left_s = PATIENCE_S if total_s is None else total_s
        self._tell = tell

    def repeat(
        self,
        call: Callable[[], Answer],
        may_repeat: Callable[[Answer], bool],
        explain: Callable[[Answer], str],
        again: Callable[[Answer], Answer] | None = None,
    ) -> Answer:
        """Return the last answer of a call that is repeated while it does no harm.

        Args:
            call: the call.
            may_repeat: whether an answer says that the call was certainly not taken.
            explain: what an answer says, in a line.
            again: repeats the call, given the last answer; None: as the first time.
        """
        answer = call()
        began, left_s = time.monotonic(), self._left_s
        for wait_s in pauses():
            rest_s = left_s - (time.monotonic() - began) - wait_s
            if answer.code == 0 or not may_repeat(answer) or rest_s < 0:
                break
            self._tell(
                f"{self._scheduler}: {explain(answer)}; "
                f"trying again in {wait_s:.0f} s, for another {rest_s:.0f} s"
            )
            time.sleep(wait_s)
            answer = call() if again is None else again(answer)
            self._left_s = left_s - (time.monotonic() - began)
        return answer
