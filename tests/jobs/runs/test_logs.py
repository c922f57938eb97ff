from __future__ import annotations

import time
from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from jobs.runs.logs import LONGEST_LINE, job_output_path, last_job_output, tail
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers.base import Cause, JobState, Phase
from jobs.schedulers.pbs.script import find_output
from jobs.schedulers.slurm.script import output_of
from tests.support.grids import a_spec, submit


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "study")


def statuses(folder: GridFolder) -> list[RunStatus]:
    ended = JobState(Phase.ENDED, Cause.NOT_STARTED)
    return list(read_states(folder, lambda jobs: dict.fromkeys(jobs, ended)).values())


def test_what_a_job_printed_is_found_by_its_id_and_place(folder: GridFolder) -> None:
    submit(folder, [a_spec(seed) for seed in range(2)], slurm_job="4711")
    path = output_of(next(folder.batches.glob("*.jsonl")), "4711", 1)
    path.parent.mkdir()
    path.write_text("one\ntwo\nthree\n")

    first, second = statuses(folder)

    assert job_output_path(first) is None
    assert last_job_output(second, 2) == [f"(its job printed, in {path})", "two", "three"]


def test_runs_on_this_machine_have_logs_alone(folder: GridFolder) -> None:
    submit(folder, [a_spec()])

    (status,) = statuses(folder)

    assert last_job_output(status, 5) == []


@pytest.mark.parametrize(
    ("names", "found"), [((), "5.2.log"), (("study.x.5.o123-2", "study.x.5.o123-22"), "o123-2")]
)
def test_torque_names_what_its_sub_jobs_printed_by_itself(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    for name in names:
        (tmp_path / "3.out").mkdir(exist_ok=True)
        (tmp_path / "3.out" / name).touch()

    assert find_output(tmp_path / "3.jsonl", 5, "123[].head", 2).name.endswith(found)


def test_a_carriage_return_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"begin\r\n 10 %\r 20 %\r\r 30 %\nend")

    assert tail(path, 9) == ["begin", " 10 %", " 20 %", " 30 %", "end"]
    assert tail(path, 2) == [" 30 %", "end"]


@pytest.mark.parametrize("letters", [b"x", b"50 %|####    |\r"])
def test_a_line_of_30_mb_takes_no_time(tmp_path: Path, letters: bytes) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"begin\n" + letters * (30_000_000 // len(letters)))

    begun = time.process_time()
    found = tail(path, 50)

    assert time.process_time() - begun < 2
    assert max(map(len, found)) <= LONGEST_LINE + 3
    assert len(found) == (1 if letters == b"x" else 50)
