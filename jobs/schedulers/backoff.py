"""Asking a PBS server that is away once more: after growing pauses, for a bounded time, and saying so."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from jobs.common import external
from jobs.schedulers.pbs import parse as answers

PATIENCE_S = 60.0  # in all; the grid is locked meanwhile
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 16.0
JITTER = (0.75, 1.25)  # so that many clients do not come back together


def say(words: str) -> None:
    """Tells the person who waits; screens are on stdout."""
    print(words, file=sys.stderr, flush=True)


def patiently(
    answer: external.Answer, again: Callable[[], external.Answer], tell: Callable[[str], None] = say
) -> external.Answer:
    """The last answer of a server that is asked again for as long as it cannot be reached at all.

    What it may have heard is not repeated: a call that took too long, a connection that broke on the way.

    Args:
        answer: the first one.
        again: repeats the command.
        tell: hears of each pause.
    """
    began, pause_s = time.monotonic(), FIRST_PAUSE_S
    while answers.is_unheard(answer):
        wait_s = pause_s * random.uniform(*JITTER)
        if time.monotonic() - began + wait_s > PATIENCE_S:
            break
        tell(f"pbs: {answers.first_words(answer)}; asking again in {wait_s:.0f} s")
        time.sleep(wait_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        answer = again()
    return answer
