"""The examples run as they ship, and by hand without the suite."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.records.folders import RunFolder
from anlp.records.results import read_result
from tests.support.submits import Place

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS_HYDRA = pytest.mark.skipif(
    importlib.util.find_spec("hydra") is None, reason="needs hydra-core"
)
SMALL = ("--on", "local", "--device", "cpu", "-y", "--seeds", "1")


@pytest.mark.parametrize(
    ("folder", "only", "logged_by"),
    [
        ("argparse_wandb", "lr=0.1", "wandb"),
        ("function", "lr=0.1", "function"),
        pytest.param("hydra", "model.trees=20", "$ANLP_METRICS", marks=NEEDS_HYDRA),
    ],
)
def test_an_example_is_a_grid_with_a_table(
    tmp_path: Path, folder: str, only: str, logged_by: str
) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    place = Place(
        tmp_path / "examples" / folder / "grid.yaml",
        tmp_path / "runs",
        (("WANDB_MODE", "offline"),),
    )

    ended = place.submit(*SMALL, "--only", only)

    assert ended.code == 0, ended.out + ended.err
    (grid,) = (tmp_path / "runs").iterdir()
    results = [read_result(RunFolder(path.parent)) for path in grid.glob("*/result.json")]
    assert len(results) == 2
    for result in results:
        assert result is not None
        assert result.provenance["logged_by"] == logged_by
        assert result.metrics["val/acc"] > 0.5
        assert result.baselines == {"random": 0.1}


def test_the_function_is_a_script_by_hand_that_continues(tmp_path: Path) -> None:
    def by_hand() -> str:
        return subprocess.run(
            [sys.executable, EXAMPLES / "function" / "study.py"],
            cwd=tmp_path,
            env={name: text for name, text in os.environ.items() if not name.startswith("ANLP_")},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    first, second = by_hand(), by_hand()

    assert "epoch 8  train/loss" in first
    assert "result  val/best_acc" in first
    assert second.startswith("continuing after epoch 8\n")
