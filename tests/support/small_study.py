"""A small grid of quick runs that submits of all kinds are tried on, and what is asked about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers import registry
from tests.support.quick_runner import use_quick_runner
from tests.support.submits import Place, attempts_of

GRID = """\
task: mnist
fixed: {data: digits, epochs: 2}
grid: {lr: [0.1, 0.2, 0.3]}
seeds: 2
wandb: {mode: disabled}
"""


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    use_quick_runner(monkeypatch, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(GRID)
    return GridFolder(tmp_path / "runs" / "study")


def counts(folder: GridFolder) -> dict[str, int]:
    states = [
        status.state.value
        for status in read_states(folder, registry.states, remember=False).values()
    ]
    return {state: states.count(state) for state in states}


def runs_by_lr(folder: GridFolder, lr: float) -> list[RunStatus]:
    states = read_states(folder, registry.states, remember=False).values()
    return [status for status in states if status.values["lr"] == lr]


def attempts(folder: GridFolder) -> int:
    return sum(
        len(attempts_of(folder.run(path.parent.name))) for path in folder.path.glob("*/attempts")
    )


@pytest.fixture(name="quick_place")
def make_quick_place(folder: GridFolder, tmp_path: Path) -> Place:
    """The same grid for submits in processes of their own."""
    return Place(tmp_path / "study.yaml", tmp_path / "runs")


def start_quick(place: Place, *words: str) -> subprocess.Popen[str]:
    code = (
        "import sys\nfrom tests.support.quick_runner import QuickLocal, "
        "call_submit\nfrom jobs.schedulers import plugins\n"
        "plugins.register('local', QuickLocal)\n"
        "sys.exit(call_submit(*sys.argv[1:]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(place.file), *words],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
