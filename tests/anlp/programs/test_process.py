"""Programs are run to their end: output, signals, leftovers, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anlp.programs.process import Ended, Launch, Limits, ProgramNotStartedError, supervise

NEVER: Callable[[], int | None] = lambda: None  # noqa: E731 - typed


def run(
    tmp_path: Path,
    script: str,
    *,
    stop: Callable[[], int | None] = NEVER,
    tick: Callable[[], None] = lambda: None,
    limits: Limits = Limits(tick_s=0.05, grace_s=20),  # noqa: B008 - frozen
) -> Ended:
    path = tmp_path / "program.py"
    path.write_text(script)
    launch = Launch([sys.executable, "-u", str(path)], tmp_path, dict(os.environ))
    return supervise(launch, tmp_path / "log.txt", limits, on_tick=tick, stop_signal=stop)


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "log.txt").read_text()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)


def test_the_exit_code_output_and_use_come_back(tmp_path: Path) -> None:
    ended = run(tmp_path, "import sys\nprint('epoch 1')\nprint('oh', file=sys.stderr)\nsys.exit(3)")

    assert (ended.code, ended.signal, ended.was_stopped, ended.was_killed) == (
        3,
        None,
        False,
        False,
    )
    assert (ended.last_stdout, ended.last_stderr) == ("epoch 1\n", "oh\n")
    assert sorted(log_of(tmp_path).splitlines()) == ["epoch 1", "oh"]
    assert ended.printed_bytes == 11
    assert ended.peak_rss_mib > 1
    assert ended.cpu_s > 0
    assert ended.notes == []


def test_the_environment_and_folder_are_those_given_and_stdin_is_closed(tmp_path: Path) -> None:
    launch = Launch(
        ["sh", "-c", "pwd; echo $X; cat"], tmp_path, {"PATH": "/usr/bin:/bin", "X": "7"}
    )

    ended = supervise(
        launch, tmp_path / "log", Limits(1, 1), on_tick=lambda: None, stop_signal=NEVER
    )

    assert ended.last_stdout == f"{tmp_path}\n7\n"


def test_a_signal_that_ends_the_program_is_told(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")

    assert (ended.code, ended.signal) == (None, signal.SIGSEGV)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_the_signal_that_arrived_is_handed_to_the_whole_group(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = f"""
import os, signal, sys, time
child = os.fork()
name = "child" if child == 0 else "parent"
def leave(received, frame):
    print(name, "got", signal.Signals(received).name)
    if child:
        os.wait()
    sys.exit(5)
signal.signal({int(number)}, leave)
print(name, "ready")
while True:
    time.sleep(60)
"""

    def stop() -> int | None:
        path = tmp_path / "log.txt"
        return number if path.exists() and path.read_text().count("ready") == 2 else None

    ended = run(tmp_path, script, stop=stop)

    assert (ended.code, ended.was_stopped, ended.was_killed) == (5, True, False)
    assert ended.last_stdout.count(f"got {number.name}") == 2


def test_what_programs_ignore_arrives_as_sigterm(tmp_path: Path) -> None:
    ended = run(tmp_path, "import time\ntime.sleep(60)", stop=lambda: signal.SIGURG)

    assert ended.signal == signal.SIGTERM


def test_a_signal_to_this_process_wakes_it_before_the_next_tick(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
    script = f"import os, signal, time\nos.kill({os.getpid()}, signal.SIGUSR2)\ntime.sleep(600)"
    try:
        ended = run(tmp_path, script, stop=lambda: seen[0] if seen else None, limits=Limits(500, 5))
    finally:
        signal.signal(signal.SIGUSR2, before)

    assert (ended.signal, ended.was_stopped) == (signal.SIGUSR2, True)


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    script = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('x')\ntime.sleep(600)"

    def stop() -> int | None:
        path = tmp_path / "log.txt"
        return signal.SIGTERM if path.exists() and path.read_text() else None

    ended = run(tmp_path, script, stop=stop, limits=Limits(0.05, 0.3))

    assert (ended.signal, ended.was_stopped, ended.was_killed) == (signal.SIGKILL, True, True)


DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {prepare}
        print("daemon", os.getpid())
        time.sleep(600)
    os._exit(0)
time.sleep({seconds})
"""


def pid_of_daemon(tmp_path: Path) -> int:
    return int(log_of(tmp_path).split("daemon")[1].split()[0])


