from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from jobs.common.external import Answer
from jobs.schedulers import backoff
from jobs.schedulers.backoff import Backoff, pauses

FAILED, TAKEN = Answer(1, "", "away"), Answer(0, "77", "")


class Clock:
    """Time that passes only in sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backoff, "time", clock)
    monkeypatch.setattr(backoff, "JITTER", (1.0, 1.0))
    return clock


def failing(times: int) -> Callable[[], Answer]:
    answers = itertools.chain([FAILED] * times, itertools.repeat(TAKEN))
    return lambda: next(answers)


def repeat(patience: Backoff, times: int) -> Answer:
    return patience.repeat(
        failing(times), lambda answer: answer.code == 1, lambda answer: answer.err
    )


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    assert list(itertools.islice(pauses(), 6)) == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]


def test_what_was_not_taken_is_repeated_and_said(clock: Clock) -> None:
    said: list[str] = []

    answer = repeat(Backoff("made", 60.0, said.append), 2)

    assert answer == TAKEN
    assert clock.slept == [1.0, 2.0]
    assert said == [
        "made: away; trying again in 1 s, for another 59 s",
        "made: away; trying again in 2 s, for another 57 s",
    ]


def test_all_calls_share_the_budget_and_only_repeats_use_it(clock: Clock) -> None:
    patience = Backoff("made", 10.0, lambda _: None)

    first = repeat(patience, 3)
    clock.now += 1000  # of calls that went well
    second = repeat(patience, 3)

    assert (first, second) == (TAKEN, FAILED)
    assert clock.slept == [1.0, 2.0, 4.0, 1.0, 2.0]


def test_what_may_have_been_taken_is_not_repeated(clock: Clock) -> None:
    patience = Backoff("made", 60.0, lambda _: None)

    answer = patience.repeat(failing(1), lambda _: False, lambda answer: answer.err)

    assert (answer, clock.slept) == (FAILED, [])


def test_repeats_may_ask_first_whether_the_call_was_taken(clock: Clock) -> None:
    patience = Backoff("made", 60.0, lambda _: None)

    answer = patience.repeat(
        failing(9), lambda found: found.code == 1, lambda found: found.err, lambda _: TAKEN
    )

    assert (answer, clock.slept) == (TAKEN, [1.0])
