"""Everything that a program's run left, from the first source that has it.

The order: what the program logs with wandb, JSON lines in `$ANLP_METRICS`, TensorBoard's event
files, the end of stdout. Rows come from the first source that has any; a value of the summary from
the first that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anlp.programs.sources.json_lines import JsonLines
from anlp.programs.sources.rows import EpochTable, number_of
from anlp.programs.sources.stdout_values import values_in
from anlp.programs.sources.tensorboard import EventFiles
from anlp.programs.sources.wandb_runs import WandbRun


@dataclass(frozen=True, slots=True)
class Collected:
    """What a program's run left.

    Args:
        source: where the rows come from: `wandb`, `$ANLP_METRICS`, `TensorBoard`, or empty.
        rows: one for each epoch: `{"epoch": 1, "val/acc": 0.5}`; NaN and infinity stay.
        summary: the last value of each name, or what the program says that its summary is.
        config: that the program gave to wandb.
        notes: sentences on what people should know about it.
    """

    source: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


_Source = WandbRun | JsonLines | EventFiles


class Collector:
    """Collects while a program runs; `look` reads what is new.

    Args:
        wandb_folders: where the program may write what it logs with wandb.
        run_id: that it is given in WANDB_RUN_ID.
        metrics: the file that it is given in ANLP_METRICS.
        events: the folder with its event files.
    """

    def __init__(
        self, *, wandb_folders: Sequence[Path], run_id: str, metrics: Path, events: Path
    ) -> None:
        self._wandb = WandbRun(wandb_folders, run_id)
        self._lines = JsonLines(metrics)
        self._events = EventFiles(events)
        self._empty = EpochTable()
        self._tables = {name: EpochTable() for name in ("wandb", "$ANLP_METRICS", "TensorBoard")}

    def look(self) -> int | None:
        """Read what is new; return the first epoch that it changes, None where it changes none.

        The rows before that epoch are as they were.
        """
        before = self._table()
        self._look_at("wandb", self._wandb)
        self._look_at("$ANLP_METRICS", self._lines)
        self._look_at("TensorBoard", self._events)
        table = self._table()
        if table is before:
            return table.take_changed_from()
        table.take_changed_from()  # another source or another column: all rows are new
        return min([*before.epochs(), *table.epochs()], default=None)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the first source that has any."""
        return self._table().rows()

    def finish(self, last_stdout: str = "") -> Collected:
        """Return everything, when the program has ended."""
        self.look()
        for row in self._events.last_rows():
            self._tables["TensorBoard"].add(row)
        for table in self._tables.values():
            table.close()
        table = self._table()
        return Collected(
            source=self._source(),
            rows=table.rows(),
            summary=self._summary(last_stdout),
            config=self._wandb.config,
            notes=[*table.notes(), *self._notes()],
        )

    def _notes(self) -> Iterator[str]:
        for source in (self._wandb, self._lines, self._events):
            yield from source.notes()

    def _source(self) -> str:
        return next((name for name, table in self._tables.items() if table.has_rows), "")

    def _table(self) -> EpochTable:
        return self._tables.get(self._source(), self._empty)

    def _look_at(self, name: str, source: _Source) -> None:
        """Add the new rows of a source; begin again where all rows are to be seen otherwise."""
        while True:
            table = self._tables[name]
            for row in source.new_rows():
                if source is self._wandb:
                    table.declare(self._wandb.step_column)
                table.add(row)
                if table.is_outdated or source.must_restart:
                    break
            if not (table.is_outdated or source.must_restart):
                return
            self._tables[name] = table.renewed() if table.is_outdated else EpochTable()
            source.rewind()

    def _summary(self, last_stdout: str) -> dict[str, float]:
        tables = self._tables
        found = [
            _wandb_summary(self._wandb.summary, tables["wandb"].left_out),
            *(table.last_values() for table in tables.values()),
            values_in(last_stdout),
        ]
        merged: dict[str, float] = {}
        for values in reversed(found):
            merged.update(values)
        return {name: merged[name] for name in merged if not tables["wandb"].is_column(name)}


def _wandb_summary(summary: Mapping[str, Any], left_out: Iterable[str]) -> dict[str, float]:
    """Return the numbers of wandb's summary, where NaN is null."""
    media = {name.removesuffix("._type") for name in summary if name.endswith("._type")}
    skipped = {*media, *left_out}
    found = {}
    for name, value in summary.items():
        number = float("nan") if value is None else number_of(value)
        parts = name.split(".")
        is_skipped = any(".".join(parts[:size]) in skipped for size in range(1, len(parts) + 1))
        if number is not None and not name.startswith("_") and not is_skipped:
            found[name] = number
    return found
