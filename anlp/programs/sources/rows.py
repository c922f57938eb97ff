"""Rows as a program logged them become one row for each epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from anlp.core.units import count

EPOCH = "epoch"
STEPS = ("step", "_step")
MOST_NAMES = 5  # in a sentence


def number_of(value: object) -> float | None:
    """Return a value as a number; None where it is none.

    >>> number_of(3), number_of(float("inf")), number_of(True), number_of("3")
    (3.0, inf, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def flatten(form: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and values; nested names are joined by dots, as wandb does.

    >>> dict(flatten({"loss": 1, "val": {"acc": 2}}))
    {'loss': 1, 'val.acc': 2}
    """
    for name, value in form.items():
        if isinstance(value, Mapping) and "_type" not in value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class EpochTable:
    """Values by epoch, as they come.

    The epoch of a row is in its column `epoch`; else in `step` or `_step`; else it is the number of
    the row. What decides is the best column that any row has and that has whole numbers only: where
    a row shows that another column would do better, the table `is_outdated`, and all rows are to be
    added to its `renewed` copy.

    A value replaces an earlier one of its name and epoch. Where the epochs of a name go back, the
    program continues from an earlier state: the later values of this name are dropped.
    """

    def __init__(self) -> None:
        self.is_outdated = False
        self.column = ""  # that tells the epoch; empty: rows are counted
        self.left_out: Counter[str] = Counter()  # values that are no numbers, by name
        self._columns = [EPOCH, *STEPS]  # the best first
        self._fit: set[str] = set()  # columns that some row has
        self._unfit: set[str] = set()  # those with other values than whole numbers
        self._rows: dict[int, dict[str, float]] = {}
        self._epochs_of: dict[str, list[int]] = {}  # by name, ascending
        self._waiting: dict[str, float] = {}  # of rows without an epoch, for the next epoch
        self._added = self._joined = self._repeated = self._went_back = 0
        self._changed_from: int | None = None

    def renewed(self) -> EpochTable:
        """Return an empty table with what is known of the columns."""
        fresh = EpochTable()
        fresh._columns, fresh._fit, fresh._unfit = self._columns, self._fit, self._unfit
        fresh.column = self._best_column()
        return fresh

    def declare(self, column: str) -> None:
        """Count by this column where there is no `epoch`: the program says that it is its step."""
        if column and column not in self._columns:
            self._columns.insert(1, column)

    def add(self, row: Mapping[str, object]) -> None:
        """Add a row as it was logged, with flat names."""
        self._learn_columns(row)
        values = dict(self._numbers_in(row))
        epoch = self._added if not self.column else _whole(row.get(self.column))
        self._added += 1
        if epoch is None:
            self._waiting |= values
            self._joined += bool(values)
            return
        self._put(epoch, {**self._waiting, **values})
        self._waiting.clear()

    def is_column(self, name: str) -> bool:
        """Return whether a name counts rows, so that it is no metric."""
        return name in self._columns

    @property
    def has_rows(self) -> bool:
        """Return whether there is a value."""
        return bool(self._epochs_of or self._waiting)

    def epochs(self) -> Collection[int]:
        """Return the epochs that have had values, in no order."""
        return self._rows.keys()

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each epoch that has values, in order."""
        return [
            {EPOCH: epoch, **self._rows[epoch]} for epoch in sorted(self._rows) if self._rows[epoch]
        ]

    def last_values(self) -> dict[str, float]:
        """Return the value of each name at its last epoch."""
        return {
            name: self._rows[epochs[-1]][name] for name, epochs in self._epochs_of.items() if epochs
        } | self._waiting

    def close(self) -> None:
        """Add what waits for an epoch to the last one: there is no other."""
        if self._waiting:
            self._put(max(self._rows, default=0), self._waiting)
            self._waiting = {}

    def take_changed_from(self) -> int | None:
        """Return the first epoch with changes since the last call, None where there are none."""
        first, self._changed_from = self._changed_from, None
        return first

    def notes(self) -> list[str]:
        """Return what people should know about how the rows came about."""
        found = []
        if self._rows and not self.column:
            found.append("rows have no column `epoch` or `step`; they are numbered as they came")
        elif self._rows:
            found.append(f"rows are numbered by `{self.column}`")
        found += [
            f"`{name}` has values that are no whole numbers and does not number rows"
            for name in sorted(self._unfit)
        ]
        if self._joined:
            rows = count(self._joined, "row")
            found.append(f"{rows} without `{self.column}` belong to the next one that has it")
        if self._repeated:
            found.append("rows of one epoch are merged; the last value of each name stays")
        if self._went_back:
            found.append(
                f"`{self.column}` went back {count(self._went_back, 'time')}: the values that came "
                "later replace those from there on"
            )
        if self.left_out:
            found.append(_left_out_sentence(self.left_out))
        return found

    def _learn_columns(self, row: Mapping[str, object]) -> None:
        for name in self._columns:
            value = number_of(row.get(name))
            if value is not None and math.isfinite(value):
                (self._fit if value.is_integer() else self._unfit).add(name)
        best = self._best_column()
        if best != self.column:
            self.is_outdated |= self._added > 0
            self.column = best

    def _best_column(self) -> str:
        fit = self._fit - self._unfit
        return next((name for name in self._columns if name in fit), "")

    def _numbers_in(self, row: Mapping[str, object]) -> Iterator[tuple[str, float]]:
        media = {name.removesuffix("._type") for name in row if name.endswith("._type")}
        for name, value in row.items():
            if name in self._columns or name.startswith("_") or value is None:
                continue
            number = number_of(value)
            medium = next((each for each in media if name.startswith(f"{each}.")), None)
            if medium is not None:  # an image has numbers, too: its width and height
                self.left_out[medium] += name == f"{medium}._type"
            elif number is None:
                self.left_out[name] += 1
            else:
                yield name, number

    def _put(self, epoch: int, values: Mapping[str, float]) -> None:
        if not values:
            return
        row = self._rows.setdefault(epoch, {})
        self._repeated += any(name in row for name in values)
        first, goes_back = epoch, False
        for name, value in values.items():
            epochs = self._epochs_of.setdefault(name, [])
            while epochs and epochs[-1] > epoch:
                del self._rows[epochs.pop()][name]
                goes_back = True
            if not epochs or epochs[-1] < epoch:
                epochs.append(epoch)
            row[name] = value
        self._went_back += goes_back
        self._changed_from = first if self._changed_from is None else min(first, self._changed_from)


def _whole(value: object) -> int | None:
    number = number_of(value)
    return int(number) if number is not None and number.is_integer() else None


def _left_out_sentence(left_out: Mapping[str, int]) -> str:
    names = sorted(left_out)
    shown = ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
    return f"{count(sum(left_out.values()), 'value')} that are no numbers are left out: {shown}"
