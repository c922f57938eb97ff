from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.core.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from anlp.core import lease
lease.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def _record(folder: Path, **changes: object) -> Path:
    """A claim of a process on another host."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "000001.json"
    form = {"host": "elsewhere", "boot": "b", "pid": 1, "started": 1, "since": 0.0, **changes}
    path.write_text(json.dumps(form))
    return path


def test_a_living_holder_keeps_others_out(tmp_path: Path) -> None:
    with lease.acquire(tmp_path, {"job": "7"}), pytest.raises(lease.HeldError) as refused:
        lease.acquire(tmp_path)

    assert refused.value.holder["job"] == "7"


def test_a_released_claim_is_history_and_the_next_number_is_free(tmp_path: Path) -> None:
    lease.acquire(tmp_path).release(ending="done")
    second = lease.acquire(tmp_path)

    assert second.path.name == "000002.json"
    assert lease.read(tmp_path / "000001.json")["ending"] == "done"


def test_a_holder_killed_on_this_host_is_taken_over_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(lease.HeldError):
        lease.acquire(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    before = time.monotonic()
    taken = lease.acquire(tmp_path)

    assert time.monotonic() - before < 20  # a lease is longer
    assert taken.is_current()


def test_a_pid_that_was_reused_does_not_count_as_the_holder(tmp_path: Path) -> None:
    me = lease.Process.this()
    _record(tmp_path, host=me.host, boot=me.boot, pid=os.getpid(), started=me.started + 1)

    assert lease.acquire(tmp_path).path.name == "000002.json"


def test_a_silent_holder_elsewhere_is_taken_over_after_the_lease(tmp_path: Path) -> None:
    _record(tmp_path)

    before = time.monotonic()
    taken = lease.acquire(tmp_path, lease_s=0.4)

    assert taken.path.name == "000002.json"
    assert time.monotonic() - before >= 0.4


@pytest.mark.slow
def test_a_beating_holder_elsewhere_keeps_its_claim(tmp_path: Path) -> None:
    path = _record(tmp_path)
    beat = f"""
import os, time
os.utime({str(path)!r})
print(flush=True)
while True:
    os.utime({str(path)!r})
    time.sleep(0.05)
"""
    with subprocess.Popen([sys.executable, "-c", beat], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()  # it beats from now on
        with pytest.raises(lease.HeldError):
            lease.acquire(tmp_path, lease_s=10)
        holder.kill()


@pytest.mark.parametrize("ahead_s", [-600, 600])
def test_a_clock_that_is_minutes_off_decides_nothing(
    ahead_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, dead = _record(tmp_path / "living"), _record(tmp_path / "dead")
    long_ago = time.time() - 300
    os.utime(dead, (long_ago, long_ago))
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + ahead_s)
    monkeypatch.setattr(lease, "_clocks", {})

    assert lease.is_alive(living)
    assert not lease.is_alive(dead)
    assert [path.name for path in (tmp_path / "living").iterdir()] == [living.name]


def test_a_folder_that_cannot_be_written_has_this_hosts_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(tmp_path)
    monkeypatch.setattr(lease, "_clocks", {})
    monkeypatch.setattr("os.open", _refuse)

    assert lease.is_alive(path)


def test_a_process_of_another_user_that_proc_hides_counts_as_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = lease.Process.this()
    hidden = lease.Process(me.host, me.boot, 999, 1)
    monkeypatch.setattr(lease, "_stat_of", lambda pid: None)
    monkeypatch.setattr("os.kill", _refuse)

    assert hidden.is_alive()
    assert not lease.Process(me.host, "another boot", 999, 1).is_alive()


def test_a_full_disk_keeps_how_a_lease_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease.acquire(tmp_path)
    monkeypatch.setattr(lease, "write_whole", _refuse)

    held.release(ending="interrupted", unwritable="x" * 200)

    record = lease.read(held.path)
    assert (record["ending"], len(record["unwritable"])) == ("interrupted", 200)


def test_a_limit_of_threads_is_a_sentence_and_leaves_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UserError, match=r"can't start new thread.*ulimit -u"):
            lease.acquire(tmp_path)

    lease.acquire(tmp_path).release()


def _refuse(*given: object, **named: object) -> None:
    raise PermissionError(errno.EPERM, "not permitted")


def test_a_superseded_holder_can_tell(tmp_path: Path) -> None:
    held = lease.acquire(tmp_path)
    (tmp_path / "000002.json").write_text("{}")

    assert not held.is_current()


def test_sweeping_keeps_the_current_claim_and_its_number(tmp_path: Path) -> None:
    for _ in range(3):
        lease.acquire(tmp_path).release()
    for age, path in enumerate(sorted(tmp_path.iterdir(), reverse=True)):
        os.utime(path, (time.time() - 100 * age,) * 2)
    lease.sweep(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["000003.json"]
    assert lease.acquire(tmp_path).path.name == "000004.json"


def _contend(folder: str, rounds: int, ledger: str) -> None:
    """Enters the claim `rounds` times; writes a line on entering and on leaving."""
    for _ in range(rounds):
        while True:
            try:
                held = lease.acquire(Path(folder))
                break
            except lease.HeldError:
                time.sleep(0.001)
        lease.sweep(Path(folder))
        descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"in {os.getpid()}\n".encode())
        time.sleep(0.001)
        os.write(descriptor, f"out {os.getpid()}\n".encode())
        os.close(descriptor)
        held.release()


@pytest.mark.slow
def test_contenders_never_hold_it_together(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_contend, args=(str(tmp_path / "lock"), 20, str(ledger)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = [line.split() for line in ledger.read_text().splitlines()]

    assert Counter(what for what, _ in lines) == {"in": 80, "out": 80}
    assert all(
        enter == ["in", pid] and leave == ["out", pid]
        for enter, leave in zip(lines[::2], lines[1::2], strict=True)
        for pid in [enter[1]]
    )