@pytest.mark.parametrize("prepare", ["pass", "signal.signal(15, signal.SIG_IGN)"])
def test_daemons_are_ended_with_the_program_and_counted(tmp_path: Path, prepare: str) -> None:
    ended = run(tmp_path, DAEMON.format(prepare=prepare, seconds=0.5))

    assert not is_alive(pid_of_daemon(tmp_path))
    assert ended.code == 0
    assert len(ended.left) == 1
    assert ended.notes == [f"ended 1 process that the program left behind: {ended.left[0]}"]


def test_daemons_are_killed_with_a_program_that_does_not_leave(tmp_path: Path) -> None:
    script = "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + DAEMON.format(
        prepare="pass", seconds=600
    )

    def stop() -> int | None:
        path = tmp_path / "log.txt"
        return signal.SIGTERM if path.exists() and "daemon" in path.read_text() else None

    ended = run(tmp_path, script, stop=stop, limits=Limits(0.05, 0.2))

    assert ended.was_killed
    assert not is_alive(pid_of_daemon(tmp_path))


def test_a_helper_that_leaves_by_itself_is_not_counted(tmp_path: Path) -> None:
    script = "import os, time\nif os.fork() == 0:\n    time.sleep(0.1)\n"

    assert run(tmp_path, script).left == ()


def test_a_process_elsewhere_that_holds_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """One outside the program's tree opens its stdout by /proc."""
    script = f"""
import os, time
open({str(tmp_path / "pid")!r} + ".new", "w").write(str(os.getpid()))
os.rename({str(tmp_path / "pid")!r} + ".new", {str(tmp_path / "pid")!r})
while not os.path.exists({str(tmp_path / "held")!r}):
    time.sleep(0.01)
print("last words")
"""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import os, time
while not os.path.exists({str(tmp_path / "pid")!r}):
    time.sleep(0.01)
pid = open({str(tmp_path / "pid")!r}).read()
held = open(f"/proc/{{pid}}/fd/1", "wb")
open({str(tmp_path / "held")!r}, "w").close()
time.sleep(600)
""",
        ]
    )
    try:
        ended = run(tmp_path, script)
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()

    assert (ended.code, ended.last_stdout) == (0, "last words\n")


def test_a_program_may_close_its_streams_early(tmp_path: Path) -> None:
    script = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.3)\nos._exit(4)"
    ticks: list[float] = []

    ended = run(tmp_path, script, tick=lambda: ticks.append(time.monotonic()))

    assert ended.code == 4
    assert 1 <= len(ticks) <= 10  # a closed pipe does not keep the loop busy


RUNNER = """
import os, sys
from pathlib import Path
from anlp.programs.process import Launch, Limits, supervise
launch = Launch([sys.executable, "-u", sys.argv[1]], Path(sys.argv[2]), dict(os.environ))
supervise(launch, Path(sys.argv[2], "log.txt"), Limits(1, 60), on_tick=lambda: None,
          stop_signal=lambda: None)
"""


@pytest.mark.parametrize("group", [False, True])
def test_nothing_outlives_a_runner_that_is_killed(tmp_path: Path, group: bool) -> None:
    (tmp_path / "program.py").write_text(
        "import os\nprint('program', os.getpid())\n" + DAEMON.format(prepare="pass", seconds=600)
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path / "program.py"), str(tmp_path)],
        start_new_session=True,
    )
    try:
        path = tmp_path / "log.txt"
        wait_until(lambda: path.exists() and "daemon" in path.read_text())
    finally:
        if group:
            os.killpg(runner.pid, signal.SIGKILL)
        else:
            runner.kill()
        runner.wait()

    program = int(log_of(tmp_path).split("program")[1].split()[0])
    wait_until(lambda: not is_alive(program) and not is_alive(pid_of_daemon(tmp_path)))


def test_the_program_is_killed_where_its_keeper_is(tmp_path: Path) -> None:
    script = """
import os, signal, time
print("program", os.getpid(), flush=True)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""
    ended = run(tmp_path, script)

    program = int(log_of(tmp_path).split()[1])
    wait_until(lambda: not is_alive(program))
    assert ended.signal == signal.SIGKILL


