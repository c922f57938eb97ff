from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.record import GridFolder, Outcome, read_result
from anlp.settings import TASKS, make_spec
from jobs.gridfile import load_grid
from jobs.smoke import make_small

GRIDS = sorted((Path(__file__).parents[2] / "grids").glob("*.yaml"))


def test_one_run_of_each_model_is_taken() -> None:
    specs = [make_spec("mnist", {"model": model, "lr": lr}, 0) for model in ("dense", "cnn") for lr in (0.1, 0.01)]

    small = make_small(specs)

    assert [spec.settings.values()["model"] for spec in small] == ["dense", "cnn"]
    assert {spec.settings.values()["epochs"] for spec in small} == {1}


def test_a_grid_of_one_model_gives_two_runs() -> None:
    small = make_small([make_spec("mnist", {"lr": lr}, 0) for lr in (0.1, 0.01, 0.001)])

    assert [spec.settings.values()["lr"] for spec in small] == [0.1, 0.01]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_small_settings_that_need_no_files(task: str) -> None:
    smoke = TASKS[task].settings.smoke

    assert smoke["data"] in ("digits", "regions", "made")
    assert smoke["epochs"] == 1


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_shipped_grid_has_small_runs(path: Path) -> None:
    assert len(make_small(list(load_grid(path).runs()))) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_shipped_grid_trains_when_it_is_made_small(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ANLP_RUNS": str(tmp_path), "ANLP_DATA": str(tmp_path / "data")}
    argv = [sys.executable, "-m", "jobs.submit", str(path), "--smoke", "--wandb", "disabled", "--gpus", "0", "-q"]

    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    folder = GridFolder(tmp_path / f"{path.stem}-smoke")
    results = [read_result(folder.run(each.parent.name)) for each in folder.path.glob("*/result.json")]
    assert len(results) >= 2
    assert all(result is not None and result.outcome is Outcome.OK for result in results)
