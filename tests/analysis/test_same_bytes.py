"""The same runs give the same bytes in every format, in any process, with any hash seed, cache and
settings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.run_folders import Grid

pytestmark = pytest.mark.slow

WRITE_ALL = """
import sys
from analysis import curves, export, parallel, plot, report, tables
grid, out = sys.argv[1:]
parallel.main([grid, "--format", "png,svg,pdf", "-o", f"{out}/parallel.png"])
parallel.main([grid, "--html", "-o", f"{out}/parallel.html"])
curves.main([grid, "--format", "png,svg,pdf", "-o", f"{out}/curves.png"])
for kind in ("sweep", "box", "heatmap", "evp", "luck"):
    plot.main([kind, grid, "--format", "svg,png", "-o", f"{out}/{kind}.svg"])
for form in ("md", "latex", "csv", "html"):
    tables.main([grid, "--format", form, "-o", f"{out}/table-{form}"])
report.main([grid, "--out", f"{out}/report"])
"""
MATPLOTLIBRC = (
    "font.size: 23\naxes.prop_cycle: cycler('color', "
    "['red'])\nlines.linewidth: 7\naxes.grid: True\n"
)


def test_two_processes_that_share_nothing_but_the_runs_write_the_same_files(tmp_path: Path) -> None:
    grid = Grid(tmp_path / "runs" / "small")
    for number, (lr, model, seed) in enumerate(
        product([0.1, 0.01, 0.001], ["cnn", "dense"], range(3))
    ):
        lines = [
            {"epoch": e, "val/acc": 0.1 + 0.08 * e, "val/loss": 2 / (1 + e), "train/loss": 1.0}
            for e in range(9)
        ]
        grid.add(0.8 + 0.013 * (number % 7), seed=seed, lr=lr, model=model, history=lines, epochs=8)

    first = _written(tmp_path / "first", grid.path, "1")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "matplotlibrc").write_text(MATPLOTLIBRC)
    second = _written(tmp_path / "second", grid.path, "2")  # finds the cache of the first

    assert {Path(name).suffix for name in first} >= {".png", ".svg", ".pdf", ".html", ".csv", ".md"}
    assert [name for name in first if first[name] != second.get(name)] == []


def _written(place: Path, grid: Path, hash_seed: str) -> dict[str, bytes]:
    """Every file that the commands write, by its name; the process works in `place`."""
    out = place / "out"
    out.mkdir(parents=True)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WRITE_ALL, str(grid), str(out)],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(done.stdout + done.stderr)
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
