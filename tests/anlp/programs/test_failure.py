"""What ended a program, from what it printed: real programs where they can be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.core.signals import describe_signal
from anlp.programs.failure import failure_of, last_line, signal_of
from anlp.programs.process import Ended, Launch, Limits, supervise
from anlp.programs.tracebacks import last_python_error
from anlp.records.crash import CrashRecord
from anlp.records.fingerprint import fingerprint_of, render_frame
from anlp.records.results import RunError
from jobs.schedulers.base import Cause, parse_signal
from tests.support.wandb_server import KEY, Stub


def ended(
    code: int | None = 1, stderr: str = "", *, number: int | None = None, stdout: str = ""
) -> Ended:
    return Ended(code, number, False, False, 0, 0, stdout, stderr, 0.0, 0.0)


def stderr_of(tmp_path: Path, script: str, *launcher: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(script)
    environment = {**os.environ, "COLUMNS": "80"}
    command = [*(launcher or [sys.executable]), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    return done.stderr


def python_error(tmp_path: Path, script: str, *launcher: str) -> RunError:
    error = last_python_error(stderr_of(tmp_path, script, *launcher))
    assert error is not None
    return error


def test_an_exception_has_type_message_and_frames(tmp_path: Path) -> None:
    script = """
import json
def step(x):

    raise json.JSONDecodeError("bad batch", "doc", 0)
step(1)
"""
    error = python_error(tmp_path, script)

    assert error.type == "JSONDecodeError"
    assert error.message == "bad batch: line 1 column 1 (char 0)"
    assert render_frame(error.traceback) == "program.py:5 in step"
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert error.traceback.endswith("(char 0)\n")


def test_a_message_of_several_lines_ends_at_a_blank_one(tmp_path: Path) -> None:
    script = """
import atexit, sys
atexit.register(lambda: print("\\nwandb: Find logs at: wandb/run", file=sys.stderr))
raise RuntimeError("two\\nlines")
"""
    assert python_error(tmp_path, script).message == "two\nlines"


@pytest.mark.parametrize("how", ["raise KeyError('late') from error", "raise KeyError('late')"])
def test_of_chained_exceptions_it_is_the_last(tmp_path: Path, how: str) -> None:
    script = f"try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    {how}\n"

    error = python_error(tmp_path, script)

    assert (error.type, error.message) == ("KeyError", "'late'")
    assert "ZeroDivisionError" not in error.traceback


def test_an_exception_that_was_only_logged_is_not_the_last_one(tmp_path: Path) -> None:
    script = """
import logging
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("it goes on")
raise ValueError("the end")
"""
    assert python_error(tmp_path, script).type == "ValueError"


def test_an_exception_without_a_message(tmp_path: Path) -> None:
    error = python_error(tmp_path, "assert False")

    assert (error.type, error.message) == ("AssertionError", "")


def test_a_class_within_a_function_has_its_own_name(tmp_path: Path) -> None:
    script = "def f():\n    class Bad(Exception): pass\n    return Bad\nraise f()('x')"

    assert python_error(tmp_path, script).type == "Bad"


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("def f(:\n", "SyntaxError", "invalid syntax"),
        ("if 1:\nx = 2\n", "IndentationError", "expected an indented block"),
    ],
)
def test_a_program_that_python_cannot_read(
    tmp_path: Path, script: str, kind: str, message: str
) -> None:
    error = python_error(tmp_path, script)

    assert error.type == kind
    assert error.message.startswith(message)
    assert 'program.py", line' in error.traceback


def test_a_module_that_python_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = = 3\n")

    error = python_error(tmp_path, "import broken\n")

    assert (error.type, error.message) == ("SyntaxError", "invalid syntax")
    assert "broken.py" in error.traceback


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_an_exception_group_names_its_first_exception(tmp_path: Path) -> None:
    script = """
def work():
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
work()
"""
    error = python_error(tmp_path, script)

    assert error.type == "ExceptionGroup"
    assert error.message == "several (2 sub-exceptions): ValueError: one"
    assert render_frame(error.traceback) == "program.py:3 in work"


@pytest.mark.parametrize("show_locals", [True, False])
def test_a_traceback_drawn_by_rich(tmp_path: Path, show_locals: bool) -> None:
    script = f"""
from rich.traceback import install
install(show_locals={show_locals})
def work(number):
    table = [[1, 2], {{"a": 3}}]
    raise ValueError("drawn")
