from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINES = "[print('line', number) for number in range(100_000)] and 0"


def command(body: str, *, outlives_reader: bool = False) -> list[str]:
    """A command of ours in a process of its own: `body` is an expression with its exit code."""
    code = f"""
import argparse, sys
from pathlib import Path
from anlp.console.command import run_command
from anlp.core.errors import UserError
def fault():
    raise UserError("nothing of the kind")
def help():
    return argparse.ArgumentParser(epilog="x" * 100_000).parse_args(["--help"]) and 0
sys.exit(run_command(lambda: {body}, outlives_reader={outlives_reader}))
"""
    return [sys.executable, "-c", code]


def run_without_reader(argv: list[str]) -> tuple[int, str]:
    """Exit code and errors of a program whose output goes into a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, env=buffered)
    os.close(writer)
    return done.returncode, done.stderr


def run_closed(argv: list[str], streams: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *argv], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("body", [LINES, "print('a little') or 0", "help()"])
def test_a_command_that_shows_something_ends_quietly_without_a_reader(body: str) -> None:
    assert run_without_reader(command(body)) == (0, "")


def test_a_mistake_is_told_although_the_output_has_no_reader() -> None:
    assert run_without_reader(command("print('a little') or fault()")) == (
        2,
        "nothing of the kind\n",
    )


def test_what_is_being_done_goes_on_without_a_reader(tmp_path: Path) -> None:
    done = tmp_path / "done"
    body = f"({LINES}) or Path({str(done)!r}).touch() or print('done', flush=True) or 1"

    assert run_without_reader(command(body, outlives_reader=True)) == (1, "")
    assert done.exists()


def test_a_pipe_of_our_own_that_breaks_is_not_taken_for_the_readers() -> None:
    broken = command("exec('raise BrokenPipeError(32, \"Broken pipe\")')")

    done = subprocess.run(broken, capture_output=True, text=True)

    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("outlives_reader", [False, True])
def test_closed_streams_are_no_fault(streams: str, outlives_reader: bool) -> None:
    assert run_closed(command(LINES, outlives_reader=outlives_reader), streams) == (0, "", "")
    assert run_closed(command("fault()", outlives_reader=outlives_reader), streams)[0] == 2


def test_a_file_that_is_opened_does_not_take_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    run_closed(command(f"Path({str(path)!r}).open('w') and print('for the screen') or 0"), ">&-")

    assert path.read_text() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["jobs", "--help"], ["jobs.submit", "--help"], ["jobs.status", "--help"]]
)
def test_help_ends_quietly_on_a_closed_output(words: list[str]) -> None:
    argv = [sys.executable, "-m", *words]

    assert run_closed(argv, ">&-") == (0, "", "")
    assert run_without_reader(argv) == (0, "")
