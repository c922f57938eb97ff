"""The environment of a user's program, taken by the wandb that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.core.spec import RunSpec
from anlp.programs.environment import ProgramRun, environment_of, wandb_config, wandb_mode
from anlp.programs.sources.wandb_runs import WandbRun
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.program import Program
from anlp.tasks.user_code import OpenSettings

SCRIPT = """
import wandb
run = wandb.init(project="theirs", config={"lr": 0.5, "depth": 3})
assert run.config.lr == 0.5
run.config.update({"lr": 0.5})
run.log({"epoch": 1, "val_acc": 0.9})
"""


@pytest.fixture
def run(tmp_path: Path) -> ProgramRun:
    settings = OpenSettings.model_validate({"lr": 0.1, "name": "a"})
    spec = RunSpec("program:train.py", settings, 3)
    folder = GridFolder(tmp_path / "mine").run(spec.run_id)
    folder.files.mkdir(parents=True)
    options = RunOptions(wandb=WandbOptions(mode="offline", project="ours", group="mine"))
    return ProgramRun(spec, options, folder, Program("train.py", str(tmp_path), "train.py"))


def test_wandb_begins_this_run_with_its_settings_beside_those_of_the_program(
    run: ProgramRun, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(wandb_config(run.spec, run.program.metrics)))

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment_of(run, os.environ, config),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "locked" not in ended.stderr
    found = WandbRun([run.folder.wandb], run.spec.run_id)
    assert [row["val_acc"] for row in found.new_rows()] == [0.9]
    assert found.notes() == []
    assert found.config["lr"] == 0.5
    assert found.config["seed"] == 3
    assert found.config["config_id"] == run.spec.config_id
    assert found.config["anlp"] == {"lr": 0.1, "name": "a"}
    assert found.config["anlp_metrics"]["select"] == ""


@pytest.mark.parametrize(
    ("asked", "variable", "mode"),
    [
        ("auto", "offline", "offline"),
        ("auto", "online", "online"),
        ("offline", "online", "offline"),
    ],
)
def test_the_mode_is_that_of_the_grid_file_else_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, asked: str, variable: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)

    assert wandb_mode(asked) == mode