work(3)
"""
    error = python_error(tmp_path, script)

    assert (error.type, error.message) == ("ValueError", "drawn")
    assert render_frame(error.traceback) == "program.py:6 in work"
    assert str(fingerprint_of(error)) == "ValueError: drawn, in program.py work"


def test_a_worker_of_a_pool_tells_where_it_arose(tmp_path: Path) -> None:
    script = """
import multiprocessing
def work(number):
    raise ValueError(f"bad {number}")
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(work, [1])
"""
    error = python_error(tmp_path, script)

    assert (error.type, error.message) == ("ValueError", "bad 1")
    assert render_frame(error.traceback) == "program.py:4 in work"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise RuntimeError('worker')", "os.kill(os.getpid(), 9)"])
def test_torchrun_hands_on_the_end_of_its_worker(tmp_path: Path, how: str) -> None:
    script = f"""
import os, time
def work():
    {how}
if os.environ["RANK"] == "1":
    work()
time.sleep(60)
"""
    torchrun = Path(sys.executable).with_name("torchrun")

    text = stderr_of(tmp_path, script, str(torchrun), "--nproc-per-node", "2", "--standalone")

    failure = failure_of(ended(1, text))
    if "kill" in how:
        assert failure == CrashRecord("killed by a signal", describe_signal(9))
    else:
        assert isinstance(failure, RunError)
        assert (failure.type, failure.message) == ("RuntimeError", "worker")
        assert render_frame(failure.traceback) == "program.py:4 in work"


# The form of torch 2.11, shortened, where ranks carry their prefix.
RANKS = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/home/me/train.py", line 9, in <module>
[rank0]:     sync()
[rank0]: torch.distributed.DistBackendError: connection closed by peer
[rank1]: Traceback (most recent call last):
[rank1]:   File "/home/me/train.py", line 7, in <module>
[rank1]:     step()
[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB
Traceback (most recent call last):
  File "/env/bin/torchrun", line 10, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-27_22:20:09
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 26371)
============================================================
"""


def test_of_several_ranks_it_is_the_one_that_failed_first() -> None:
    error = last_python_error(RANKS)

    assert error is not None
    assert (error.type, error.message) == (
        "OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 2 GiB",
    )
    assert render_frame(error.traceback) == "train.py:7 in <module>"


def test_a_launcher_that_saw_no_traceback_of_its_child_is_itself_the_error() -> None:
    text = RANKS[RANKS.index("Traceback", RANKS.index("CUDA")) :]

    error = last_python_error(text)

    assert error is not None
    assert error.type == "ChildFailedError"


def test_accelerates_child_is_the_error(tmp_path: Path) -> None:
    script = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "raise ValueError('inner')"], check=True)
