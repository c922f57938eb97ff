"""The public functions of analysis, and the examples of docs/python-api-analysis.md."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis import convergence, importance, tables
from anlp.core.errors import UserError
from tests.support.curves import learned
from tests.support.run_folders import Grid

PAGE = Path(__file__).parents[2] / "docs" / "python-api-analysis.md"


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """Two learning rates with three seeds each, one of them stuck."""
    folder = tmp_path / "runs" / "mnist"
    folder.mkdir(parents=True)
    grid = Grid(folder)
    for lr, mean, top in ((0.01, 0.97, 0.9), (0.1, 0.94, 0.1)):
        for seed in range(3):
            grid.add(mean + 0.01 * (seed - 1), seed=seed, lr=lr, history=learned(top))
    monkeypatch.delenv("ANLP_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return grid


def test_the_examples_of_the_page_are_what_comes_out(mnist: Grid) -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", PAGE.read_text(), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)

    result = doctest.DocTestRunner().run(test)

    assert result.attempted > 15
    assert result.failed == 0


def test_the_functions_return_what_the_commands_print(
    mnist: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.main(["mnist", "--json"])
    assert capsys.readouterr().out == analysis.render_table(analysis.results_table("mnist"), "json")
    convergence.main(["mnist", "--csv"])
    lines = analysis.verdict_table("mnist").astype({"onset": "Int64"}).to_csv(index=False)
    assert capsys.readouterr().out == lines
    importance.main(["mnist", "--no-forest", "--json"])
    factors = json.loads(capsys.readouterr().out)["factors"]
    assert factors == analysis.importance_table("mnist").to_dict("records")


def test_a_filter_chooses_the_runs(mnist: Grid) -> None:
    loaded = analysis.load("mnist")

    assert analysis.results_table(loaded, only="lr=0.1").n_runs == 3
    assert len(analysis.verdict_table(loaded, only="lr=0.1")) == 3
    with pytest.raises(UserError, match="leaves none of 6 runs"):
        analysis.importance_table(loaded, only="lr>5")


def test_an_unknown_format_has_a_hint(mnist: Grid) -> None:
    with pytest.raises(UserError, match=r"format 'late' is unknown \(did you mean 'latex'\?"):
        analysis.render_table(analysis.results_table("mnist"), "late")


def test_runs_are_frames(mnist: Grid) -> None:
    loaded = analysis.load("mnist")

    assert isinstance(loaded, analysis.Runs)
    assert isinstance(loaded.runs, pd.DataFrame)
    assert isinstance(analysis.results_table(loaded), analysis.Table)
