"""The log of a program: bounded, and harmless to a terminal."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anlp.programs.bounded_log import LONGEST_LINE, BoundedLog, LineFilter
from anlp.programs.process import Launch, Limits, supervise


def filtered(*chunks: bytes) -> bytes:
    lines = LineFilter()
    return b"".join(lines.feed(chunk) for chunk in chunks) + lines.take()


def test_lines_come_whole() -> None:
    lines = LineFilter()

    assert lines.feed(b"epoch") == b""
    assert lines.feed(b" 1\nepo") == b"epoch 1\n"
    assert lines.take() == b"epo"
    assert lines.take() == b""


def test_of_a_progress_bar_the_last_state_stays() -> None:
    assert filtered(b"\r10%", b"\r50%", b"\r100%\nnext\n") == b"100%\nnext\n"
    assert filtered(b"10%\r50%\r", b"100%\r\n") == b"100%\n"
    assert filtered(b"dos\r\nlines\r\n") == b"dos\nlines\n"


@pytest.mark.parametrize("chunks", [(b"\r10%", b"\r20%"), (b"10%\r", b"20%\r")])
def test_a_bar_that_was_shown_is_drawn_over(chunks: tuple[bytes, bytes]) -> None:
    lines = LineFilter()

    lines.feed(chunks[0])
    assert lines.take() == b"10%"
    lines.feed(chunks[1])
    assert lines.take() == b"\r20%"
    assert lines.feed(b"\rdone\n") == b"\rdone\n"
    assert lines.feed(b"next\n") == b"next\n"


def test_what_steers_a_terminal_is_gone() -> None:
    assert filtered(b"\x1b[31mred\x1b[0m\x1b[2K \x1b]0;title\x07end\x1b(0\n") == b"red end\n"
    assert filtered(b"bell\x07 back\x08 shift\x0e nul\x00 del\x7f lone\x1b\n") == (
        b"bell back shift? nul? del? lone?\n"
    )
    assert filtered("é \x9b31m\n".encode()) == "é ?31m\n".encode()


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_binary_output_leaves_only_harmless_bytes(chunks: list[bytes]) -> None:
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", filtered(*chunks))


@given(st.lists(st.text("ab\n", max_size=9), max_size=9))
def test_plain_text_stays_as_it_is(chunks: list[str]) -> None:
    assert filtered(*(chunk.encode() for chunk in chunks)) == "".join(chunks).encode()


def test_a_line_without_end_is_not_held_back_for_ever() -> None:
    assert len(LineFilter().feed(b"x" * (LONGEST_LINE + 1))) == LONGEST_LINE + 1


def write_lines(path: Path, limit: int, count: int, flush_every: int = 50) -> BoundedLog:
    log = BoundedLog(path, limit)
    for number in range(count):
        log.write(b"line %6d\n" % number)
        if number % flush_every == 0:
            log.flush()
            assert path.stat().st_size <= limit + 100
    log.close()
    return log


def test_what_fits_is_all_there_at_once(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 1000)

    for number in range(1, 51):
        log.write(b"x" * 19 + b"\n")
        assert (tmp_path / "log").stat().st_size == 20 * number
    log.close()

    assert log.left_out == 0


def test_of_more_the_first_and_the_last_half_stay(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "log", 12_000, 100_000)

    lines = (tmp_path / "log").read_text().splitlines()
    middle = next(number for number, line in enumerate(lines) if "left out" in line)
    assert lines[middle] == f"… {log.left_out:,} bytes left out …"
    assert lines[:middle] == [*(f"line {number:6}" for number in range(500)), ""]
    assert lines[middle + 1 :] == [f"line {number:6}" for number in range(99_501, 100_000)]
    assert log.left_out == 1_200_000 - 6000 - 499 * 12


def test_the_end_is_seen_while_the_program_still_prints(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 12_000)
    for number in range(5000):
        log.write(b"line %6d\n" % number)
    log.flush()

    for number in range(5000, 5200):
        log.write(b"line %6d\n" % number)
        log.flush()
        text = (tmp_path / "log").read_text()
        assert text.endswith(f"line {number:6}\n")
        assert len(text) <= 12_100
    log.close()


def test_an_earlier_attempt_and_lines_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("first attempt\n")
    log = BoundedLog(path, 1000)

    log.write(b"one\n")
    with path.open("a") as other:
        other.write("from the runner\n")
    log.write(b"two\n")
    log.close()

    assert path.read_text() == "first attempt\none\nfrom the runner\ntwo\n"


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files may not become larger than 10 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_told_and_ends_nothing(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 1000)

    log.write(b"12345\n")
    log.write(b"67890\n")
    log.close()

    assert (tmp_path / "log").read_text() == "12345\n6789"
    assert (log.error, log.left_out) == ("File too large", 2)


def test_a_gigabyte_of_output_is_bounded_and_hardly_slowed(tmp_path: Path) -> None:
    script = (
        "import os\nline = (b'x' * 63 + b'\\n') * 1024\nfor _ in range(16384): os.write(1, line)"
    )
    launch = Launch([sys.executable, "-c", script], tmp_path, dict(os.environ))

    began = time.monotonic()
    ended = supervise(
        launch, tmp_path / "log", Limits(0.2, 5, 2_000_000), on_tick=lambda: None,
        stop_signal=lambda: None,
    )  # fmt: skip
    seconds = time.monotonic() - began

    assert ended.printed_bytes == 1 << 30
    assert ended.dropped_bytes == pytest.approx((1 << 30) - 2_000_000, abs=5000)
    assert (tmp_path / "log").stat().st_size < 2_000_100
    assert f"{ended.dropped_bytes:,} bytes left out" in (tmp_path / "log").read_text()
    assert "1,073,741,824 bytes" in ended.notes[0]
    assert seconds < 60  # 3 s on two idle cores
    print(f"{seconds:.1f} s")
