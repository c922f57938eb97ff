"""Find the folders of grids: the runs root, the data folder, and a grid by its name, file or folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from anlp.core.errors import UserError
from anlp.records.folders import GridFolder


def runs_root() -> Path:
    """The folder that holds one folder per grid."""
    return Path(os.environ.get("ANLP_RUNS") or "runs").absolute()


def data_dir() -> Path:
    """The folder with the data sets."""
    return Path(os.environ.get("ANLP_DATA") or "data").absolute()


def open_grid(text: str) -> GridFolder:
    """The folder of a grid named by its name, its YAML file or its folder.

    Raises:
        UserError: there is no such grid; the text names the nearest ones.
    """
    path = Path(text)
    name = (
        path.stem if path.suffix in (".yaml", ".yml") else path.name
    )  # the name itself may have dots
    folder = path if path.is_dir() and (path / "journal.jsonl").exists() else runs_root() / name
    if name not in ("", "..") and folder.is_dir():
        return GridFolder(folder.absolute())
    entries = runs_root().iterdir() if runs_root().is_dir() else ()
    known = sorted(
        entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
    )
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = (
        f"did you mean {near[0]!r}?" if near else f"submitted grids: {', '.join(known) or 'none'}"
    )
    raise UserError(
        f"{text}: no such grid in {runs_root()} ({hint}); submit it first: python -m jobs.submit FILE.yaml"
    )


def grids() -> list[GridFolder]:
    """The grids that were ever submitted to, by name."""
    root = runs_root()
    found = [GridFolder(path) for path in sorted(root.iterdir())] if root.is_dir() else []
    return [folder for folder in found if folder.journal.exists()]
