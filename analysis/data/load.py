"""Load runs as records and as tidy frames, from the folders of a grid or a wandb project."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.data.run_folders import FolderSource
from analysis.data.source import Source, told
from analysis.data.wandb_project import SCHEME, ProjectSource, parse_project
from anlp.records.folders import GridFolder, find_grid, runs_root
from anlp.records.program import declare_goals
from anlp.records.results import RunRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Runs", "find_grid", "from_disk", "from_wandb", "load", "why_no_runs"]

CACHE = ".pulled"  # in the folder of a grid: see `analysis.data.cache`
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Runs:
    """A grid's runs as tidy frames; `analysis.data.frames` lists their columns."""

    folder: Path
    runs: pd.DataFrame
    history: pd.DataFrame  # empty when loaded without
    notes: tuple[str, ...]  # what was skipped and why
    # JSON, parallel to `runs`; None while there is no result
    provenance: tuple[str | None, ...] = ()

    @property
    def grid(self) -> str:
        """Return the grid's name."""
        return self.folder.name


def load(grid: str | Path, *, history: bool = True) -> Runs:
    """Return the runs of a grid as tidy frames.

    What was read is kept in the grid's folder (`.pulled`), and only what changed is read again.

    Args:
        grid: a name under `runs/` (or `$ANLP_RUNS`), a folder, the grid's YAML file, or an address
            of wandb: `wandb://entity/project`, or a group of it, `wandb://entity/project/mnist`.
        history: whether to read the learning curves, too.

    Raises:
        UserError: there is no such grid, or the server cannot be read.
    """
    # pandas and pyarrow take a moment to import: not before they are needed
    from analysis.data.cache import PROVENANCE, Cache, read_tables
    from analysis.data.frames import empty_history, epochs_frame, runs_frame
    from analysis.data.percent import shares_of_percent

    folder, source = _find(str(grid))
    declare_goals(GridFolder(folder))
    tables, notes = read_tables(source, Cache(folder / CACHE), history=history)
    epochs = tables.history if history and tables.history is not None else empty_history()
    provenance = tuple(tables.runs[PROVENANCE].to_pylist())
    runs, lines, more = shares_of_percent(runs_frame(tables.runs), epochs_frame(epochs))
    return Runs(folder, runs, lines, (*notes, *more), provenance)


def why_no_runs(loaded: Runs, name: str = "this grid") -> str:
    """Say why there is no run: none has started, or none can be read here."""
    if not loaded.notes:
        return f"nothing of {name} has started yet"
    more = "; see the notes above" if len(loaded.notes) > 1 else ""
    return f"none of the runs of {name} can be read here ({loaded.notes[0]}){more}"


def from_disk(root: Path, note: Note = warnings.warn, *, history: bool = True) -> list[RunRecord]:
    """Read every run of the grid folder `root` that can be read, in the order of their ids.

    Args:
        root: `runs/<grid>`.
        note: is told, in one sentence each, what was skipped and why.
        history: whether to read `metrics.jsonl`.

    Raises:
        UserError: `root` cannot be listed.
    """
    return _records(FolderSource(root, history=history), note)


def from_wandb(
    address: str, note: Note = warnings.warn, *, history: bool = True
) -> list[RunRecord]:
    """Read every run of a wandb project or group that can be read, in the order of their ids.

    Args:
        address: `wandb://entity/project[/group]`; server and key are those of WANDB_BASE_URL,
            WANDB_API_KEY or netrc.
        note: is told, in one sentence each, what was skipped and why.
        history: whether to read what was logged.

    Raises:
        UserError: the project cannot be read.
    """
    return _records(ProjectSource(parse_project(address), history=history), note)


def _find(text: str) -> tuple[Path, Source]:
    """Return the folder and the source of the runs that a person named."""
    if not text.startswith(SCHEME):
        folder = find_grid(text).path
        return folder, FolderSource(folder)
    project = parse_project(text)
    return runs_root() / project.folder, ProjectSource(project)


def _records(source: Source, note: Note) -> list[RunRecord]:
    from analysis.data.cache import read_all

    readings = read_all(source)
    for text in (*source.notes(), *told((one.run_id, one.note) for one in readings)):
        note(text)
    return [reading.record for reading in readings if reading.record is not None]
