"""Sweep files of wandb at submit: shown as the grid that they mean, or written as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anlp.core.errors import SpecError, UserError
from anlp.records.folders import find_grid
from jobs import submit

SWEEP = """\
program: train.py
method: random
name: First sweep
run_cap: 4
parameters:
  lr: {min: 0.001, max: 0.1}
  epochs: {value: 2}
"""
GRID = """\
# The grid of sweep.yaml, a sweep of wandb.
# name: First sweep
program: train.py
name: First-sweep
fixed:
  epochs: 2
random:
  samples: 4
  lr: {uniform: [0.001, 0.1]}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import sys; print(sys.argv)")
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


def test_a_plan_begins_with_the_grid_file_that_the_sweep_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert submit.main(["sweep.yaml", "-n", "--seeds", "2", "--set", "epochs=3"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("sweep.yaml means this grid file:\n\n  # The grid of sweep.yaml")
    assert "  program: train.py\n" in shown
    assert "First-sweep: 8 runs" in shown
    assert "epochs 3" in shown or "--epochs 3" in shown


def test_one_run_is_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit.main(["sweep.yaml", "-n", "--set", "lr=0.01"]) == 0

    assert "First-sweep: 1 run\n" in capsys.readouterr().out


def test_a_plan_in_json_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit.main(["sweep.yaml", "-n", "--json"]) == 0

    plan = json.loads(capsys.readouterr().out)
    assert plan["grid"] == "First-sweep"
    assert len(plan["runs"]) == 4


def test_it_is_printed_as_a_grid_and_nothing_is_submitted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit.main(["sweep.yaml", "--as-grid"]) == 0

    assert capsys.readouterr().out == GRID
    assert not (project / "runs").exists()


def test_a_grid_file_that_is_written_elsewhere_finds_its_program(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "grids").mkdir()

    assert submit.main(["sweep.yaml", "--as-grid", "-o", "grids/first.yaml"]) == 0
    assert capsys.readouterr().out == "grids/first.yaml: the grid file of sweep.yaml\n"
    assert submit.main(["grids/first.yaml", "-n", "--json"]) == 0
    of_grid = json.loads(capsys.readouterr().out)
    assert submit.main(["sweep.yaml", "-n", "--json"]) == 0

    assert "program: ../train.py\n" in (project / "grids" / "first.yaml").read_text()
    assert of_grid == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep.yaml", "--as-grid", "-o", "train.py"], "train.py: exists already; remove it"),
        (["sweep.yaml", "--as-grid", "-o", "no/x.yaml"], "no/x.yaml: cannot be written"),
        (["grid.yaml", "--as-grid"], "grid.yaml: a grid file already"),
        (["sweep.yaml", "--as-grid", "--set", "lr=1"], "shows the file as it is; leave out --set"),
        (["sweep.yaml", "-o", "x.yaml"], "--out: goes with --as-grid"),
    ],
)
def test_a_mistake_is_one_sentence(project: Path, words: list[str], said: str) -> None:
    (project / "grid.yaml").write_text(GRID)

    with pytest.raises(UserError, match=said):
        submit.main(words)


def test_what_a_grid_cannot_do_is_said_with_the_line_of_the_sweep(project: Path) -> None:
    (project / "sweep.yaml").write_text(SWEEP.replace("random", "bayes"))

    with pytest.raises(SpecError, match=r"^sweep\.yaml:2: method: bayes chooses a point"):
        submit.main(["sweep.yaml", "-n"])


def test_other_commands_find_the_grid_by_its_sweep_file(project: Path) -> None:
    (project / "runs" / "First-sweep").mkdir(parents=True)

    assert find_grid("sweep.yaml").name == "First-sweep"


@pytest.mark.slow
def test_a_submitted_grid_finds_its_program_by_its_name_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "grids").mkdir()
    (project / "grids" / "mine.yaml").write_text(
        "program: ../train.py\nfixed: {x: 1}\nwandb: {mode: disabled}\n"
    )
    assert submit.main(["grids/mine.yaml", "--on", "local", "-q"]) == 0
    capsys.readouterr()

    assert submit.main(["mine", "-n", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["state"] == "done"
    assert submit.main(["runs/mine/grid.yaml", "-n"]) == 0
