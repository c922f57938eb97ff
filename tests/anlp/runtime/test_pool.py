from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anlp.core import pool_messages
from anlp.core.lease import Process
from anlp.core.pool_messages import (
    CancelRequest,
    EndedReply,
    NoticeReply,
    PrepareRequest,
    RunRequest,
    StartedReply,
    Stop,
)
from anlp.records.elements import Element
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.tasks import make_spec
from tests.support import scripted_elements
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0


class PoolUnderTest:
    """A real pool process, spoken to through its pipes."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
        }
        argv = [
            sys.executable,
            "-m",
            "anlp.runtime.pool",
            "--runner",
            "tests.support.scripted_elements:run",
            *options,
        ]
        self.errors = folder / "pool.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        self.replies: list[pool_messages.Reply] = []

    def send(self, *requests: pool_messages.Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(pool_messages.render(request) for request in requests))
        self.process.stdin.flush()

    def next(self) -> pool_messages.Reply:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the pool ended: {self.errors.read_text()}"
        self.replies.append(pool_messages.parse_reply(line))
        return self.replies[-1]

    def started(self, key: int = 0) -> int:
        """The pid of the child, once it started."""
        while True:
            for reply in self.replies:
                if isinstance(reply, StartedReply) and reply.key == key:
                    return reply.pid
            self.next()

    def ended(self, key: int = 0) -> EndedReply:
        """How the child ended, once it did."""
        while True:
            for reply in self.replies:
                if isinstance(reply, EndedReply) and reply.key == key:
                    return reply
            self.next()

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return code


OpenPool = Callable[..., PoolUnderTest]


@pytest.fixture
def open_pool(tmp_path: Path) -> Iterator[OpenPool]:
    pools: list[PoolUnderTest] = []

    def start(*options: str) -> PoolUnderTest:
        pools.append(PoolUnderTest(tmp_path, "--slots", "2", "--grace-s", "0.5", *options))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    return not Process.of(pid).is_alive()


def wait_for_output(batch: Path, index: int = 0) -> None:
    """Returns once the element hears signals."""
    wait_until(lambda: scripted_elements.ready_of(batch, index).exists())


def requests_for(batch: Path, count: int) -> list[RunRequest]:
    return [RunRequest(index, str(batch), index, "job") for index in range(count)]


def test_every_message_reads_back_as_it_was() -> None:
    requests: list[pool_messages.Request] = [
        PrepareRequest("b"),
        RunRequest(1, "b", 2, "j", 1.5, 100),
        CancelRequest((1, 2)),
        pool_messages.StopRequest(),
    ]
    replies: list[pool_messages.Reply] = [
        pool_messages.ReadyReply(1, 2, 1, 0.5),
        StartedReply(1, 2, 0),
        EndedReply(1, None, 9, Stop.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB", 10.5, 0.2),
        NoticeReply("so"),
    ]

    assert [
        pool_messages.parse_request(pool_messages.render(request)) for request in requests
    ] == requests
    assert [pool_messages.parse_reply(pool_messages.render(reply)) for reply in replies] == replies


@pytest.mark.parametrize(
    "line", [b"", b"[]", b'{"run":{}}', b'{"walk":{"key":1}}', b'{"stop":null}', b"\xff"]
)
def test_a_line_that_is_no_request_is_quoted_in_the_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="expected a message") as caught:
        pool_messages.parse_request(line)

    assert repr(line) in str(caught.value)


def test_lines_are_put_together_from_pieces() -> None:
    lines = pool_messages.LineBuffer()

    assert [list(lines.feed(piece)) for piece in (b"a", b"b\nc\n", b"d", b"\n\n")] == [
        [],
        [b"ab", b"c"],
        [],
        [b"d"],
    ]


def test_the_pool_is_ready_with_a_single_thread(open_pool: OpenPool) -> None:
    reply = open_pool().next()

    assert isinstance(reply, pool_messages.ReadyReply)
    assert (reply.slots, reply.threads) == (2, 1)


@pytest.mark.parametrize(
    ("behaviour", "exit_code", "signal_number"),
    [
        ("ok", 0, None),
        ("exit 1", 1, None),
        ("exit 4", 4, None),
        ("hard_exit 7", 7, None),
        ("sys_exit goodbye", 70, None),
        ("raise", 70, None),
        ("segv", None, signal.SIGSEGV),
        ("signal 9", None, signal.SIGKILL),
        ("signal 6", None, signal.SIGABRT),
    ],
)
def test_the_way_a_child_ends_is_told_and_ends_nothing_else(
    open_pool: OpenPool,
    tmp_path: Path,
    behaviour: str,
    exit_code: int | None,
    signal_number: int | None,
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, behaviour, "sleep 0.2", "ok")

    pool.send(*requests_for(batch, 3))

    assert (pool.ended(0).exit, pool.ended(0).signal, pool.ended(0).stop) == (
        exit_code,
        signal_number,
        None,
    )
    assert [pool.ended(key).exit for key in (1, 2)] == [0, 0]
    assert "element 0 as job" in scripted_elements.log_of(batch, 0).read_text()


def test_an_exception_that_escapes_leaves_its_traceback(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "raise")

    pool.send(*requests_for(batch, 1))
    pool.ended(0)

    assert "RuntimeError: a fault in the runner" in pool.errors.read_text()


def test_the_traceback_is_in_the_log_of_the_run_too(open_pool: OpenPool, tmp_path: Path) -> None:
    pool, grid = open_pool(), GridFolder(tmp_path / "grid")
    spec = make_spec("mnist", {"data": "digits"}, 0)
    grid.batches.mkdir(parents=True)
    batch = grid.batches / "1.jsonl"
    batch.write_text(json.dumps({**Element((spec,), RunOptions()).to_json(), "do": "raise"}) + "\n")

    pool.send(*requests_for(batch, 1))
    pool.ended(0)

    assert "RuntimeError: a fault in the runner" in grid.run(spec.run_id).log.read_text()


def test_a_crash_in_native_code_leaves_its_traceback(open_pool: OpenPool, tmp_path: Path) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "segv")

    pool.send(*requests_for(batch, 1))
    pool.ended(0)

    assert "Fatal Python error: Segmentation fault" in pool.errors.read_text()


def test_no_more_children_than_slots_run_at_once(open_pool: OpenPool, tmp_path: Path) -> None:
    go = tmp_path / "go"
    first = [f"wait_for {go}"] * 2
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, *first, *["sleep 0.1"] * 3)

    pool.send(*requests_for(batch, 5))
    for key in range(2):
        pool.started(key)
    go.touch()
    for key in range(5):
        pool.ended(key)

    running = most = 0
    for reply in pool.replies:
        running += isinstance(reply, StartedReply) - isinstance(reply, EndedReply)
        most = max(most, running)
    assert most == 2


def test_at_the_time_limit_a_child_may_checkpoint(open_pool: OpenPool, tmp_path: Path) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "sleep 30")

    pool.send(RunRequest(0, str(batch), 0, time_limit_s=0.3))

    ended = pool.ended(0)
    assert (ended.exit, ended.stop, ended.detail) == (3, Stop.TIME_LIMIT, "ran for 0.3 s")
    assert 0.3 <= ended.seconds < 60


def test_a_child_that_ignores_the_time_limit_is_killed_after_its_grace(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "stubborn 30")

    pool.send(RunRequest(0, str(batch), 0, time_limit_s=0.3))

    ended = pool.ended(0)
    assert (ended.signal, ended.stop) == (signal.SIGKILL, Stop.TIME_LIMIT)
    assert ended.detail == "ran for 0.3 s; did not leave within 0.5 s and was killed"


def test_a_child_over_its_memory_limit_is_killed_and_told_so(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "eat 300", "eat 20")

    pool.send(*(RunRequest(index, str(batch), index, mem_limit_mib=100) for index in range(2)))

    ended = pool.ended(0)
    assert (ended.signal, ended.stop) == (signal.SIGKILL, Stop.OUT_OF_MEMORY)
    used = re.fullmatch(
        r"used (\d+) of 100 MiB", ended.detail
    )  # how much, depends on when the pool looked
    assert used
    assert int(used[1]) > 100
    pool.send(CancelRequest((1,)))
    assert pool.ended(1).stop is Stop.CANCELLED


def test_a_cancelled_child_checkpoints_and_a_waiting_one_never_starts(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "sleep 30", "sleep 30", "ok")

    pool.send(*requests_for(batch, 3))
    wait_for_output(batch, 0)
    wait_for_output(batch, 1)
    pool.send(CancelRequest((0, 2)))

    assert (pool.ended(0).exit, pool.ended(0).stop) == (3, Stop.CANCELLED)
    assert (pool.ended(2).exit, pool.ended(2).signal) == (None, None)
    pool.send(CancelRequest((1,)))
    assert pool.ended(1).exit == 3
    assert not scripted_elements.log_of(batch, 2).exists()


def test_when_its_stdin_closes_the_children_checkpoint_and_the_pool_ends(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "sleep 30", "stubborn 30")
    pool.send(*requests_for(batch, 2))
    for index in range(2):
        wait_for_output(batch, index)
    pids = [pool.started(0), pool.started(1)]

    assert pool.process.stdin is not None
    pool.process.stdin.close()

    assert (pool.ended(0).exit, pool.ended(0).stop) == (3, Stop.SHUTDOWN)
    assert pool.ended(1).signal == signal.SIGKILL
    assert pool.process.wait(PATIENCE_S) == 0
    assert all(is_gone(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_pool_lets_the_children_checkpoint(
    open_pool: OpenPool, tmp_path: Path, number: signal.Signals
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "sleep 30")
    pool.send(*requests_for(batch, 1))
    wait_for_output(batch)

    pool.process.send_signal(number)

    assert (pool.ended(0).exit, pool.ended(0).stop) == (3, Stop.SHUTDOWN)
    assert pool.process.wait(PATIENCE_S) == 0


def test_when_the_pool_is_killed_its_children_leave(open_pool: OpenPool, tmp_path: Path) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "sleep 30", "sleep 30")
    pool.send(*requests_for(batch, 2))
    pids = [pool.started(0), pool.started(1)]

    pool.process.kill()

    wait_until(lambda: all(is_gone(pid) for pid in pids))


def test_children_hold_none_of_the_pools_pipes(open_pool: OpenPool, tmp_path: Path) -> None:
    pool, batch = (
        open_pool(),
        scripted_elements.write_batch(tmp_path, f"descriptors {tmp_path / 'descriptors'}"),
    )
    assert pool.process.stdin is not None
    assert pool.process.stdout is not None
    pipes = [
        Path(f"/proc/self/fd/{pipe.fileno()}").readlink()
        for pipe in (pool.process.stdin, pool.process.stdout)
    ]

    pool.send(*requests_for(batch, 1))
    pool.ended(0)

    held = (tmp_path / "descriptors").read_text()
    assert "0 /dev/null" in held
    assert not any(str(pipe) in held for pipe in pipes)


def test_what_a_library_prints_goes_to_the_log_and_not_between_the_replies(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = open_pool(), scripted_elements.write_batch(tmp_path, "print")

    pool.send(*requests_for(batch, 1))

    assert pool.ended(0).exit == 0
    assert "a library prints" in pool.errors.read_text()


def test_each_slot_shows_its_own_devices(open_pool: OpenPool, tmp_path: Path) -> None:
    names = [tmp_path / str(number) for number in range(2)]
    pool = open_pool("--devices", "GPU-a", "GPU-b,GPU-c")
    batch = scripted_elements.write_batch(
        tmp_path, *(f"environment CUDA_VISIBLE_DEVICES {name}" for name in names)
    )

    pool.send(*requests_for(batch, 2))
    for key in range(2):
        pool.ended(key)

    assert [name.read_text() for name in names] == ["GPU-a", "GPU-b,GPU-c"]


def test_what_was_prepared_reaches_every_child_and_is_cleaned_up(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = (
        open_pool("--prepare", "tests.support.scripted_elements:prepare"),
        scripted_elements.write_batch(tmp_path, "ok"),
    )

    pool.send(PrepareRequest(str(batch)), *requests_for(batch, 1))
    pool.ended(0)

    assert "datasets shared by batch.jsonl" in scripted_elements.log_of(batch, 0).read_text()
    assert not batch.with_name("cleaned").exists()
    pool.close()
    assert batch.with_name("cleaned").exists()


def test_a_preparation_that_fails_is_told_and_the_runs_go_on(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool, batch = (
        open_pool("--prepare", "tests.support.scripted_elements:refuse_to_prepare"),
        scripted_elements.write_batch(tmp_path, "ok"),
    )

    pool.send(PrepareRequest(str(batch)), *requests_for(batch, 1))

    assert pool.ended(0).exit == 0
    notices = [reply.text for reply in pool.replies if isinstance(reply, NoticeReply)]
    assert notices == ["could not load what the runs share (FileNotFoundError: data are not here)"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--slots", "0"], "--slots: expected at least 1, got 0"),
        (["--slots", "1", "--import", "no_such"], "no_such"),
    ],
)
def test_a_pool_that_cannot_work_says_why_in_a_line(options: list[str], sentence: str) -> None:
    argv = [sys.executable, "-m", "anlp.runtime.pool", *options]
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=PATIENCE_S)

    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
