"""Several runs in one job: apart where one dies, together where it must leave, with the numbers of
a run alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.records.crash import CrashRecord, read_crash, record_crash
from anlp.records.files import read_metrics
from anlp.records.results import read_result
from anlp.runtime.packed_runs import visible_gpus
from tests.support.packed_runs import attempts_of, folders_of, resubmit, write_pack
from tests.support.paths import ROOT
from tests.support.tiny_runs import folder_of, numbers_of, run_apart, write_batch

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0


class Job:
    """A process that carries out the element of a batch file."""

    def __init__(self, batch: Path, do: Mapping[float, str], **environment: str) -> None:
        self.batch = batch
        do_by_rate = json.dumps({str(rate): behaviour for rate, behaviour in do.items()})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.packed_runs", batch],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DO": do_by_rate,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, *rates: float) -> None:
        """Returns once these runs listen to signals."""
        deadline = time.monotonic() + PATIENCE_S
        while not all((folders_of(self.batch)[rate].path / "ready").exists() for rate in rates):
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it printed."""
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


StartJob = Callable[..., Job]


@pytest.fixture
def start() -> Iterator[StartJob]:
    jobs: list[Job] = []

    def start_job(batch: Path, do: Mapping[float, str] | None = None, **environment: str) -> Job:
        jobs.append(Job(batch, do or {}, **environment))
        return jobs[-1]

    yield start_job
    for job in jobs:
        if job.process.poll() is None:
            job.process.kill()
        job.end()


def has_result(batch: Path) -> dict[float, bool]:
    return {rate: read_result(folder) is not None for rate, folder in folders_of(batch).items()}


def most_at_once(batch: Path) -> int:
    lines = [read_metrics(folder.metrics)[0] for folder in folders_of(batch).values()]
    return max(
        len([other for other in lines if other["began"] <= line["began"] < other["ended"]])
        for line in lines
    )


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_has_the_same_numbers_alone_and_with_others(tmp_path: Path, at_once: int) -> None:
    rates = (0.01, 0.02, 0.03)[: at_once + 1]
    alone = [write_batch(tmp_path / f"{rate}", {"lr": rate}) for rate in rates]
    together = write_pack(tmp_path / "grid", *rates, at_once=at_once)

    codes = [run_apart(batch) for batch in (*alone, together)]

    assert set(codes) == {0}
    packed = [numbers_of(folder) for folder in folders_of(together).values()]
    assert packed == [numbers_of(folder_of(batch)) for batch in alone]
    results = [read_result(folder) for folder in folders_of(together).values()]
    assert {result and result.provenance["at_once"] for result in results} == {at_once}


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (8, 3)])
def test_so_many_run_at_a_time_each_in_a_process_of_its_own(
    start: StartJob, tmp_path: Path, at_once: int, most: int
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, 0.3, at_once=at_once)

    code, _ = start(batch, dict.fromkeys((0.1, 0.2, 0.3), f"meet {most} 0.3")).end()

    lines = [read_metrics(folder.metrics)[0] for folder in folders_of(batch).values()]
    assert (code, most_at_once(batch), len({line["pid"] for line in lines})) == (0, most, 3)


def test_what_the_runs_share_is_loaded_once_and_cleaned_up(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2)

    job = start(batch)
    job.end()

    assert batch.with_name("prepared").read_text().split() == [str(job.process.pid)]
    assert all("sees shared" in folder.log.read_text() for folder in folders_of(batch).values())
    assert batch.with_name("cleaned").exists()


@pytest.mark.parametrize(
    ("behaviour", "cause", "detail"),
    [
        (
            "die 9",
            "killed by a signal",
            "signal 9 (SIGKILL: not sent by the job itself: the kernel does this when",
        ),
        ("crash", "killed by a signal", "signal 11 (SIGSEGV: a crash in native code)"),
        ("fault", "exit code", "exit code 70: its traceback is in its log"),
    ],
)
def test_a_run_that_dies_leaves_the_others_alone_and_its_cause_on_record(
    start: StartJob, tmp_path: Path, behaviour: str, cause: str, detail: str
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, 0.3, at_once=2)

    code, said = start(batch, {0.1: "sleep 0.3", 0.2: behaviour}).end()

    assert (code, has_result(batch)) == (1, {0.1: True, 0.2: False, 0.3: True})
    lost = read_crash(folders_of(batch)[0.2], "1")
    assert lost is not None
    assert (lost.cause, lost.detail[: len(detail)]) == (cause, detail)
    assert f"lost: {cause}: {detail}" in said


