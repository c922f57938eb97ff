from __future__ import annotations

import io

import pytest

from anlp.console.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def count(stream: io.StringIO, *seconds: float) -> str:
    """What is said when something is done at each of these times."""
    now = [0.0]
    with Progress("reading runs", 1000, stream=stream, clock=lambda: now[0]) as progress:
        for second in seconds:
            now[0] = second
            progress.add(100)
    return stream.getvalue()


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_what_is_quick_says_nothing(stream: io.StringIO) -> None:
    assert count(stream, 0.5, 1.0, 1.9) == ""


def test_a_log_gets_few_lines() -> None:
    said = count(io.StringIO(), 1, 2, 3, 10, 16)

    assert said.splitlines() == ["reading runs: 200 of 1,000, 2 s"]
    assert count(io.StringIO(), 2, 17).splitlines()[-1] == "reading runs: 200 of 1,000, 17 s"


def test_a_terminal_gets_one_line_that_is_gone_in_the_end() -> None:
    said = count(Terminal(), 2, 2.1, 3)

    assert said.split("\r\x1b[K") == [
        "",
        "reading runs: 100 of 1,000, 2 s",
        "reading runs: 300 of 1,000, 3 s",
        "",
    ]
