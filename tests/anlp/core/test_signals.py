from __future__ import annotations

import os
import selectors
import signal
import threading

import pytest

from anlp.core.signals import describe_signal, signal_name, signal_pipe


@pytest.mark.parametrize(
    ("number", "name", "text"),
    [
        (11, "SIGSEGV", "signal 11 (SIGSEGV: a crash in native code)"),
        (15, "SIGTERM", "signal 15 (SIGTERM)"),
        (50, "", "signal 50"),
        (999, "", "signal 999"),
    ],
)
def test_a_signal_in_words(number: int, name: str, text: str) -> None:
    assert (signal_name(number), describe_signal(number)) == (name, text)


def test_the_pipe_wakes_a_selector_and_names_the_signals() -> None:
    with signal_pipe({signal.SIGUSR1, signal.SIGUSR2}) as pipe, selectors.PollSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        silent = waiting.select(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        ready = waiting.select(5)
        taken, later = pipe.take(), pipe.take()

    assert (silent, len(ready)) == ([], 1)
    assert (sorted(taken), later) == ([signal.SIGUSR1, signal.SIGUSR2], [])


def test_handlers_are_put_back_and_an_outer_pipe_hears_of_everything() -> None:
    before = signal.getsignal(signal.SIGUSR1)

    with signal_pipe({signal.SIGUSR1}) as outer:
        with signal_pipe() as inner:
            os.kill(os.getpid(), signal.SIGUSR1)
            first = inner.take()
        os.kill(os.getpid(), signal.SIGUSR1)
        heard = outer.take()

    assert (first, heard) == ([signal.SIGUSR1], [signal.SIGUSR1, signal.SIGUSR1])
    assert signal.getsignal(signal.SIGUSR1) == before


def test_in_another_thread_the_pipe_stays_silent() -> None:
    found: list[list[int]] = []

    def listen() -> None:
        with signal_pipe({signal.SIGUSR1}) as pipe:
            found.append(pipe.take())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()

    assert found == [[]]