def test_the_traceback_of_a_fault_is_in_the_log_of_its_own_run(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2)

    start(batch, {0.2: "fault"}).end()

    logs = {rate: folder.log.read_text() for rate, folder in folders_of(batch).items()}
    assert ("a fault of ours" in logs[0.1], "a fault of ours" in logs[0.2]) == (False, True)


def test_a_run_over_its_own_share_of_memory_is_ended_alone(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2, mem_limit_mib=100)

    code, _ = start(batch, {0.1: "eat 20 0.5", 0.2: "eat 300"}).end()

    lost = read_crash(folders_of(batch)[0.2], "1")
    assert (code, has_result(batch)) == (1, {0.1: True, 0.2: False})
    assert lost is not None
    assert (lost.cause, lost.detail.endswith(" of 100 MiB")) == ("out of memory", True)


def test_a_run_that_died_is_not_begun_again_by_its_submission_but_by_the_next(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)
    start(batch, {0.1: "die 9"}).end()

    again, said = start(batch).end()
    attempts = len(attempts_of(folders_of(batch)[0.1]))
    later, _ = start(resubmit(batch)).end()

    assert (again, attempts, later) == (1, 1, 0)
    assert "was lost before (killed by a signal" in said
    assert has_result(batch) == {0.1: True, 0.2: True}


def test_a_run_that_is_killed_when_its_result_is_there_is_done(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)

    code, _ = start(batch, {0.1: "die_done"}).end()

    assert (code, read_crash(folders_of(batch)[0.1], "1")) == (0, None)


@pytest.mark.parametrize(
    "numbers", [[signal.SIGUSR2], [signal.SIGURG], [signal.SIGTERM, signal.SIGTERM, signal.SIGUSR2]]
)
def test_a_warning_lets_all_leave_and_no_other_begins(
    start: StartJob, tmp_path: Path, numbers: Sequence[signal.Signals]
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, 0.3, 0.4, at_once=2)
    job = start(batch, {0.2: "wait", 0.3: "wait"})
    job.wait_for(0.2, 0.3)

    for number in numbers:
        job.process.send_signal(number)
    code, _ = job.end()

    folders = folders_of(batch)
    assert code == 3
    assert [
        record["ending"] for record in (attempts_of(folders[rate])[-1] for rate in (0.1, 0.2, 0.3))
    ] == [
        "done",
        "interrupted",
        "interrupted",
    ]
    assert not folders[0.4].path.exists()


def test_after_a_warning_only_what_is_missing_goes_on(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, 0.3)
    job = start(batch, {0.2: "wait_once"})
    job.wait_for(0.2)
    job.process.send_signal(signal.SIGUSR2)
    job.end()

    code, _ = start(batch).end()

    counts = {rate: len(attempts_of(folder)) for rate, folder in folders_of(batch).items()}
    assert (code, counts) == (0, {0.1: 1, 0.2: 2, 0.3: 1})


def test_a_warning_to_all_processes_of_a_job_does_no_harm(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2)
    job = start(batch, {0.1: "wait", 0.2: "wait"})
    job.wait_for(0.1, 0.2)
    pids = [attempts_of(folder)[0]["pid"] for folder in folders_of(batch).values()]

    for pid in (*pids, job.process.pid):
        os.kill(pid, signal.SIGUSR2)
    code, _ = job.end()

    assert code == 3
    assert [attempts_of(folder)[0]["ending"] for folder in folders_of(batch).values()] == [
        "interrupted"
    ] * 2


def test_a_run_that_does_not_leave_is_killed_and_continued_later(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2)
    job = start(batch, {0.1: "ignore", 0.2: "wait"})
    job.wait_for(0.1, 0.2)

    job.process.send_signal(signal.SIGTERM)
    code, _ = job.end()

    folder = folders_of(batch)[0.1]
    assert (code, attempts_of(folder)[0]["ending"], read_crash(folder, "1")) == (
        3,
        "interrupted",
        None,
    )


def test_a_run_that_a_signal_asked_to_leave_before_it_listened_is_continued_later(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)

    code, _ = start(batch, {0.1: "die_unheard"}).end()

    assert (code, attempts_of(folders_of(batch)[0.1])[0]["ending"]) == (3, "interrupted")
    assert has_result(batch) == {0.1: False, 0.2: True}


def test_a_record_that_cannot_be_written_does_not_end_the_others(
    start: StartJob, tmp_path: Path
) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)

    code, said = start(batch, {0.1: "die_without_a_place"}).end()

    assert (code, has_result(batch)) == (1, {0.1: False, 0.2: True})
    assert "its end could not be put on record" in said


