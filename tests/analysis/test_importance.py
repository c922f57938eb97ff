from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from analysis import importance
from anlp.core.errors import UserError
from tests.support.run_folders import Grid


@pytest.fixture(autouse=True)
def beside_runs(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)


@pytest.fixture
def study(grid: Grid) -> Path:
    for lr, score in ((0.1, 0.5), (0.01, 0.9), (0.001, 0.7)):
        for optimizer, more in (("sgd", 0.0), ("adam", 0.05)):
            for seed in range(2):
                grid.add(
                    score + more + 0.001 * seed, seed=seed, lr=lr, optimizer=optimizer, model="cnn"
                )
    return grid.path


@pytest.mark.slow
def test_the_table_has_shares_interactions_and_seeds(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importance.main(["study", "--no-forest"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "study: val/acc over 6 configurations, 12 runs",
        "exact ANOVA of the full factorial",
    ]
    assert lines[3].split() == [
        "setting",
        "levels",
        "first",
        "total",
        "Shapley",
        "Pearson",
        "(wandb)",
    ]
    assert [line.split()[0] for line in lines[4:6]] == ["lr", "optimizer"]
    assert lines[4].split()[2:4] == ["97.7", "%"]
    assert "seeds: 0.0 % of all variance; the shares above are of the rest" in lines


@pytest.mark.slow
def test_few_configurations_have_no_forest_and_say_so(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    importance.main(["study"])

    assert "no forest: it takes at least 10 configurations, there are 6" in capsys.readouterr().out


@pytest.mark.slow
def test_json_and_csv_have_the_numbers(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importance.main(["study", "--no-forest", "--json"])
    form = json.loads(capsys.readouterr().out)
    importance.main(["study", "--no-forest", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert (form["method"], form["configurations"], form["runs"], form["oob_r2"]) == (
        "exact",
        6,
        12,
        None,
    )
    assert [float(row["first"]) for row in rows] == [factor["first"] for factor in form["factors"]]
    assert form["factors"][1]["Pearson (wandb)"] is None


def test_only_leaves_the_runs_that_match(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importance.main(["study", "--no-forest", "--only", "optimizer=adam"])

    assert "over 3 configurations, 6 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["study", "--metric", "val/ac"], "--metric 'val/ac' is unknown (did you mean 'val/acc'?"),
        (
            ["study", "--only", "lr=0.1 optimizer=sgd"],
            "no setting varies over the 2 runs with val/acc",
        ),
        (["nothing"], "nothing: no such grid"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["importance", *argv])

    assert importance.cli() == 2
    assert sentence in capsys.readouterr().err


def test_an_empty_grid_is_one_sentence(grid: Grid) -> None:
    with pytest.raises(UserError, match="no runs to explain"):
        importance.main(["study"])
