from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from jobs.common import external


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "SILENT_S", 0.1)


def test_an_answer_is_its_code_and_both_streams() -> None:
    answer = external.run(["sh", "-c", "echo here; echo there >&2; exit 3"])

    assert answer == external.Answer(3, "here\n", "there\n")


def test_a_command_that_is_not_there_is_named() -> None:
    assert external.run(["no-such-command"]) == external.Answer(
        127, "", "no-such-command: no such command"
    )


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("timeout_s", [0.05, 0.3])
def test_a_command_that_hangs_is_ended(timeout_s: float) -> None:
    began = time.monotonic()

    answer = external.run(["env", "sleep", "300"], timeout_s=timeout_s, name="sleep")

    assert answer == external.Answer(124, "", f"sleep: no answer after {timeout_s:g} s")
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_the_user_who_waits_is_told_for_what_and_the_answer_is_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = external.run(
        ["sh", "-c", "echo one; sleep 0.6; echo two"], timeout_s=45, name="squeue"
    )

    assert answer == external.Answer(0, "one\ntwo\n", "")
    assert capsys.readouterr() == ("", "waiting for squeue, 45 s at most\n")


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_on_a_terminal_the_line_goes_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    external.run(["sleep", "0.6"], timeout_s=45)

    assert terminal.getvalue() == "waiting for sleep, 45 s at most" + external.CLEAR_LINE


def test_who_does_not_wait_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    external.run(["true"])

    assert capsys.readouterr() == ("", "")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_nothing_of_a_command_that_takes_too_long_stays_behind(tmp_path: Path) -> None:
    """A site's `qsub` may be a script that waits for a password in a child."""
    command = write(
        tmp_path / "qsub", f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/child\nwait\n"
    )
    began = time.monotonic()

    answer = external.run([command], timeout_s=1.0)

    assert (answer.code, answer.err) == (external.TIMED_OUT, f"{command}: no answer after 1 s")
    assert time.monotonic() - began < 60
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 120
    while _is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_command_has_no_terminal_and_no_input() -> None:
    answer = external.run(
        ["/bin/sh", "-c", "cat; if true </dev/tty; then echo a terminal; fi 2>/dev/null"]
    )

    assert answer.out == ""


def test_a_command_that_may_not_be_run_is_an_answer(tmp_path: Path) -> None:
    file = tmp_path / "qstat"
    file.touch(mode=0o644)

    assert external.run([str(file)]) == external.Answer(
        external.NOT_STARTED, "", f"{file}: Permission denied"
    )
