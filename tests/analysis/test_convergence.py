from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from analysis import convergence
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.curves import learned
from tests.support.run_folders import Grid


@pytest.fixture(autouse=True)
def beside_runs(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)


@pytest.fixture
def mixed(grid: Grid) -> Path:
    for seed in range(3):
        grid.add(0.9, seed=seed, lr=0.01, history=learned(0.9))
        grid.add(0.1, seed=seed, lr=1.0, history=learned(0.1))
    grid.add(seed=0, lr=0.1, outcome=Outcome.DIVERGED, history=learned(0.9, 3))
    grid.add(seed=0, lr=0.3, outcome=Outcome.FAILED)
    return grid.path


def test_convergent_and_divergent_runs_are_listed_apart(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convergence.main(["study"]) == 0

    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "study: 8 runs judged by val/acc"
    assert "convergent runs (3)" in lines
    assert "divergent runs (4)" in lines
    assert "runs apart: crashed, missing or too short to judge (1)" in lines
    assert "never left the 99.9 % chance band" in text
    assert "the loss was not finite any more in epoch 3" in text
    assert "largest lr at which 80 % of the runs learned: 0.01" in text


def test_long_lists_are_cut_and_all_shows_them(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(18):
        grid.add(0.9, seed=seed, history=learned(0.9))

    convergence.main(["study"])
    cut = capsys.readouterr().out
    convergence.main(["study", "--all"])

    assert "… and 3 more: --all shows them" in cut
    assert len(capsys.readouterr().out.splitlines()) == len(cut.splitlines()) + 2


def test_json_has_the_numbers_behind_each_verdict(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convergence.main(["study", "--json"])

    form = json.loads(capsys.readouterr().out)
    assert form["counts"] == {"converged": 3, "stuck": 3, "diverged": 1, "crashed": 1}
    (diverged,) = [run for run in form["runs"] if run["verdict"] == "diverged"]
    assert (diverged["onset"], diverged["numbers"]["epoch"], diverged["lr"]) == (3, 3, 0.1)
    assert form["edges"] == [{"by": "", "lr": 0.01, "is_largest": False}]


@pytest.mark.slow
def test_csv_has_a_row_per_run(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convergence.main(["study", "--csv"])

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 8
    assert {row["onset"] for row in rows if row["verdict"] == "diverged"} == {"3"}


def test_only_takes_verdicts_too(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convergence.main(["study", "--only", "verdict=stuck seed<2", "--csv"])

    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["study"], "no runs to judge: nothing of this grid has started yet"),
        (["study", "--metric", "val/f1"], "no runs to judge"),
        (["nothing"], "nothing: no such grid"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["convergence", *argv])

    assert convergence.cli() == 2
    assert sentence in capsys.readouterr().err


def test_a_metric_that_no_run_logged_is_named(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="no run has logged 'val/f1'"):
        convergence.main(["study", "--metric", "val/f1"])
