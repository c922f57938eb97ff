"""An empty grid for tests that write run folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import Grid


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """An empty grid `runs/study`."""
    folder = tmp_path / "runs" / "study"
    folder.mkdir(parents=True)
    return Grid(folder)