"""
    assert python_error(tmp_path, script).type == "ValueError"


@pytest.mark.parametrize(
    "text", ["", "no traceback\n", "Traceback (most recent call last):\n", "│╭──╯"]
)
def test_where_there_is_none_there_is_none(text: str) -> None:
    assert last_python_error(text) is None


OTHERS = {
    "terminate called after throwing an instance of 'std::runtime_error'\n  what():  bad size\n": (
        "std::runtime_error", "bad size",
    ),
    "terminate called after throwing an instance of 'int'\n": ("int", ""),
    "libc++abi: terminating due to uncaught exception of type std::logic_error: no\n": (
        "std::logic_error", "no",
    ),
    "Warning: slow\nError in fit(x) : singular matrix\nCalls: main -> fit\nExecution halted\n": (
        "Error", "singular matrix",
    ),
    "Error in library(nonesuch) : \n  there is no package called ‘nonesuch’\nExecution halted\n": (
        "Error", "there is no package called ‘nonesuch’",
    ),
    "Error: bad\nExecution halted\n": ("Error", "bad"),
    "ERROR: LoadError: DomainError with -1.0:\nsqrt was called\nStacktrace:\n [1] f\n": (
        "DomainError", "with -1.0:\nsqrt was called",
    ),
    "ERROR: UndefVarError: `x` not defined\nStacktrace:\n [1] top-level scope\n": (
        "UndefVarError", "`x` not defined",
    ),
    "ERROR: LoadError: boom\nStacktrace:\n [1] error\n": ("ErrorException", "boom"),
    "thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds\nnote: run with\n": (
        "panic", "index out of bounds",
    ),
    "panic: runtime error: nil map\n\ngoroutine 1 [running]:\nmain.main()\n": (
        "panic", "runtime error: nil map",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", OTHERS)
def test_other_languages(text: str) -> None:
    failure = failure_of(ended(1, text))

    assert isinstance(failure, RunError)
    assert (failure.type, failure.message) == OTHERS[text]
    assert failure.traceback


def test_an_exception_of_cpp_fails_though_it_ends_by_sigabrt() -> None:
    text = "terminate called after throwing an instance of 'std::bad_alloc'\n"

    assert isinstance(failure_of(ended(None, text, number=signal.SIGABRT)), RunError)
    assert isinstance(failure_of(ended(134, text)), RunError)


def test_what_users_meet_says_what_to_do(tmp_path: Path) -> None:
    text = stderr_of(tmp_path, "import nonesuch.module")

    failure = failure_of(ended(1, text))

    assert isinstance(failure, RunError)
    assert failure.message == (
        "No module named 'nonesuch'; install it in the environment that the program runs in"
    )


def test_wandbs_resume_that_must_find_a_run_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Stub()
    for name, value in (("BASE_URL", server.url), ("API_KEY", KEY), ("RUN_ID", "mine")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    try:
        text = stderr_of(tmp_path, "import wandb\nwandb.init(project='p', resume='must')")
    finally:
        server.close()

    failure = failure_of(ended(1, text))

    assert isinstance(failure, RunError)
    assert failure.type == "UsageError"
    assert failure.message.startswith("Run (mine) does not exist")
    assert failure.message.endswith(
        'leave `resume` out of wandb.init: WANDB_RESUME is "allow" and continues a run'
    )


def test_a_program_that_insists_on_being_online_says_what_to_do(tmp_path: Path) -> None:
    text = stderr_of(tmp_path, "import wandb\nwandb.init(project='p', mode='online')")

    failure = failure_of(ended(1, text))

    assert isinstance(failure, RunError)
    assert failure.message.endswith(
        "set WANDB_API_KEY, or `wandb: {mode: offline}` in the grid file, and leave `mode` out of "
        "wandb.init"
    )


def test_without_an_exception_the_exit_code_and_the_last_line_tell() -> None:
    usage = "usage: train.py [-h]\ntrain.py: error: unrecognized arguments: --x\n===\nwandb: bye\n"

    assert failure_of(ended(2, usage)) == RunError(
        "ExitCode", "exit code 2: train.py: error: unrecognized arguments: --x", ""
    )
    assert failure_of(ended(3)) == RunError("ExitCode", "exit code 3", "")
    assert failure_of(ended(3, stdout="no data\n")) == RunError(
        "ExitCode", "exit code 3: no data", ""
    )
    assert failure_of(ended(0, RANKS)) is None


def test_the_last_line_of_long_output_is_found_quickly() -> None:
    assert last_line(" " * 200_000 + "x") == "x"
    assert last_line("_-" * 100_000) == ""


@pytest.mark.parametrize(
    ("end", "number"),
    [
        (ended(None, number=11), 11),
        (ended(137), 9),
        (ended(139), 11),
        (ended(1), None),
        (ended(255), None),
        (ended(160), None),
    ],
)
def test_a_signal_is_known_by_itself_and_by_a_shells_exit_code(
    end: Ended, number: int | None
) -> None:
    assert signal_of(end) == number


@pytest.mark.parametrize(
    ("end", "memory", "cause"),
    [
        (ended(None, number=9), True, Cause.OUT_OF_MEMORY),
        (ended(None, number=9), False, Cause.SIGNAL),
        (ended(137), True, Cause.OUT_OF_MEMORY),
        (ended(None, number=11), True, Cause.SIGNAL),
        (ended(None, number=24), False, Cause.TIMEOUT),
    ],
)
def test_a_run_that_a_signal_ended_is_lost_by_a_cause_that_the_scheduler_side_knows(
    end: Ended, memory: bool, cause: Cause
) -> None:
    failure = failure_of(end, ran_out_of_memory=memory)

    assert isinstance(failure, CrashRecord)
    assert Cause.parse(failure.cause) is cause
    if cause is Cause.SIGNAL:
        assert parse_signal(failure.detail) == signal_of(end)


def test_a_real_crash_comes_through_a_shell(tmp_path: Path) -> None:
    command = ["sh", "-c", f"{sys.executable} -c 'import os; os.kill(os.getpid(), 11)'; exit $?"]
    launch = Launch(command, tmp_path, dict(os.environ))

    end = supervise(
        launch, tmp_path / "log", Limits(1, 1), on_tick=lambda: None, stop_signal=lambda: None
    )

    assert end.code == 139
    assert failure_of(end) == CrashRecord("killed by a signal", describe_signal(11))
