from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from anlp.core import lease
from anlp.records.accounting import AttemptUsage, Meter, read_usage, usage_from_json, usage_now
from anlp.records.results import read_result
from anlp.run import run_element
from tests.support.tiny_runs import folder_of, write_batch


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_meter_counts_from_when_it_was_made() -> None:
    busy(0.1)
    meter = Meter()
    busy(0.05)

    used = meter.read()

    assert 0.04 < used["cpu_s"] < 0.1
    assert used["peak_rss_mib"] > 5
    assert "gpu_peak_mib" not in used


def test_children_that_were_waited_for_count() -> None:
    meter = Meter()
    code = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", code], check=True)

    assert meter.read()["cpu_s"] > 0.15


def test_the_peak_of_a_gpu_is_that_of_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[bool] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        reset_peak_memory_stats=lambda: resets.append(True),
        max_memory_allocated=lambda: 3 * 1024 * 1024,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    assert Meter().read()["gpu_peak_mib"] == 3
    assert resets == [True]


def test_attempts_come_from_their_claims_and_a_killed_one_ends_with_its_last_sign(
    tmp_path: Path,
) -> None:
    killed = lease.acquire(tmp_path, {"batch": "one"})
    killed._stop.set()  # its heart stops
    os.utime(killed.path, (killed.record["since"] + 60, killed.record["since"] + 60))
    record = killed.path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1')
    killed.path.write_text(record)
    os.utime(killed.path, (killed.record["since"] + 60, killed.record["since"] + 60))
    stopped = lease.acquire(tmp_path, {"batch": "two"})
    stopped.release(ending="interrupted", cpu_s=4.5)

    first, second = read_usage(tmp_path)

    assert (first.ending, first.batch, first.cpu_s, first.is_lost) == ("killed", "one", None, True)
    assert first.wall_s == pytest.approx(60)
    assert (second.ending, second.batch, second.cpu_s, second.is_lost) == (
        "interrupted",
        "two",
        4.5,
        False,
    )


def test_damaged_claims_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "000001.json").write_text("{")
    (tmp_path / "000002.json").write_text('{"since": "yesterday"}')

    assert read_usage(tmp_path) == []


def test_the_attempt_that_ends_comes_last(tmp_path: Path) -> None:
    lease.acquire(tmp_path).release(ending="interrupted")
    held = lease.acquire(tmp_path, {"batch": "b"})

    spent = usage_now(held, "done", {"cpu_s": 2.0, "peak_rss_mib": 9.0})
    held.release()

    assert [one.ending for one in spent] == ["interrupted", "done"]
    assert usage_from_json(spent[1].to_json()) == spent[1]
    assert AttemptUsage(5.0, 4.0, "done").wall_s == 0


def test_a_result_tells_what_each_attempt_spent(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    lease.acquire(folder_of(batch).attempts, {"batch": "earlier"}).release(
        ending="interrupted", cpu_s=1.5
    )

    assert run_element(batch, 0, job="1") == 0

    result = read_result(folder_of(batch))
    assert result is not None
    earlier, own = map(usage_from_json, result.provenance["spent"])
    assert (earlier.ending, earlier.batch, earlier.cpu_s) == ("interrupted", "earlier", 1.5)
    assert (own.ending, own.batch) == ("done", "1")
    assert own.cpu_s == result.provenance["cpu_s"] > 0.01
    assert own.wall_s <= time.time() - own.since
    assert lease.read(folder_of(batch).attempts / "000002.json")["cpu_s"] >= own.cpu_s


@pytest.mark.parametrize(
    ("ending", "is_lost"),
    [
        ("done", False),
        ("diverged", False),
        ("interrupted", False),
        ("failed", True),
        ("killed", True),
        ("ended", True),
    ],
)
def test_an_attempt_without_result_and_checkpoint_is_lost(ending: str, is_lost: bool) -> None:
    assert AttemptUsage(0.0, 1.0, ending).is_lost is is_lost
