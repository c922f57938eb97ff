from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import analysis
from analysis import curves, export, parallel, tables
from anlp.core.errors import UserError
from tests.support.run_folders import Grid


@pytest.fixture(autouse=True)
def two_runs(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(
        1 / 3,
        model="cnn",
        history=[{"epoch": 0, "val/acc": 0.1}, {"epoch": 1, "val/acc": 0.2 + 0.1}],
    )
    grid.add(0.5, model="dense", history=[{"epoch": 0, "val/loss": None}])


@pytest.mark.slow
def test_both_tables_go_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["study", "--parquet", str(tmp_path / "out")]) == 0

    loaded = analysis.load("study")
    assert_frame_equal(pd.read_parquet(tmp_path / "out" / "runs.parquet"), loaded.runs)
    assert_frame_equal(pd.read_parquet(tmp_path / "out" / "history.parquet"), loaded.history)
    assert (
        capsys.readouterr().out == f"{tmp_path}/out/runs.parquet\n{tmp_path}/out/history.parquet\n"
    )


def test_numbers_in_a_csv_read_back_equal(tmp_path: Path) -> None:
    export.main(["study", "--csv", str(tmp_path)])

    loaded = analysis.load("study")
    with (tmp_path / "history.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == list(loaded.history.columns)
    assert sorted(float(row["val/acc"]) for row in found if row["val/acc"]) == [0.1, 0.2 + 0.1]
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert sorted(float(row["test/acc"]) for row in csv.DictReader(file)) == [1 / 3, 0.5]


def test_a_column_of_several_types_becomes_text() -> None:
    content = export._render_parquet(
        pd.DataFrame({"x": pd.Series([1, "a"], dtype=object), "y": [1, 2]})
    )

    assert pd.read_parquet(io.BytesIO(content))["x"].tolist() == ["1", "a"]


def test_a_file_gets_one_table_of_the_runs_that_match(tmp_path: Path) -> None:
    target = tmp_path / "curves.csv"

    export.main(["study", "--csv", str(target), "--table", "history", "--only", "model=cnn"])

    assert pd.read_csv(target)["epoch"].tolist() == [0, 1]


def test_a_suffix_of_the_other_form_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"runs\.parquet: expected a file that ends in \.csv, or a folder"
    ):
        export.main(["study", "--csv", str(tmp_path / "runs.parquet")])


@pytest.mark.parametrize("main", [tables.main, parallel.main, curves.main])
def test_commands_take_their_runs_from_a_project_too(main: object) -> None:
    assert callable(main)

    with pytest.raises(UserError, match=r"no key for 127\.0\.0\.1:9"):
        main(["--from", "wandb://me/anlp"])
    with pytest.raises(UserError, match="expected wandb://entity/project"):
        main(["wandb://me"])


def test_runs_come_from_one_place() -> None:
    with pytest.raises(UserError, match="--from: not allowed with argument grid"):
        export.main(["study", "--from", "wandb://me/anlp", "--csv", "x.csv"])