def test_when_the_job_is_killed_its_runs_leave(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, at_once=2)
    job = start(batch, {0.1: "wait", 0.2: "wait"})
    job.wait_for(0.1, 0.2)

    job.process.kill()

    attempts = [folder.attempts / "000001.json" for folder in folders_of(batch).values()]
    deadline = time.monotonic() + PATIENCE_S
    while any(lease.is_alive(path) for path in attempts):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [lease.read(path)["ending"] for path in attempts] == ["interrupted"] * 2


def test_a_run_that_another_process_is_at_is_left_to_it(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)

    with lease.acquire(folders_of(batch)[0.1].attempts):
        code, _ = start(batch).end()

    assert (code, has_result(batch)) == (4, {0.1: False, 0.2: True})


def test_where_all_is_done_nothing_is_loaded(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)
    start(batch).end()
    batch.with_name("prepared").unlink()

    code, _ = start(batch).end()

    assert (code, batch.with_name("prepared").exists()) == (0, False)


def test_runs_are_spread_over_the_gpus_of_their_job(start: StartJob, tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2, 0.3, at_once=3)

    start(batch, dict.fromkeys((0.1, 0.2, 0.3), "meet 3"), CUDA_VISIBLE_DEVICES="GPU-a,GPU-b").end()

    seen = [
        folder.log.read_text().rpartition("and ")[2].split()[0]
        for folder in folders_of(batch).values()
    ]
    assert seen == ["GPU-a", "GPU-b", "GPU-a"]


@pytest.mark.parametrize(
    ("value", "names"),
    [("3", []), ("", []), ("0,1", ["0", "1"]), (" GPU-a , MIG-b", ["GPU-a", "MIG-b"])],
)
def test_one_gpu_is_shared_as_it_is(value: str, names: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == names


def test_as_a_task_of_slurm_a_warning_is_counted_and_the_task_requeued_once(tmp_path: Path) -> None:
    grid, scontrol = tmp_path / "grid", tmp_path / "bin" / "scontrol"
    batch = write_pack(grid, 0.1, 0.2, 0.3, at_once=2)
    batch.with_suffix(".slurm").mkdir()
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path / "asked"}\n')
    scontrol.chmod(0o755)
    argv = [
        "-m",
        "anlp.runtime.slurm_task",
        "--batch",
        batch,
        "--first",
        "0",
        "--runner",
        "tests.support.packed_runs:run_quickly",
    ]
    task = {
        "SLURM_ARRAY_JOB_ID": "503",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_JOB_ID": "504",
        "SUBMITIT_EXECUTOR": "slurm",
    }
    process = subprocess.Popen(
        [sys.executable, *map(str, argv)],
        env={
            **os.environ,
            **task,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
            "DO": json.dumps({"0.1": "wait", "0.2": "wait"}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not all((folders_of(batch)[rate].path / "ready").exists() for rate in (0.1, 0.2)):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)

    for _ in range(2):
        process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=PATIENCE_S)

    assert (tmp_path / "asked").read_text() == "requeue 503_0\n"
    assert json.loads((batch.with_suffix(".slurm") / "503_0.left.json").read_text()) == {"left": 19}
    assert [attempts_of(folders_of(batch)[rate])[0]["ending"] for rate in (0.1, 0.2)] == [
        "interrupted"
    ] * 2
    assert not folders_of(batch)[0.3].path.exists()


FORKS_SAFELY = """
import sys
from pathlib import Path
from anlp import run
from anlp.runtime import cgroups, supervisor

add = supervisor.ChildSupervisor.add
def look(self, request):
    cuda = sys.modules["torch"].cuda
    assert (cgroups.thread_count(), cuda.is_initialized()) == (1, False), cgroups.thread_count()
    add(self, request)

supervisor.ChildSupervisor.add = look
sys.exit(run.run_element(Path(sys.argv[1]), 0, job="test"))
"""


@pytest.mark.slow
def test_it_forks_with_one_thread_and_without_having_touched_cuda(tmp_path: Path) -> None:
    batch = write_pack(tmp_path, 0.1, 0.2)

    done = subprocess.run(
        [sys.executable, "-c", FORKS_SAFELY, batch], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_a_loss_is_of_one_submission_and_ends_with_the_next_attempt(tmp_path: Path) -> None:
    folder = folder_of(write_batch(tmp_path))
    record_crash(
        folder, None, CrashRecord("never started", "no memory to fork"), job="j", batch="1"
    )

    told = [read_crash(folder, batch) for batch in ("1", "2")]
    with lease.acquire(folder.attempts):
        begun_again = read_crash(folder, "1")

    assert (told, begun_again) == ([CrashRecord("never started", "no memory to fork"), None], None)
