"""Build what several tests need once for all workers of a test session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """The folder that `build` has filled; the first worker fills it, and others wait for it.

    Tests must leave it as it is, or work in a copy.

    Args:
        factory: of this worker's temporary folders.
        name: of the folder.
        build: fills an empty folder.
    """
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".ready").exists():
            folder.mkdir()
            build(folder)
            (folder / ".ready").touch()
    return folder
