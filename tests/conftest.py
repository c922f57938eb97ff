"""Support modules become importable, no test meets a real wandb server, and the fixtures that several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.apptainer.image import apptainer, as_this_user, image  # noqa: F401 - fixtures for every test
from tests.support.browser import browser, open_page  # noqa: F401 - fixtures for every test
from tests.support.run_folders import Grid
from tests.support.schedulers.slurm.cluster import cluster, cluster_alone, running_cluster  # noqa: F401 - fixtures for every test


@pytest.fixture(autouse=True)
def no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """An empty grid `runs/study`."""
    folder = tmp_path / "runs" / "study"
    folder.mkdir(parents=True)
    return Grid(folder)
