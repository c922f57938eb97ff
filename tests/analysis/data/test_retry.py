from __future__ import annotations

import itertools
import threading
import time

import pytest

from analysis.data.retry import TRIES, Retries, in_threads


class BusyError(Exception):
    pass


def test_what_fails_for_the_moment_is_repeated_later_each_time() -> None:
    times: list[float] = []

    def act() -> str:
        times.append(time.monotonic())
        if len(times) < 4:
            raise BusyError
        return "done"

    assert (
        Retries(lambda error: isinstance(error, BusyError), first_wait_s=0.05).call(act) == "done"
    )
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits[0] >= 0.025
    assert waits[2] >= 0.1


def test_what_fails_for_good_is_raised_at_once() -> None:
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        raise KeyError

    with pytest.raises(KeyError):
        Retries(lambda error: isinstance(error, BusyError)).call(act)
    assert len(tries) == 1


def test_in_the_end_it_gives_up() -> None:
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        raise BusyError

    with pytest.raises(BusyError):
        Retries(lambda error: True, first_wait_s=0.001).call(act)
    assert len(tries) == TRIES


def test_threads_work_side_by_side() -> None:
    together = threading.Barrier(4, timeout=120)

    assert sorted(in_threads(lambda number: together.wait() * 0 + number, range(8), 4)) == list(
        range(8)
    )


def test_an_exception_of_a_thread_is_raised_where_results_are_taken() -> None:
    def act(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        list(in_threads(act, [1, 0, 1], 1))


def test_nothing_new_is_begun_without_a_listener() -> None:
    done: list[int] = []
    closed = threading.Event()
    others = set(threading.enumerate())

    def act(number: int) -> None:
        if number > 0:
            closed.wait(60)
        done.append(number)

    results = in_threads(act, range(100), 2)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    closed.set()
    for thread in set(threading.enumerate()) - others:
        thread.join(60)

    assert done[0] == 0
    assert len(done) <= 3  # each thread ends what it had begun
