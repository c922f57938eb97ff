"""One task of an array without a Slurm around it: what signals lead to, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.core.errors import EXIT_CONTINUE, EXIT_REQUEUE
from anlp.core.signals import signal_pipe
from anlp.core.stop_flag import stop_flag
from anlp.runtime import slurm_task
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0


@dataclass
class Task:
    """Task 2 of array 503, with a pretended scontrol that notes what it is asked."""

    folder: Path

    @property
    def batch(self) -> Path:
        return self.folder / "1.jsonl"

    @property
    def count(self) -> Path:
        return self.folder / "1.slurm" / "503_2.left.json"

    @property
    def asked(self) -> str:
        log = self.folder / "asked"
        return log.read_text() if log.exists() else ""

    def run(self, *words: str, send: Sequence[int] = (), **environment: str) -> tuple[int, str]:
        """Starts the task, sends it the signals once it listens, and returns its exit code and what
        it said.
        """
        self.folder.joinpath("ready").unlink(missing_ok=True)
        argv = [
            sys.executable,
            "-m",
            "anlp.runtime.slurm_task",
            "--batch",
            str(self.batch),
            "--runner",
            "tests.support.stoppable_runner:run",
        ]
        process = subprocess.Popen(
            [*argv, "--first", "10", *words],
            env=self._environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if send:
            self._wait(process)
        for number in send:
            process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out

    def provide_scontrol(self, code: int = 0) -> None:
        path = self.folder / "bin" / "scontrol"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >>{self.folder}/asked\nexit {code}\n')
        path.chmod(0o755)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        slurm = {
            "SLURM_ARRAY_JOB_ID": "503",
            "SLURM_ARRAY_TASK_ID": "2",
            "SLURM_JOB_ID": "510",
            "SLURM_PROCID": "0",
        }
        paths = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        }
        return {**kept, **slurm, **paths, "SUBMITIT_EXECUTOR": "slurm"}

    def _wait(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / "ready").exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "1.slurm").mkdir()
    task = Task(tmp_path)
    task.provide_scontrol()
    return task


def test_the_element_is_the_arrays_first_plus_the_tasks_index(task: Task) -> None:
    task.run(send=[signal.SIGTERM])

    assert (task.folder / "ready").read_text().split()[1:] == ["12", "slurm:503_2"]


def test_a_warning_makes_it_count_and_ask_for_its_requeue(task: Task) -> None:
    _, said = task.run("--continuations", "4", send=[signal.SIGUSR2])

    assert task.asked == "requeue 503_2\n"
    assert json.loads(task.count.read_text()) == {"left": 3}
    assert "this job is timed-out" in said


def test_a_warning_that_arrives_twice_counts_once(task: Task) -> None:
    task.run("--continuations", "4", send=[signal.SIGUSR2, signal.SIGUSR2])

    assert (task.asked, json.loads(task.count.read_text())) == ("requeue 503_2\n", {"left": 3})


def test_a_warning_before_the_run_listens_is_neither_lost_nor_deadly(task: Task) -> None:
    task.run("--continuations", "4", send=[signal.SIGUSR2], LOADS_SLOWLY="1")

    assert (task.asked, json.loads(task.count.read_text())) == ("requeue 503_2\n", {"left": 3})


def test_preemption_long_before_the_time_limit_uses_no_continuation(task: Task) -> None:
    _, said = task.run("--continuations", "4", "--limit-min", "60", send=[signal.SIGUSR2])

    assert (task.asked, json.loads(task.count.read_text())) == ("requeue 503_2\n", {"left": 4})
    assert "this job is preempted" in said


def test_the_number_of_continuations_is_bounded(task: Task) -> None:
    codes = [task.run("--continuations", "2", send=[signal.SIGUSR2])[0] for _ in range(3)]

    assert task.asked == "requeue 503_2\n" * 2
    assert codes[-1] == 3


def test_where_the_count_is_lost_the_restarts_that_slurm_counts_stand_for_it(task: Task) -> None:
    task.count.write_text("{")

    code, said = task.run("--continuations", "2", send=[signal.SIGUSR2], SLURM_RESTART_COUNT="2")

    assert (code, task.asked) == (3, "")
    assert "timed-out too many times. The next submit continues it." in said


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGUSR2, signal.SIGTERM]])
def test_what_is_cancelled_leaves_and_is_not_requeued(task: Task, signals: list[int]) -> None:
    code, _ = task.run(send=signals)

    assert (code, task.asked, task.count.exists()) == (3, "", False)


def test_a_requeue_that_is_refused_leaves_the_run_to_the_next_submit(task: Task) -> None:
    task.provide_scontrol(code=1)

    code, said = task.run(send=[signal.SIGUSR2])

    assert code == 3
    assert "could not requeue" in said


def test_without_scontrol_the_run_is_left_to_the_next_submit(task: Task) -> None:
    (task.folder / "bin" / "scontrol").unlink()

    code, said = task.run(send=[signal.SIGUSR2], PATH="/nowhere")

    assert code == 3
    assert "the next submit continues it" in said


def test_in_an_image_it_counts_and_leaves_the_requeue_to_its_script(task: Task) -> None:
    codes = [
        task.run("--in-image", "--continuations", "1", send=[signal.SIGUSR2])[0] for _ in range(2)
    ]

    assert (codes, task.asked) == ([EXIT_REQUEUE, EXIT_CONTINUE], "")
    assert json.loads(task.count.read_text()) == {"left": -1}


def test_a_run_that_no_warning_reached_warns_itself_before_its_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slurm_task, "OWN_WARNING_S", 59.0)

    with stop_flag() as flag, signal_pipe() as arrived, slurm_task.own_warning(1):
        deadline = time.monotonic() + PATIENCE_S
        while not flag.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
        signals = arrived.take()

    assert (flag.is_set(), signal.SIGUSR2 in signals, signal.SIGTERM in signals) == (
        True,
        True,
        False,
    )


def test_an_exception_that_escapes_is_told_from_a_failed_run(task: Task) -> None:
    code, said = task.run("--first", "200")

    assert code == 70
    assert "a fault in the runner" in said


def test_outside_an_array_it_says_what_to_use_instead() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    argv = [sys.executable, "-m", "anlp.runtime.slurm_task", "--batch", "x", "--first", "0"]

    done = subprocess.run(argv, env=kept, capture_output=True, text=True)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "python -m anlp.run" in done.stderr
