"""What all commands of analysis have in common at their edge."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from analysis import convergence, export, importance, report, tables
from tests.support.curves import learned
from tests.support.run_folders import Grid

COMMANDS = ("tables", "parallel", "curves", "plot", "convergence", "importance", "report")
ALL_COMMANDS = (*COMMANDS, "claims", "export")


@pytest.fixture
def study(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> Grid:
    for lr in (0.01, 0.1):
        for seed in range(2):
            grid.add(0.9 - lr + 0.01 * seed, seed=seed, lr=lr, history=learned(0.9))
    monkeypatch.chdir(grid.path.parent.parent)
    return grid


def command(name: str) -> ModuleType:
    return import_module(f"analysis.{name}")


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_ends_with_examples(name: str) -> None:
    text = command(name).make_arguments().format_help()

    assert "examples:" in text
    assert f"python -m analysis.{name} " in text.partition("examples:")[2]


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_a_missing_grid_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, *(["box"] if name == "plot" else [])])

    assert command(name).cli() == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "usage" not in error


@pytest.mark.parametrize("name", [*COMMANDS, "export"])
def test_every_command_writes_where_out_says(name: str) -> None:
    options = ["box", "study"] if name == "plot" else ["study"]
    parser = command(name).make_arguments()

    assert parser.parse_args([*options, "-o", "there"]).out == Path("there")
    assert parser.parse_args([*options, "--out", "there"]).out == Path("there")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_old_spelling_of_out_stays_valid_and_is_not_shown(name: str) -> None:
    options = ["box", "study"] if name == "plot" else ["study"]
    parser = command(name).make_arguments()

    assert parser.parse_args([*options, "--output", "there"]).out == Path("there")
    assert "--output" not in parser.format_help()


@pytest.mark.parametrize("name", ["study", "study.yaml", "runs/study", "runs/study/"])
def test_a_grid_is_named_by_name_file_or_folder(
    study: Grid, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert tables.main([name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grid"] == "study"


@pytest.mark.parametrize("module", [tables, convergence, importance])
def test_json_is_short_for_its_format_and_for_a_file_that_ends_so(
    study: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str], module: ModuleType
) -> None:
    target = tmp_path / "new" / "result.json"

    assert module.main(["study", "--json"]) == 0
    shown = capsys.readouterr().out
    assert module.main(["study", "--format", "json"]) == 0
    assert capsys.readouterr().out == shown
    assert module.main(["study", "-o", str(target)]) == 0
    assert target.read_text() == shown
    assert json.loads(shown)["grid"] == "study"


def test_export_takes_a_folder_or_a_file(
    study: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main(["study", "-o", str(tmp_path / "both"), "--format", "csv"])
    export.main(["study", "-o", str(tmp_path / "runs.csv")])

    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["runs.csv", "history.csv", "runs.csv"]
    assert (tmp_path / "both/runs.csv").read_bytes() == (tmp_path / "runs.csv").read_bytes()


@pytest.mark.parametrize("argv", [[], ["-o", "a", "--csv", "b.csv"]])
def test_export_says_that_it_needs_one_place(
    study: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["export", "study", *argv])

    assert export.cli() == 2
    assert capsys.readouterr().err.startswith("say once where the tables go: -o FOLDER")


def test_a_file_that_cannot_be_written_is_one_sentence(
    study: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, target in ((tables, "/dev/null/t.md"), (report, "/dev/null/r")):
        monkeypatch.setattr("sys.argv", ["command", "study", "-o", target])

        assert module.cli() == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("cannot be written: /dev/null")
        assert "; " in last
