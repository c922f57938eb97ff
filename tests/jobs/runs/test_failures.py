from __future__ import annotations

from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import RunError
from jobs.runs.failures import FailureGroup, describe, group_failures
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers.base import Cause, JobState, Phase
from tests.support.grids import a_spec, an_error, fail, finish, lose, submit


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def statuses(folder: GridFolder) -> list[RunStatus]:
    return list(
        read_states(folder, lambda jobs: {job: JobState(Phase.QUEUED) for job in jobs}).values()
    )


def groups(folder: GridFolder) -> list[FailureGroup]:
    return group_failures(statuses(folder))


def test_one_cause_is_one_group_with_what_its_runs_have_in_common(folder: GridFolder) -> None:
    specs = [a_spec(lr=lr, batch_size=size) for lr in (0.1, 0.01) for size in (64, 4096)]
    tag = submit(folder, specs)
    for number, spec in enumerate(specs):
        if spec.settings.values()["batch_size"] == 4096:
            message = (
                f"CUDA out of memory. Tried to allocate {number}.00 "
                "GiB. GPU 0 has a total capacity of 79 GiB"
            )
            fail(folder, spec, tag, an_error("OutOfMemoryError", message, line=80 + number))
        else:
            finish(folder, spec, tag)

    assert [group.render() for group in groups(folder)] == [
        "2x CUDA out of memory at epoch 0, all batch_size=4096"
    ]


def test_groups_come_by_size_and_differ_by_type_message_and_place(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(5)]
    tag = submit(folder, specs)
    elsewhere = RunError(
        "ValueError", "bad", 'File "/home/ann/anlp/data/load.py", line 3, in read', 0
    )
    errors = [
        an_error("KeyError", "bad"),
        an_error(message="bad"),
        an_error(message="bad"),
        elsewhere,
    ]
    for spec, error in zip(specs, errors, strict=False):
        fail(folder, spec, tag, error)
    lose(folder, tag, 4, Cause.TIMEOUT)

    found = groups(folder)

    assert [len(group.runs) for group in found] == [2, 1, 1, 1]
    assert found[0].title == "ValueError: bad at epoch 0"


def test_messages_that_differ_in_figures_are_shown_without_them(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs)
    for spec, epoch in zip(specs, (1, 4), strict=True):
        fail(folder, spec, tag, an_error(message=f"got {epoch} classes", epoch=epoch))

    assert [group.title for group in groups(folder)] == [
        "ValueError: got N classes at epochs 1 to 4"
    ]


def test_the_same_figures_in_every_message_are_shown(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error(message="got 7 classes", epoch=None))

    assert [group.title for group in groups(folder)] == ["ValueError: got 7 classes"]


@pytest.mark.parametrize(
    ("cause", "detail", "title"),
    [
        (Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB", "out of memory: used 2.1 of 2.0 GiB"),
        (Cause.TIMEOUT, "time limit", "time limit"),
        (Cause.TIMEOUT, "", "time limit"),
        (Cause.SIGNAL, "signal 9 (SIGKILL)", "killed by signal 9 (SIGKILL)"),
        (Cause.EXIT, "exit code 70", "exit code 70"),
    ],
)
def test_a_lost_run_is_described_by_its_cause(
    folder: GridFolder, cause: Cause, detail: str, title: str
) -> None:
    lose(folder, submit(folder, [a_spec()]), 0, cause, detail)

    assert [describe(status) for status in statuses(folder)] == [title]


def test_memory_figures_join_but_signal_numbers_part_lost_runs(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(4)])
    lose(folder, tag, 0, Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB")
    lose(folder, tag, 1, Cause.OUT_OF_MEMORY, "used 2.3 of 2.0 GiB")
    lose(folder, tag, 2, Cause.SIGNAL, "signal 9")
    lose(folder, tag, 3, Cause.SIGNAL, "signal 11")

    assert [len(group.runs) for group in groups(folder)] == [2, 1, 1]


def test_a_setting_that_all_others_share_explains_nothing(folder: GridFolder) -> None:
    specs = [
        a_spec(lr=0.1, seed=0),
        a_spec(lr=0.1, seed=1),
        a_spec(lr=0.1, seed=2),
        a_spec(lr=0.2, seed=3),
    ]
    tag = submit(folder, specs)
    for spec in specs[:2]:
        fail(folder, spec, tag, an_error())
    finish(folder, specs[2], tag)
    fail(folder, specs[3], tag, an_error("KeyError"))

    assert groups(folder)[0].common == {}


def test_what_no_run_that_ended_well_had_comes_first(folder: GridFolder) -> None:
    failed = [a_spec(lr=0.1, batch_size=4096, seed=seed) for seed in (0, 1)]
    done = a_spec(lr=0.1, batch_size=64)
    waiting = [a_spec(lr=0.2, batch_size=4096, seed=seed) for seed in range(5)]
    tag = submit(folder, [*failed, done, *waiting])
    for spec in failed:
        fail(folder, spec, tag, an_error())
    finish(folder, done, tag)

    assert list(groups(folder)[0].common) == ["batch_size", "lr"]


def test_where_everything_failed_the_groups_are_set_apart_from_each_other(
    folder: GridFolder,
) -> None:
    specs = [a_spec(lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(
            folder,
            spec,
            tag,
            an_error("KeyError" if spec.settings.values()["lr"] == 0.1 else "ValueError"),
        )

    assert [dict(group.common) for group in groups(folder)] == [{"lr": 0.1}, {"lr": 0.2}]


def test_settings_that_mean_nothing_for_a_run_are_not_held_in_common(folder: GridFolder) -> None:
    specs = [
        a_spec(model="dense", seed=0),
        a_spec(model="dense", seed=1),
        a_spec(model="cnn", filters=32),
    ]
    tag = submit(folder, specs)
    for spec in specs[:2]:
        fail(folder, spec, tag, an_error())
    finish(folder, specs[2], tag)

    assert groups(folder)[0].common == {"model": "dense"}
