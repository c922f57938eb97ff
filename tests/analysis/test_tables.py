from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import tables
from anlp.records.files import write_json
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult
from anlp.tasks import make_spec
from tests.support.run_folders import Grid


@pytest.fixture(autouse=True)
def beside_runs(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["tables", *argv])
    return tables.cli()


def test_a_pipe_gets_markdown(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    grid.add(0.98)

    assert tables.main(["study"]) == 0
    assert "**98.000 [97.707, 98.257]**" in capsys.readouterr().out


def test_only_leaves_the_runs_that_match(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    grid.add(0.98, model="cnn", lr=0.1)
    grid.add(0.97, model="cnn", lr=0.01)
    grid.add(0.96, model="dense", lr=0.1)

    tables.main(["study", "--json", "--only", "model=cnn lr<0.05"])

    form = json.loads(capsys.readouterr().out)
    assert [row["test/acc"] for row in form["rows"] if row["row"] == "configuration"] == [0.97]
    assert "among runs with model=cnn lr<0.05" in form["caption"]


@pytest.mark.parametrize(
    ("suffix", "mark"), [("csv", "config_id"), ("tex", r"\toprule"), ("html", "<table>")]
)
def test_the_suffix_of_the_file_decides_its_format(
    grid: Grid, tmp_path: Path, suffix: str, mark: str
) -> None:
    grid.add(0.98)
    target = tmp_path / "new" / f"table.{suffix}"

    tables.main(["study", "-o", str(target)])

    assert mark in target.read_text()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["nothing"], "nothing: no such grid in"),
        (["study"], "no run has finished yet, so there is nothing to tabulate (1 failed)"),
        (["study", "--only", "lr>5"], "--only 'lr>5' leaves none of 1 runs"),
        (["study", "--only", "lrr>5"], "unknown name 'lrr' (did you mean 'lr'?"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    sentence: str,
) -> None:
    grid.add(outcome=Outcome.FAILED)

    assert run(monkeypatch, *argv) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1


def test_an_empty_grid_is_one_sentence_and_exit_2(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "study") == 2
    assert capsys.readouterr().err == "no runs to tabulate: nothing of this grid has started yet\n"


def test_what_was_skipped_is_said_on_stderr(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    grid.add(0.98)
    for number in range(7):
        (grid.path / f"foreign{number}").mkdir()

    tables.main(["study"])

    error = capsys.readouterr().err
    assert "foreign0: skipped, spec.json is missing" in error
    assert "… and 2 more such notes" in error


def add_regression(grid: Grid) -> None:
    """Three seeds of the task of emotions, as they are."""
    for seed in range(3):
        spec = make_spec("fma_emotion", {"data": "made"}, seed)
        folder = RunFolder(grid.path / spec.run_id)
        folder.path.mkdir()
        write_json(folder.spec, {"spec": spec.to_json(), "options": {}})
        metrics = {
            f"{split}/{name}": 0.1 + 0.01 * seed
            for split in ("val", "test")
            for name in ("mae", "spearman")
        }
        write_json(
            folder.result,
            RunResult(spec.run_id, Outcome.OK, metrics, baselines={"mean": 0.25}).to_json(),
        )


def test_without_an_accuracy_the_table_is_of_what_runs_monitor(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    add_regression(grid)

    assert tables.main(["study"]) == 0
    assert "| mean val/spearman | test/spearman |" in capsys.readouterr().out


def test_errors_stand_beside_that_of_always_answering_the_mean(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    add_regression(grid)

    tables.main(["study", "--report", "test/mae"])

    assert "| mean of the training set |  |  | 0.2500 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (Outcome.OK, "no run has a finite metric (2 finished without one)"),
        (Outcome.DIVERGED, "no run has finished yet, so there is nothing to tabulate (2 diverged)"),
    ],
)
def test_runs_without_any_number_are_one_sentence(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: Outcome,
    sentence: str,
) -> None:
    for seed in range(2):
        grid.add(float("nan"), seed=seed, outcome=outcome)

    assert run(monkeypatch, "study") == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_the_margin_is_in_points_of_an_accuracy(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    for lr, mean in ((0.1, 0.95), (0.01, 0.949)):
        grid.add_seeds([mean + luck / 10_000 for luck in range(5)], lr=lr)

    marks = {}
    for margin in ("0.2", "0.05"):
        tables.main(["study", "--json", "--margin", margin])
        form = json.loads(capsys.readouterr().out)
        marks[margin] = [row["is_equivalent"] for row in form["rows"][:2]]
        assert form["margin"] == pytest.approx(float(margin) / 100)

    assert marks == {"0.2": [False, True], "0.05": [False, False]}


@pytest.mark.parametrize("margin", ["-1", "few", "nan", "inf"])
def test_a_margin_is_a_difference_of_0_or_more(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], margin: str
) -> None:
    grid.add(0.98)

    assert run(monkeypatch, "study", f"--margin={margin}") == 2
    assert "expected a difference of 0 or more such as 0.2, got" in capsys.readouterr().err
