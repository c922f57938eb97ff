"""Every grid file that is shipped says what it is, what to type, how many runs that makes and what
they cost.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jobs.gridfile import load_grid
from jobs.submit import main
from tests.support.paths import ROOT

GRIDS = sorted((ROOT / "grids").glob("*.yaml"))
every_grid = pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
COST = re.compile(r"minute|second|hour|most of a day|not timed here")


def head_of(path: Path) -> list[str]:
    """The comment that a file begins with, line by line."""
    lines = path.read_text().splitlines()
    return lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]


@every_grid
def test_the_head_says_the_study_the_command_the_runs_and_the_cost(path: Path) -> None:
    study, *rest = head_of(path)
    command = f"python -m jobs.submit grids/{path.name}"
    (line,) = (line for line in rest if re.search(rf"{re.escape(command)}  +\d", line))

    assert len(study) > 20
    assert re.search(r" (\d+) runs", line).group(1) == str(len(list(load_grid(path).runs())))  # type: ignore[union-attr]
    assert COST.search(" ".join(rest))


@every_grid
def test_commands_in_the_head_name_grids_and_modules_that_exist(path: Path) -> None:
    for line in head_of(path):
        for module, grid in re.findall(r"python -m ([\w.]+)(?: \w+)? (?:grids/)?(\w+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), line
            assert (ROOT / "grids" / f"{grid}.yaml").exists(), line


@every_grid
def test_a_dry_run_needs_neither_data_nor_weights_nor_earlier_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANLP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))

    assert main([str(path), "--dry-run", "--json"]) == 0

    plan = json.loads(capsys.readouterr().out)
    assert len(plan["runs"]) == len(list(load_grid(path).runs()))
    assert not list(tmp_path.iterdir())
