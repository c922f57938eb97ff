"""Nothing depends on what lies in the current folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.submits import PATIENCE_S

pytestmark = pytest.mark.slow

GRID = """\
task: mnist
fixed: {data: digits, epochs: 1, hidden: 8, train_samples: 128}
grid: {lr: [0.1, 0.01]}
wandb: {mode: disabled}
"""
# as a checkout of this project called so, or the folders and scripts of a user
FOLDERS = (
    "anlp",
    "anlp/anlp",
    "anlp/core",
    "jobs",
    "jobs/runs",
    "analysis",
    "test",
    "queue",
    "yaml",
)
SCRIPTS = ("random.py", "queue.py", "test.py", "numpy.py", "torch.py", "csv.py", "jobs.txt")


def run(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANLP_RUNS": "", **extra}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.skipif(
    any(name.startswith("__editable___anlp") for name in sys.modules),
    reason="an editable install of an older version: folders hide it; install again (./venv.sh)",
)
def test_folders_and_scripts_of_the_current_folder_hide_no_module(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(GRID)
    for name in FOLDERS:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        (tmp_path / name).write_text("raise SystemExit('a script of the current folder ran')\n")

    submitted = run(tmp_path, "-m", "jobs.submit", "g.yaml", "--on", "local")
    shown = run(tmp_path, "-m", "jobs", "status", "g")
    table = run(tmp_path, "-m", "analysis.tables", "g")

    assert submitted.returncode == 0, submitted.stderr
    assert "g: 2 done" in submitted.stdout
    assert (shown.returncode, "  2 done" in shown.stdout) == (0, True), shown.stderr
    assert (table.returncode, "lr" in table.stdout) == (0, True), table.stderr


@pytest.mark.parametrize("name", ["anlp.py", "anlp/__init__.py"])
def test_what_hides_the_code_of_runs_is_named_before_anything_is_trained(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "g.yaml").write_text(GRID)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

    done = run(tmp_path, "-m", "jobs.submit", "g.yaml", "--on", "local")

    assert done.returncode == 2
    assert f"{tmp_path / name}: hides the package anlp" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_importing_the_packages_leaves_the_path_alone(tmp_path: Path) -> None:
    code = "import sys; was = list(sys.path); import jobs, analysis, anlp; print(was == sys.path)"

    assert run(tmp_path, "-c", code).stdout == "True\n"


def test_a_checkout_uses_all_of_its_own_packages_beside_another_that_is_installed(
    tmp_path: Path,
) -> None:
    for name in ("anlp", "jobs", "analysis"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import jobs, anlp, analysis; print(jobs.__path__, anlp.__path__, analysis.__path__)"
    (tmp_path / "jobs" / "where.py").write_text(code)

    told = subprocess.run(
        [sys.executable, "-m", "jobs.where"], cwd=tmp_path, capture_output=True, text=True
    )

    assert told.stdout.count(str(tmp_path)) == 3, told
