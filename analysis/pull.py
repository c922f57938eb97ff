"""Runs back from their folders, whatever state the folders are in: live, torn, copied, foreign."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anlp.errors import UserError
from anlp.record import RunFolder, RunRecord, options_from_json, read_json, read_metrics, read_result
from anlp.settings import spec_from_json
from anlp.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

GRID_FILES = frozenset({"batches", "lock"})  # folders of a grid that are no runs
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Runs:
    """A grid's runs as tidy frames; `analysis.frame` lists their columns."""

    folder: Path
    runs: pd.DataFrame
    history: pd.DataFrame  # empty when loaded without
    notes: tuple[str, ...]  # what was skipped and why

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self.folder.name


def load(grid: str | Path, *, history: bool = True) -> Runs:
    """The runs of a grid as tidy frames: the notebook's way in.

    Args:
        grid: a name under `runs/` (or `$ANLP_RUNS`), a folder, or the grid's YAML file.
        history: whether to read the learning curves too, which is most of the work.

    Raises:
        UserError: there is no such grid.
    """
    from analysis.frame import frame, history_frame  # pandas takes a second to import: not before it is needed

    folder = find_grid(str(grid), Path.cwd(), os.environ)
    notes: list[str] = []
    records = from_disk(folder, notes.append, history=history)
    return Runs(folder, frame(records), history_frame(records), tuple(notes))


def from_disk(root: Path, note: Note = warnings.warn, *, history: bool = True) -> list[RunRecord]:
    """Every run of the grid folder `root` that can be read, in the order of their ids.

    Args:
        root: `runs/<grid>`.
        note: is told, in one sentence each, what was skipped and why.
        history: whether to read `metrics.jsonl`.

    Raises:
        UserError: `root` cannot be listed.
    """
    found = (_read_run(RunFolder(root / name), note, history) for name in _run_names(root))
    return [record for record in found if record is not None]


def find_grid(text: str, here: Path, environ: Mapping[str, str]) -> Path:
    """The folder of the grid that a person named: a name, a folder, or the grid's YAML file.

    Raises:
        UserError: there is none; the message lists the grids there are.
    """
    named = Path(text)
    name = named.stem if named.suffix in (".yaml", ".yml") else text.rstrip("/")
    roots = [Path(environ["ANLP_RUNS"])] if environ.get("ANLP_RUNS") else []
    roots.append(here / "runs")
    for folder in (*(root / name for root in roots), here / name):
        if folder.is_dir():
            return folder.resolve()
    grids = sorted({entry for root in roots for entry in _folders(root)})
    there = f"grids there: {', '.join(grids)}" if grids else "nothing has been submitted there yet"
    looked_in = " and ".join(str(root) for root in roots)
    raise UserError(f"no runs of a grid {name!r} in {looked_in} ({there}); submit it first: python -m jobs.submit GRID")


def _read_run(folder: RunFolder, note: Note, history: bool) -> RunRecord | None:
    form = read_json(folder.spec)
    if form is None:
        note(f"{folder.path.name}: skipped, spec.json {'cannot be read' if folder.spec.exists() else 'is missing'}")
        return None
    try:
        spec, purpose, run_id = _parse_spec(form)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        note(f"{folder.path.name}: skipped, spec.json is not of a run known here ({_first_line(error)})")
        return None
    if run_id != folder.run_id:
        note(f"{folder.path.name}: skipped, a copy of run {run_id}")
        return None
    return _record(folder, spec, purpose, note, history)


def _parse_spec(form: Mapping[str, Any]) -> tuple[RunSpec, str, str]:
    spec = spec_from_json(form["spec"])
    return spec, options_from_json(form.get("options", {})).purpose, str(form["spec"]["run_id"])


def _record(folder: RunFolder, spec: RunSpec, purpose: str, note: Note, history: bool) -> RunRecord:
    result = read_result(folder)
    if result is None and folder.result.exists():
        note(f"{folder.run_id}: result.json cannot be read, the run counts as unfinished")
    return RunRecord(
        run_id=folder.run_id,
        config_id=spec.config_id,
        task=spec.task,
        settings=spec.settings,
        seed=spec.seed,
        purpose=purpose,
        outcome=result.outcome if result else None,
        result=result,
        history=tuple(read_metrics(folder.metrics)) if history else (),
    )


def _run_names(root: Path) -> list[str]:
    try:
        return sorted(name for name in _folders(root) if name not in GRID_FILES)
    except OSError as error:
        raise UserError(f"{root}: cannot list the runs ({error.strerror})") from error


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return []


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