def test_it_is_killed_even_where_the_kernel_does_not_do_it(tmp_path: Path) -> None:
    script = """
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # as Apptainer does, whose program outlives its parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("program", os.getpid(), child.pid, flush=True)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""
    ended = run(tmp_path, script)

    pids = [int(word) for word in log_of(tmp_path).split()[1:3]]
    wait_until(lambda: not any(map(is_alive, pids)))
    assert ended.signal == signal.SIGKILL


@pytest.mark.parametrize(("is_wrapped", "times"), [(True, 1), (False, 2)])
def test_a_program_that_something_else_starts_gets_a_signal_once(
    tmp_path: Path, is_wrapped: bool, times: int
) -> None:
    inner = tmp_path / "inner.py"
    inner.write_text("""
import signal, sys, time
got = []
signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
print("ready", flush=True)
limit = time.monotonic() + 20
while not got and time.monotonic() < limit:
    time.sleep(0.01)
time.sleep(0.5)
sys.exit(len(got))
""")
    outer = tmp_path / "outer.py"
    outer.write_text(f"""
import signal, subprocess, sys, time
def hand_on(number, frame):
    time.sleep(0.2)  # two signals at the same time may arrive as one
    child.send_signal(number)
signal.signal(signal.SIGTERM, hand_on)
child = subprocess.Popen([sys.executable, {str(inner)!r}])
sys.exit(child.wait())
""")
    argv = [sys.executable, str(outer)]
    log = tmp_path / "log.txt"

    ended = supervise(
        Launch(argv, tmp_path, dict(os.environ), is_wrapped=is_wrapped),
        log,
        Limits(tick_s=0.05, grace_s=20),
        on_tick=lambda: None,
        stop_signal=lambda: signal.SIGTERM if log.exists() and "ready" in log.read_text() else None,
    )

    assert ended.code == times


def test_an_exception_of_a_tick_ends_the_program_and_rises(tmp_path: Path) -> None:
    def tick() -> None:
        if "ready" in log_of(tmp_path):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run(tmp_path, "import os, time\nprint('ready', os.getpid())\ntime.sleep(600)", tick=tick)

    assert not is_alive(int(log_of(tmp_path).split()[1]))


def test_a_runner_with_threads_may_start_programs(tmp_path: Path) -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    try:
        ended = run(tmp_path, "print(1)")
    finally:
        ends.set()
        thread.join()

    assert (ended.code, ended.last_stdout) == (0, "1\n")


def test_no_descriptor_and_no_child_is_left(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))

    run(tmp_path, "print(1)")

    assert set(os.listdir("/proc/self/fd")) == before
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert not children.exists() or "python" not in children.read_text()


def start_error(tmp_path: Path, *argv: str, cwd: Path | None = None) -> str:
    launch = Launch(argv, cwd or tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    with pytest.raises(ProgramNotStartedError) as caught:
        supervise(launch, tmp_path / "log", Limits(1, 1), on_tick=lambda: None, stop_signal=NEVER)
    return str(caught.value)


def test_what_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    for name, content, mode in (
        ("plain.py", "print(1)\n", 0o644),
        ("nothing", "print(1)\n", 0o755),
        ("lost", "#!/opt/none/bin/python\n", 0o755),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)

    assert start_error(tmp_path, "./gone.py") == "./gone.py: there is no such program"
    assert start_error(tmp_path, "gone") == (
        "gone: there is no such program on PATH; is its environment active, its module loaded?"
    )
    assert start_error(tmp_path, "./plain.py") == (
        "./plain.py: it may not be executed; make it executable (chmod +x) or name its "
        'interpreter: command: [python, "${program}", "${args}"]'
    )
    assert start_error(tmp_path, "./nothing").startswith(
        "./nothing: it is no program for this machine (exec format error); begin it with"
    )
    assert start_error(tmp_path, "./lost") == (
        "./lost: the interpreter that its first line names does not exist: #!/opt/none/bin/python"
    )
    assert start_error(tmp_path, "lost").startswith("lost: the interpreter that its first line")
    (tmp_path / "folder").mkdir()
    assert start_error(tmp_path, "./folder") == "./folder: it is a folder, not a program"
    assert start_error(tmp_path, "sh", cwd=tmp_path / "no") == (
        f"{tmp_path / 'no'}: the program's working folder cannot be entered "
        "(No such file or directory)"
    )
    assert start_error(tmp_path, "sh", "x" * 9_000_000).startswith("sh: its arguments and")
    assert "null byte" in start_error(tmp_path, "sh", "a\0b")
