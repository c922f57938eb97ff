from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.datasets import catalogue
from tests.support.paths import ROOT

DATA = Path(os.environ.get("ANLP_DATA") or ROOT / "data")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("taskset") is None, reason="taskset is not installed (Debian: util-linux)"
)
@pytest.mark.skipif(
    catalogue.find("mnist", DATA) is None, reason="MNIST is not staged; set ANLP_DATA to its folder"
)
def test_a_quick_comparison_runs_and_the_suite_wins() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.grid_wall",
        "--quick",
        "--json",
        "--data",
        str(DATA),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    part = json.loads(done.stdout)["parts"]["one core"]
    assert part["wall_ratio"]["median"] > 1.5
    assert len(part["suite_acc"]) == 4
    assert all(accuracy > 0.9 for values in part["naive_acc"].values() for accuracy in values)
