"""Read runs from their folders, which may be live, damaged, copied or foreign."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.data.source import NO_FIT, UNSETTLED, Reading, known_settings
from anlp.core.damage import take_damage
from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.records.files import read_json, read_metrics
from anlp.records.fingerprint import first_line
from anlp.records.folders import RunFolder
from anlp.records.options import options_from_json
from anlp.records.results import RunRecord, RunResult, read_result
from anlp.tasks import TASKS, make_spec

# folders of a grid that are no runs
GRID_FILES = frozenset({"batches", "code", "lock", "programs", "report"})
# a change within one tick of a file system's clock leaves no trace: what is younger is read again
SETTLED_S = 2.0


class FolderSource:
    """The runs in the folder of a grid.

    A finished run is up to date as long as the time of its folder does not change: adding,
    replacing or removing a file changes it, as a repetition of the run does. Of a live run, the
    times of its files are compared.

    Args:
        root: `runs/<grid>`.
        history: whether to read `metrics.jsonl`.

    Raises:
        UserError: `root` cannot be listed.
    """

    def __init__(self, root: Path, *, history: bool = True) -> None:
        self._root = root
        self._history = history
        self._folder_ns = _list_folders(root)

    def run_ids(self) -> list[str]:
        """Return every folder that could be a run."""
        return sorted(self._folder_ns)

    def notes(self) -> list[str]:
        """Return nothing: every folder is read, or its own note says why not."""
        return []

    def is_current(self, run_id: str, stamp: str) -> bool:
        """Compare a finished run by its folder's time, a live one by its files, too."""
        folder_ns = self._folder_ns[run_id]
        return stamp == f"final {folder_ns}" or (
            stamp.startswith("live") and stamp == _live_stamp(self._folder(run_id), folder_ns)
        )

    def read(self, run_ids: Sequence[str]) -> Iterator[Reading]:
        """Read one run after the other, in the order given."""
        return (self._read(self._folder(run_id)) for run_id in run_ids)

    def _folder(self, run_id: str) -> RunFolder:
        return RunFolder(self._root / run_id)

    def _read(self, folder: RunFolder) -> Reading:
        folder_ns = self._folder_ns[folder.run_id]
        # taken before the content, so that a later change shows
        stamp = _live_stamp(folder, folder_ns)
        form = read_json(folder.spec)
        if form is None and not folder.spec.exists():
            return _skipped(folder, "spec.json is missing")
        if form is None:
            return _skipped(folder, f"spec.json cannot be read{_because(folder.spec)}")
        try:
            absent = _absent_task(form)
            if absent:
                return Reading(folder.run_id, note=absent)
            spec, purpose, run_id, note = _parse_spec(form)
        # pydantic's ValidationError is a ValueError
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return _skipped(
                folder, f"spec.json is not of a run known here ({describe_error(error)})"
            )
        if run_id != folder.run_id:
            return _skipped(folder, f"a copy of run {run_id}")
        if run_id != spec.run_id:
            return Reading(run_id, note=NO_FIT)
        result = read_result(folder)
        is_torn = result is None and folder.result.exists()
        if is_torn:
            why = _because(folder.result)
            torn = f"{run_id}: result.json cannot be read{why}, the run counts as unfinished"
            note = "\n".join(filter(None, (torn, note)))
        lines = tuple(read_metrics(folder.metrics)) if self._history else ()
        record = make_record(run_id, spec, purpose, result, lines)
        if time.time() - folder_ns / 1e9 < SETTLED_S:
            stamp = UNSETTLED
        elif result is not None:
            stamp = f"final {folder_ns}"
        return Reading(run_id, record, stamp, note)


def make_record(
    run_id: str,
    spec: RunSpec,
    purpose: str,
    result: RunResult | None,
    history: tuple[Mapping[str, Any], ...],
) -> RunRecord:
    """Make the record of a run of this spec."""
    return RunRecord(
        run_id=run_id,
        config_id=spec.config_id,
        task=spec.task,
        settings=spec.settings,
        seed=spec.seed,
        purpose=purpose,
        outcome=result.outcome if result else None,
        result=result,
        history=history,
    )


def _list_folders(root: Path) -> dict[str, int]:
    """Return the time in ns of every folder in `root` that could be a run, by name."""
    try:
        with os.scandir(root) as entries:
            return {
                entry.name: entry.stat().st_mtime_ns
                for entry in entries
                if not entry.name.startswith(".")
                and entry.name not in GRID_FILES
                and entry.is_dir()
            }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{root}: cannot list the runs ({error.strerror})") from error


def _live_stamp(folder: RunFolder, folder_ns: int) -> str:
    files = (folder.spec, folder.metrics, folder.result)
    return " ".join(["live", str(folder_ns), *map(_file_stamp, files)])


def _file_stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_size}:{found.st_mtime_ns}"


def _skipped(folder: RunFolder, reason: str) -> Reading:
    return Reading(folder.run_id, note=f"{folder.run_id}: skipped, {reason}")


def _because(path: Path) -> str:
    """Return what is wrong with a file, in brackets; it is said here and nowhere else."""
    why = take_damage(path)
    return f" ({why})" if why else ""


def _absent_task(form: Mapping[str, Any]) -> str:
    """Return the sentence for a run whose task is not installed here; empty where it is."""
    task = form["spec"]["task"]
    if isinstance(task, str) and task not in TASKS:
        return f"skipped, task {task!r} is not installed here; install the package that brings it"
    return ""


def _parse_spec(form: Mapping[str, Any]) -> tuple[RunSpec, str, str, str]:
    """Return the run, its purpose, its id as written, and a note on settings that are not known."""
    told = form["spec"]
    values, note = known_settings(told["task"], told["settings"])
    spec = make_spec(told["task"], values, whole_seed(told["seed"]))
    return spec, options_from_json(form.get("options", {})).purpose, str(told["run_id"]), note


def whole_seed(seed: Any) -> int:
    """Return the seed of a run after checking it.

    Raises:
        ValueError: it is missing, or no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | float) or not float(seed).is_integer():
        raise ValueError(f"seed: expected a whole number, got {seed!r}")
    return int(seed)


def describe_error(error: Exception) -> str:
    """Say in one line what an exception says; of several faults of settings, the first."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or error.title
        return f"{place}: {fault['msg']}, got {fault['input']!r}"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    text = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
    return first_line(text)
