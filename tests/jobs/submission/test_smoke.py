from __future__ import annotations

from pathlib import Path

import pytest

from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import Outcome, RunResult, read_result
from anlp.tasks import TASKS, make_spec
from jobs.gridfile import load_grid
from jobs.runs.options import SubmitOptions
from jobs.submission.datasets import with_data
from jobs.submission.launch import submit_specs
from jobs.submission.variants import make_small
from tests.support.once import build_once
from tests.support.paths import ROOT
from tests.support.submits import Place

GRIDS = sorted((ROOT / "grids").glob("*.yaml"))


def test_one_run_of_each_model_is_taken() -> None:
    specs = [
        make_spec("mnist", {"model": model, "lr": lr}, 0)
        for model in ("dense", "cnn")
        for lr in (0.1, 0.01)
    ]

    small = make_small(specs)

    assert [spec.settings.values()["model"] for spec in small] == ["dense", "cnn"]
    assert {spec.settings.values()["epochs"] for spec in small} == {1}


def test_a_grid_of_one_model_gives_two_runs() -> None:
    small = make_small([make_spec("mnist", {"lr": lr}, 0) for lr in (0.1, 0.01, 0.001)])

    assert [spec.settings.values()["lr"] for spec in small] == [0.1, 0.01]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_small_settings_that_need_no_files(task: str, tmp_path: Path) -> None:
    small = make_spec(task, TASKS[task].settings.smoke, 0)

    assert with_data([small], None, tmp_path, download=False, say=pytest.fail) == [small]
    assert small.settings.values()["epochs"] == 1


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_shipped_grid_has_small_runs(path: Path) -> None:
    assert len(make_small(list(load_grid(path).runs()))) >= 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """Results of the small runs of all shipped grids by id."""
    root = build_once(tmp_path_factory, "smoke", train_small)
    found = [read_result(RunFolder(path.parent)) for path in root.glob("*/*/result.json")]
    return {result.run_id: result for result in found if result is not None}


def train_small(root: Path) -> None:
    """Trains the small runs of all grids, a pool per task: one per grid takes twice as long."""
    for task in TASKS:
        folder = GridFolder(root / task)
        folder.path.mkdir()
        grids = [load_grid(path) for path in GRIDS]
        small = [
            spec for grid in grids if grid.task == task for spec in make_small(list(grid.runs()))
        ]
        submit_specs(
            folder,
            small,
            SubmitOptions(on="local", options=options_in(root), quiet=True),
            redo="none",
        )


def options_in(root: Path) -> RunOptions:
    wandb = WandbOptions(mode="disabled")
    return RunOptions(data_dir=str(root / "data"), predictions=True, wandb=wandb, device="cpu")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_shipped_grid_trains_when_it_is_made_small(
    path: Path, trained: dict[str, RunResult]
) -> None:
    for spec in make_small(list(load_grid(path).runs())):
        result = trained[spec.run_id]

        assert result.outcome is Outcome.OK, result.error


@pytest.mark.slow
def test_the_option_trains_the_small_grid_in_a_folder_of_its_own(tmp_path: Path) -> None:
    place = Place(GRIDS[0].with_name("points_deep.yaml"), tmp_path)

    done = place.start("--smoke", "--wandb", "disabled", "-q")
    said = "\n".join(done.communicate(timeout=300))

    assert done.returncode == 0, said
    assert [path.name for path in tmp_path.iterdir()] == ["points_deep-smoke"]
    assert len(list(tmp_path.glob("points_deep-smoke/*/result.json"))) == 2
