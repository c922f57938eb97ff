"""A grid is found by its name, its YAML file or its folder, by one rule for every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.records.folders import find_grid, list_grids


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a grid in `runs` and none of the environment's."""
    (tmp_path / "runs" / "study").mkdir(parents=True)
    (tmp_path / "grids").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANLP_RUNS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "text", ["study", "study/", "grids/study.yaml", "runs/study", "./runs/study/"]
)
def test_a_grid_is_found_by_name_by_file_and_by_folder(home: Path, text: str) -> None:
    assert find_grid(text).path == home / "runs" / "study"
    assert find_grid(str(home / "runs" / "study")).path == home / "runs" / "study"


def test_a_yaml_file_stands_for_the_grid_that_it_names(home: Path) -> None:
    (home / "runs" / "mine.v2").mkdir()
    (home / "grids" / "study.yaml").write_text("task: mnist\nname: mine.v2  # the second\n")

    assert find_grid("grids/study.yaml").name == "mine.v2"


def test_a_name_is_of_the_runs_before_it_is_of_a_folder_here(home: Path) -> None:
    (home / "study").mkdir()
    (home / "copy").mkdir()

    assert find_grid("study").path == home / "runs" / "study"
    assert find_grid("copy/../study").path == home / "study"
    assert find_grid("copy").path == home / "copy"


def test_the_environment_names_another_place_for_runs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "study").mkdir(parents=True)
    (elsewhere / "study" / "journal.jsonl").touch()
    monkeypatch.setenv("ANLP_RUNS", str(elsewhere))

    assert find_grid("study").path == elsewhere / "study"
    assert find_grid("runs/study").path == home / "runs" / "study"
    assert [folder.name for folder in list_grids()] == ["study"]


@pytest.mark.parametrize("text", ["other/study", "runs/stdy", "", "nothing"])
def test_a_folder_that_is_not_there_is_no_other_grid(home: Path, text: str) -> None:
    with pytest.raises(UserError, match="no such grid in"):
        find_grid(text or str(home / "no"))


def test_the_nearest_name_is_offered_or_all_of_them(home: Path) -> None:
    with pytest.raises(UserError, match=r"stdy: no such grid in .*runs \(did you mean 'study'\?\)"):
        find_grid("stdy")
    with pytest.raises(UserError, match=r"\(submitted grids: study\); submit it first"):
        find_grid("nothing")
