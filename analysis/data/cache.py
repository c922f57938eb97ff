"""Keep what was read of a grid's runs in columns, so that only what changed is read again.

Everything in the cache can be read again, and is where the cache is damaged, of another version or
removed. It is two Parquet files and an index with their checksums, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.data.arrow import join_tables
from analysis.data.frames import RUN_COLUMNS, empty_history, history_table, run_row, runs_table
from analysis.data.source import Reading, Source, told
from anlp.console.progress import PATIENCE_S, Progress
from anlp.core.files import write_whole
from anlp.core.spec import TaskSettings
from anlp.core.version import __version__
from anlp.records.files import read_json, write_json
from anlp.records.results import RunRecord
from anlp.tasks import TASKS

FORM = 3  # of the tables below
# private columns of the runs: two of `Reading`, how many rows of `history`, and the provenance of
# the result as JSON text, null while there is no result
STAMP, NOTE, EPOCHS, PROVENANCE = "_stamp", "_note", "_epochs", "_provenance"
PRIVATE_TYPES = {STAMP: pa.string(), NOTE: pa.string(), EPOCHS: pa.int64(), PROVENANCE: pa.string()}
BLOCK = 500  # runs that are in memory as records at a time
SAVE_EVERY_S = 20.0  # what an interruption of a long reading may cost


@dataclass(frozen=True, slots=True)
class RunTables:
    """Runs in columns."""

    runs: pa.Table  # in the order of the ids
    # the epochs of the first run, of the second, ...; empty where they were not asked for
    history: pa.Table

    def by_name(self) -> dict[str, pa.Table]:
        """Return both tables by name."""
        return {"runs": self.runs, "history": self.history}


class Cache:
    """The cache in a folder.

    Args:
        folder: made when something is written; nothing else is kept there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index.json"
        self._found: Mapping[str, Any] = {}  # the index as it was when the runs were read

    @property
    def exists(self) -> bool:
        """Return whether something was kept here before."""
        return self._index.exists()

    def read_runs(self) -> pa.Table | None:
        """Return the runs, None where the cache is missing or damaged."""
        self._found = read_json(self._index) or {}
        return self._read_table("runs") if self._found.get("version") == _version() else None

    def read_history(self, runs: pa.Table) -> pa.Table | None:
        """Return the epochs of these runs, None where they are missing or damaged."""
        history = self._read_table("history")
        if history is None or history.num_rows != sum(runs[EPOCHS].to_pylist()):
            return None
        return history

    def write(self, tables: RunTables) -> None:
        """Replace what was there; a reader sees old or new runs, with their own epochs.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = {name: self._write_table(table, name) for name, table in tables.by_name().items()}
        write_json(self._index, {"version": _version(), **entries})
        kept = {self._index.name, *(entry["file"] for entry in entries.values())}
        for path in self._folder.glob("*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _read_table(self, name: str) -> pa.Table | None:
        try:
            entry = self._found[name]
            content = (self._folder / Path(entry["file"]).name).read_bytes()
            # Parquet has checksums for its pages only, not for its schema
            return (
                pq.ParquetFile(BytesIO(content)).read()
                if crc32(content) == entry["crc32"]
                else None
            )
        except (KeyError, TypeError, OSError, pa.ArrowException):  # missing, or not of this form
            return None

    def _write_table(self, table: pa.Table, name: str) -> dict[str, Any]:
        sink = BytesIO()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue()
        file = f"{name}-{uuid.uuid4().hex[:12]}.parquet"
        write_whole(self._folder / file, content)
        return {"file": file, "crc32": crc32(content)}


def read_tables(source: Source, cache: Cache, *, history: bool) -> tuple[RunTables, list[str]]:
    """Return what the source has, and notes on what could not be read.

    As little as possible is read.

    Args:
        source: is asked only for what the cache does not have as it is there.
        cache: is brought up to date.
        history: whether the epochs are wanted, too.
    """
    known = cache.read_runs()
    wanted = source.run_ids()
    kept = [] if known is None else _current_rows(known, source, wanted)
    if known is not None and len(kept) == len(wanted) == known.num_rows:
        epochs = cache.read_history(known) if history else empty_history()
        if epochs is not None:
            return RunTables(known, epochs), [*source.notes(), *told(_notes(known))]
    tables, notes = _Collection(cache, known, kept).complete(source, wanted)
    return tables, [*source.notes(), *notes]


def read_all(source: Source) -> list[Reading]:
    """Read every run of the source now, in the order of the ids."""
    wanted = source.run_ids()
    with Progress("reading runs", len(wanted)) as progress:
        found = list(progress.over(source.read(wanted)))
    return sorted(found, key=lambda reading: reading.run_id)


class _Collection:
    """Runs collected in columns: some from the cache, the others as they are read."""

    def __init__(self, cache: Cache, known: pa.Table | None, kept: list[int]) -> None:
        self._cache = cache
        self._pulled = _keep(known, kept, cache)
        self._is_kept = known is not None and self._pulled.runs.num_rows == known.num_rows
        self._parts: list[RunTables] = []
        self._block: list[Reading] = []
        self._saved_at = time.monotonic()

    def complete(self, source: Source, wanted: Sequence[str]) -> tuple[RunTables, list[str]]:
        """Read what is missing; what was read before an interruption is in the cache."""
        have = set(self._pulled.runs["run_id"].to_pylist())
        missing = [run_id for run_id in wanted if run_id not in have]
        notes, trouble = _notes(self._pulled.runs), ""
        with Progress("reading runs", len(missing)) as progress:
            try:
                for reading in progress.over(source.read(missing)):
                    notes += [(reading.run_id, reading.note)] if reading.note else []
                    self._add(reading)
            finally:  # Ctrl-C, or a server that gives up
                trouble = self._save()
        said = told(notes)
        if trouble and progress.seconds > PATIENCE_S:
            said.append(f"nothing of this is kept for the next time ({trouble})")
        return self._pulled, said

    def _add(self, reading: Reading) -> None:
        if reading.record is not None:
            self._block.append(reading)
        if len(self._block) == BLOCK:
            self._fold()
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self._save()

    def _fold(self) -> None:
        """Turn records into columns, which take a twentieth of the memory."""
        if self._block:
            self._parts.append(_columns(self._block))
            self._block = []

    def _save(self) -> str:
        """Write everything so far to the cache; return why that failed, empty where it did not."""
        self._fold()
        if self._is_kept and not self._parts:
            return ""
        if not self._parts and not self._pulled.runs.num_rows and not self._cache.exists:
            return ""  # no run, so perhaps no grid: nothing is written into a stranger's folder
        self._pulled, self._parts = _join([self._pulled, *self._parts]), []
        try:
            self._cache.write(self._pulled)
        except OSError as error:
            return str(error)
        finally:
            self._saved_at = time.monotonic()
        return ""


def _current_rows(runs: pa.Table, source: Source, wanted: Sequence[str]) -> list[int]:
    there = set(wanted)
    known = zip(runs["run_id"].to_pylist(), runs[STAMP].to_pylist(), strict=True)
    return [
        row
        for row, (name, stamp) in enumerate(known)
        if name in there and source.is_current(name, stamp)
    ]


def _notes(runs: pa.Table) -> list[tuple[str, str]]:
    """Return id and note of each run that has one."""
    pairs = zip(runs["run_id"].to_pylist(), runs[NOTE].to_pylist(), strict=True)
    return [(run_id, note) for run_id, note in pairs if note]


def _keep(known: pa.Table | None, rows: list[int], cache: Cache) -> RunTables:
    """Keep these rows of the cache with their epochs; none where its epochs cannot be read."""
    epochs = None if known is None or not rows else cache.read_history(known)
    return (
        _columns([])
        if known is None or epochs is None
        else _take(RunTables(known, epochs), np.asarray(rows))
    )


def _columns(readings: Sequence[Reading]) -> RunTables:
    found = [(reading, reading.record) for reading in readings if reading.record is not None]
    history = history_table([record for _, record in found])
    counts = {
        found["values"]: found["counts"] for found in history["run_id"].value_counts().to_pylist()
    }
    private = (
        {STAMP: reading.stamp, NOTE: reading.note, EPOCHS: counts.get(reading.run_id, 0)}
        for reading, _ in found
    )
    rows = [
        {**run_row(record), **more, PROVENANCE: _provenance(record)}
        for (_, record), more in zip(found, private, strict=True)
    ]
    return RunTables(runs_table(rows, PRIVATE_TYPES), history)


def _provenance(record: RunRecord) -> str | None:
    return json.dumps(dict(record.result.provenance)) if record.result else None


def _join(parts: Sequence[RunTables]) -> RunTables:
    runs = join_tables([part.runs for part in parts])
    history = join_tables([part.history for part in parts])
    return _take(RunTables(runs, history), np.argsort(runs["run_id"].to_numpy()))


def _take(tables: RunTables, rows: npt.NDArray[np.int64]) -> RunTables:
    """Return these runs, in this order, with their epochs."""
    counts = tables.runs[EPOCHS].to_numpy()
    ends = np.cumsum(counts)
    taken = counts[rows]
    # the epochs of each run are consecutive: its first one, and how far into the run each is
    first = np.repeat((ends - counts)[rows], taken)
    within = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    return RunTables(tables.runs.take(rows), tables.history.take(first + within))


def _version() -> str:
    """Return what rows depend on beside the files: this program and the settings of the tasks."""
    tasks = {name: _settings_form(task.settings) for name, task in TASKS.items()}
    text = json.dumps([FORM, __version__, RUN_COLUMNS, tasks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings_form(settings: type[TaskSettings]) -> list[Any]:
    fields = {
        name: (str(field.annotation), repr(field.default))
        for name, field in settings.model_fields.items()
    }
    only_for = {
        name: (rule.setting, sorted(rule.values)) for name, rule in settings.only_for.items()
    }
    return [fields, only_for, dict(settings.neutral)]
