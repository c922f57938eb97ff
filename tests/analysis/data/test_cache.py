from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import analysis
from analysis.data import cache, run_folders
from analysis.data.arrow import frame_from_table, join_tables, table_from_rows
from analysis.data.frames import frame, history_frame
from analysis.data.load import CACHE, Runs, from_disk
from analysis.data.source import Reading
from anlp.records.files import write_json
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult
from tests.support.run_folders import Grid

OLD = time.time() - 3600


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose files were opened, in order."""
    found: list[str] = []
    original = run_folders.FolderSource._read

    def noting(self: run_folders.FolderSource, folder: RunFolder) -> Reading:
        found.append(folder.run_id)
        return original(self, folder)

    monkeypatch.setattr(run_folders.FolderSource, "_read", noting)
    return found


def line(epoch: int, acc: float = 0.5) -> dict[str, float]:
    return {"epoch": epoch, "val/acc": acc, "val/loss": 1 - acc}


def age(folder: RunFolder, when: float = OLD) -> None:
    """Makes the folder look as if nothing had happened to it since."""
    os.utime(folder.path, (when, when))


def load(grid: Grid, *, history: bool = True) -> Runs:
    return analysis.load(grid.path, history=history)


def assert_as_read_anew(grid: Grid, loaded: Runs) -> None:
    records = from_disk(grid.path, lambda note: None)
    assert_frame_equal(loaded.runs, frame(records))
    assert_frame_equal(loaded.history, history_frame(records))


def add_three(grid: Grid) -> list[RunFolder]:
    made = [
        grid.add(0.9 + seed / 100, seed=seed, history=[line(0), line(1, seed / 10)])
        for seed in range(3)
    ]
    for folder in made:
        age(folder)
    return made


def test_finished_runs_are_read_once(grid: Grid, read: list[str]) -> None:
    made = add_three(grid)

    load(grid)
    first = sorted(read)
    read.clear()
    again = load(grid)

    assert first == sorted(folder.run_id for folder in made)
    assert read == []
    assert_as_read_anew(grid, again)


def test_a_new_run_is_read_beside_those_there_are(grid: Grid, read: list[str]) -> None:
    add_three(grid)
    load(grid)
    read.clear()
    new = grid.add(0.99, lr=0.5, history=[line(0), line(1), line(2)], metrics={"val/f1": 0.5})
    again = load(grid)

    assert read == [new.run_id]
    assert len(again.history) == 9
    assert_as_read_anew(grid, again)


def test_a_repeated_run_is_read_again(grid: Grid, read: list[str]) -> None:
    first, *_ = add_three(grid)
    load(grid)
    read.clear()
    write_json(first.result, RunResult(first.run_id, Outcome.FAILED).to_json())
    again = load(grid)

    assert read == [first.run_id]
    assert again.runs.set_index("run_id")["outcome"][first.run_id] == "failed"


def test_a_live_run_is_read_again_when_it_has_logged(grid: Grid, read: list[str]) -> None:
    add_three(grid)
    live = grid.add(outcome=None, seed=9, history=[line(0)])
    age(live)
    load(grid)
    read.clear()
    load(grid)
    quiet = list(read)
    with live.metrics.open("a") as file:
        file.write(json.dumps(line(1)) + "\n")
    again = load(grid)

    assert quiet == []
    assert read == [live.run_id]
    assert_as_read_anew(grid, again)


def test_a_run_that_changed_a_moment_ago_is_read_again(grid: Grid, read: list[str]) -> None:
    run = grid.add(0.9)
    load(grid)
    load(grid)

    assert read == [run.run_id, run.run_id]


def test_a_run_that_is_gone_is_gone(grid: Grid, read: list[str]) -> None:
    first, *_ = add_three(grid)
    load(grid)
    read.clear()
    shutil.rmtree(first.path)
    again = load(grid)

    assert read == []
    assert len(again.runs) == 2
    assert_as_read_anew(grid, again)


def test_notes_are_said_again(grid: Grid) -> None:
    torn = grid.add(0.9)
    torn.result.write_text("{")
    age(torn)
    (grid.path / "notes").mkdir()

    assert load(grid).notes == load(grid).notes
    assert len(load(grid).notes) == 2


def test_without_history_the_runs_are_the_same(grid: Grid) -> None:
    add_three(grid)
    whole = load(grid)
    without = load(grid, history=False)

    assert_frame_equal(without.runs, whole.runs)
    assert list(without.history.columns) == ["run_id", "epoch"]
    assert without.history.empty


@pytest.mark.parametrize("name", ["index.json", "runs-*.parquet", "history-*.parquet"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_a_damaged_cache_is_not_believed(
    grid: Grid, read: list[str], name: str, share: float
) -> None:
    add_three(grid)
    load(grid)
    read.clear()
    (path,) = (grid.path / CACHE).glob(name)
    content = bytearray(path.read_bytes())
    place = int(share * (len(content) - 1))
    content[place] ^= 0xFF
    path.write_bytes(content[: place + 1] if share == 0.3 else content)
    again = load(grid)

    assert_as_read_anew(grid, again)


def test_a_lost_history_is_read_again(grid: Grid, read: list[str]) -> None:
    add_three(grid)
    load(grid)
    read.clear()
    next((grid.path / CACHE).glob("history-*")).unlink()

    assert_as_read_anew(grid, load(grid))
    assert len(set(read)) == 3


def test_a_cache_of_another_version_is_not_believed(
    grid: Grid, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_three(grid)
    load(grid)
    read.clear()
    monkeypatch.setattr("analysis.data.cache.__version__", "99")
    load(grid)

    assert len(read) == 3


def test_a_grid_that_cannot_be_written_is_read_all_the_same(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cache, "write_whole", refuse)
    add_three(grid)

    assert_as_read_anew(grid, load(grid))


def test_what_was_read_before_an_interruption_is_not_read_again(
    grid: Grid, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_three(grid)
    original = run_folders.FolderSource.read

    def interrupted(self: run_folders.FolderSource, run_ids: Sequence[str]) -> Iterator[Reading]:
        yield from list(original(self, run_ids[:2]))
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folders.FolderSource, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(grid)
    monkeypatch.setattr(run_folders.FolderSource, "read", original)
    before = set(read)
    read.clear()
    again = load(grid)

    assert len(before) == 2
    assert not before & set(read)
    assert_as_read_anew(grid, again)


def test_many_blocks_are_one_table(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BLOCK", 2)
    for seed in range(7):
        age(
            grid.add(
                0.9,
                seed=seed,
                outcome=Outcome.OK if seed % 2 else None,
                history=[line(0)] * (seed % 3),
            )
        )

    assert_as_read_anew(grid, load(grid))
    assert_as_read_anew(grid, load(grid))


def test_a_setting_of_several_types_keeps_its_values() -> None:
    first = table_from_rows([{"x": 1, "y": 1}, {"x": None, "y": "a"}], {})
    second = table_from_rows([{"x": "b", "y": True}], {})
    joined = frame_from_table(join_tables([first, join_tables([first, second])]), ["x", "y"])

    assert joined["x"].tolist() == [1, None, 1, None, "b"]
    assert joined["y"].tolist() == [1, "a", 1, "a", True]


def test_values_that_are_not_finite_numbers_are_missing(grid: Grid) -> None:
    grid.add(
        0.9,
        history=[{"epoch": 0, "val/loss": None}, {"epoch": 1, "val/loss": "no"}, {"val/loss": 1.0}],
    )

    history = load(grid).history

    assert history["epoch"].tolist() == [0, 1]
    assert history["val/loss"].isna().all()
    assert pd.api.types.is_float_dtype(history["val/loss"])


def test_nothing_is_written_into_a_folder_that_has_no_run(grid: Grid) -> None:
    (grid.path / "photographs").mkdir()

    loaded = load(grid)

    assert loaded.notes == ("photographs: skipped, spec.json is missing",)
    assert [path.name for path in grid.path.iterdir()] == ["photographs"]
