from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from jobs.runs.polling_cache import CachedState, JobStateCache, read_cache, write_cache
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase

QUEUED = CachedState(JobState(Phase.QUEUED), 100.0)
LOST = CachedState(JobState(Phase.ENDED, Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB", "n3"), 100.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.json"


def array(indices: range, answer: CachedState = QUEUED) -> dict[JobHandle, CachedState]:
    return {JobHandle("slurm", "4711", index): answer for index in indices}


def test_what_is_written_is_read_back(path: Path) -> None:
    jobs = {
        **array(range(5)),
        **array(range(7, 9)),
        **array(range(5, 6), LOST),
        JobHandle("pbs", "1[].srv", 0): LOST,
    }
    answers = JobStateCache(jobs, {"slurm": ("no accounts now",)})

    write_cache(path, answers)

    assert read_cache(path) == answers


def test_ten_thousand_queued_elements_are_a_few_bytes(path: Path) -> None:
    write_cache(path, JobStateCache(array(range(10_000))))

    assert path.stat().st_size < 200
    assert len(read_cache(path).jobs) == 10_000


def test_the_file_is_for_its_owner_alone_and_leaves_no_draft(path: Path) -> None:
    write_cache(path, JobStateCache(array(range(3))))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["answers.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 1, "notes"',
        '{"version": 2, "notes": {}, "jobs": []}',
        '{"version": 1, "notes": {}, "jobs": [["slurm", "1"]]}',
        '{"version": 1, "notes": {}, "jobs": [["slurm", "1", '
        '[[0, 3]], 5, "asleep", null, "", ""]]}',
        '{"version": 1, "notes": {}, "jobs": [["slurm", "1", [[0, '
        '1000000000000]], 5, "queued", null, "", ""]]}',
    ],
)
def test_a_damaged_file_is_one_that_is_not_there(path: Path, text: str) -> None:
    path.write_text(text)

    assert read_cache(path) == JobStateCache()


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    write_cache(tmp_path / "gone" / "answers.json", JobStateCache(array(range(3))))

    assert list(tmp_path.iterdir()) == []


def test_the_form_is_one_entry_for_what_was_said_alike(path: Path) -> None:
    write_cache(path, JobStateCache({**array(range(4)), **array(range(2, 3), LOST)}))

    assert json.loads(path.read_text())["jobs"] == [
        ["slurm", "4711", [[0, 1], [3, 3]], 100.0, "queued", None, "", ""],
        ["slurm", "4711", [[2, 2]], 100.5, "ended", "OUT_OF_MEMORY", "used 2.1 of 2.0 GiB", "n3"],
    ]
