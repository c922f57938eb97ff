"""`jobs.submit` on a grid whose files were damaged or deleted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import RunState, read_result
from jobs.runs.journal import Journal
from jobs.runs.status import read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Cause
from tests.support.grids import GONE, a_spec, lose
from tests.support.grids import submit as made_submit
from tests.support.quick_runner import call_submit
from tests.support.small_study import (  # noqa: F401 - fixtures
    attempts,
    counts,
    make_folder,
    make_quick_place,
    runs_by_lr,
    start_quick,
)
from tests.support.submits import Place


def spoil_journal(folder: GridFolder) -> None:
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(
        b'\xff{"event"\n[1]\n{"event": "intent", "tag": "x"}\n' + b"".join(lines) + b'{"torn'
    )


def spoil_finished(folder: GridFolder) -> None:
    folder.finished.write_bytes(
        b'{"run_id": 1}\n\x00\x00\n{}\n{"run_id": "x", "metrics": 3}\nnull\n'
    )


def spoil_batch(folder: GridFolder) -> None:
    path = folder.batches / "1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"garbage\n", b'{"options": {}}\n', *lines[3:]]))


def delete_batches(folder: GridFolder) -> None:
    for path in folder.batches.iterdir():
        path.unlink()
    folder.batches.rmdir()


def clutter(folder: GridFolder) -> None:
    (folder.batches / "notes.jsonl").write_text("mine\n")
    (folder.path / "a file").touch()
    (folder.path / "lock" / "readme").touch()


@pytest.mark.parametrize(
    "spoil", [spoil_journal, spoil_finished, spoil_batch, delete_batches, clutter]
)
def test_damaged_files_cost_no_finished_run(
    folder: GridFolder, spoil: Callable[[GridFolder], None]
) -> None:
    call_submit("study.yaml", "--only", "lr<0.25")
    before = {path: path.read_bytes() for path in folder.path.glob("*/result.json")}
    spoil(folder)

    assert call_submit("study.yaml") == 0

    assert len(before) == 4
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(folder.path.glob("*/result.json"))) == 6
    assert call_submit("study.yaml") == 0
    assert counts(folder) == {"done": 6}


def test_a_batch_file_of_another_submission_is_not_taken_for_the_deleted_one(
    folder: GridFolder,
) -> None:
    made_submit(folder, [a_spec(0)], launcher=GONE)
    delete_batches(folder)
    Journal(folder).refused(made_submit(folder, [a_spec(1)], answered=False), "no")

    assert counts(folder) == {}


def test_a_damaged_line_of_a_batch_file_moves_no_other(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(3)]
    tag = made_submit(folder, specs, launcher=GONE)
    lose(folder, tag, 2, Cause.TIMEOUT)
    lines = (folder.batches / "1.jsonl").read_bytes().splitlines(keepends=True)
    (folder.batches / "1.jsonl").write_bytes(b"".join([lines[0], b"garbage\n", lines[2]]))

    states = read_states(folder, registry.states)

    assert {run_id: status.state for run_id, status in states.items()} == {
        specs[0].run_id: RunState.INTERRUPTED,
        specs[2].run_id: RunState.LOST,
    }


def test_a_deleted_run_folder_is_trained_again(folder: GridFolder, quick_place: Place) -> None:
    start_quick(quick_place).communicate(
        timeout=120
    )  # it is gone then, and responsible for nothing any more
    call_submit("study.yaml")  # remembers what is finished
    victim = runs_by_lr(folder, 0.1)[0].folder
    for path in sorted(victim.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    victim.path.rmdir()

    assert call_submit("study.yaml") == 0

    assert read_result(victim) is not None
    assert attempts(folder) == 6


def test_a_result_whose_attempt_was_not_ended_is_not_repeated(folder: GridFolder) -> None:
    call_submit("study.yaml")
    for path in folder.path.glob(
        "*/attempts/*.json"
    ):  # as if all had been killed right after their result
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps({name: record[name] for name in ("host", "boot", "pid", "started", "since")})
        )

    assert call_submit("study.yaml", "--retry") == 0

    assert (counts(folder), attempts(folder)) == ({"done": 6}, 6)
