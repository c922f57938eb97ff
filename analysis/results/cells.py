"""The columns of a results table: what each one prints, and its raw value in CSV and JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.stats.intervals import Interval
from analysis.text.levels import NOTHING, is_missing, level_key, none_if_nan, render_level
from analysis.text.metrics import is_share, label, render_value, render_values
from analysis.text.tables import Cell, Mark, TextTable, plain_cells
from anlp.core.metrics import higher_is_better

EMPTY = Cell("")
UNKNOWN = Cell(NOTHING)


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its table."""

    row: Row
    table: Table


@dataclass(frozen=True, slots=True)
class Printed:
    """How a column is printed."""

    head: str
    cell: Callable[[Line], Cell]
    place: int = 0  # from left to right; settings are at 0
    is_number: bool = True  # aligned to the right
    is_shown: Callable[[Table], bool] | None = None  # None: always


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a results table: its raw values in CSV and JSON, and how it is printed.

    `name` and the head may contain `{select}` and `{report}`, the metrics of the table.
    """

    name: str  # in CSV and JSON
    raw: Callable[[Line], Any]  # numbers as they are, None for what is unknown
    printed: Printed | None = None  # None: in CSV and JSON only
    exists: Callable[[Table], bool] | None = None  # None: always


def make_text_table(table: Table) -> TextTable:
    """Make what every format but CSV and JSON prints."""
    if table.plan.pivot is not None:
        return _pivot(table, *table.plan.pivot)
    plan = table.plan
    columns = sorted(_printed(table), key=lambda column: column.place)
    labels = {"select": label(plan.select), "report": label(plan.report)}
    lines = [Line(row, table) for row in table.rows]
    return TextTable(
        heads=tuple(column.head.format(**labels) for column in columns),
        is_number=tuple(column.is_number for column in columns),
        lines=tuple(tuple(column.cell(line) for column in columns) for line in lines),
        rules=frozenset(_rules(table)),
    )


def raw_names(table: Table) -> list[str]:
    """Return the names of the columns in CSV."""
    metrics = {"select": table.plan.select, "report": table.plan.report}
    return [column.name.format(**metrics) for column in _columns(table)]


def raw_cells(row: Row, table: Table) -> dict[str, Any]:
    """Return the numbers of a row as they are, by the names of the columns."""
    line = Line(row, table)
    values = [column.raw(line) for column in _columns(table)]
    return dict(zip(raw_names(table), values, strict=True))


def _columns(table: Table) -> list[Column]:
    settings = [_setting(table, index, name) for index, name in enumerate(table.settings)]
    columns = [*NAMES, *settings, *COLUMNS]
    return [column for column in columns if column.exists is None or column.exists(table)]


def _printed(table: Table) -> list[Printed]:
    forms = [column.printed for column in _columns(table)]
    return [
        form
        for form in forms
        if form is not None and (form.is_shown is None or form.is_shown(table))
    ]


def _setting(table: Table, index: int, name: str) -> Column:
    """Make the column of a setting; names of baselines stand in the first one."""

    def raw(line: Line) -> Any:
        level = line.row.levels[index]
        return None if is_missing(level) else level

    def cell(line: Line) -> Cell:
        if line.row.name:
            return Cell(line.row.name) if index == 0 else EMPTY
        return Cell(render_level(line.row.levels[index]))

    is_number = index > 0 and all(_is_number(row.levels[index]) for row in table.rows)
    return Column(name, raw, Printed(name, cell, is_number=is_number))


def _updates(line: Line) -> Cell:
    if line.row.name:
        return EMPTY
    return UNKNOWN if line.row.updates is None else Cell(f"{line.row.updates:,}")


def _varies_batch_size(table: Table) -> bool:
    """Batch sizes differ, and so does the number of updates, which explains more than they do."""
    return "batch_size" in table.settings


def _selected_by(line: Line) -> Cell:
    if line.row.selected_by is None:
        return EMPTY
    return Cell(render_value(line.table.plan.select, line.row.selected_by))


def _selects_by_another(table: Table) -> bool:
    return table.plan.select != table.plan.report


def _has_confirmed(table: Table) -> bool:
    return any(row.purpose == "confirm" for row in table.rows)


def _has_no_confirmed(table: Table) -> bool:
    return not _has_confirmed(table)


def _score(line: Line) -> Cell:
    return Cell(_score_text(line.row, line.table), _mark(line.row))


def _selected(line: Line) -> Cell:
    """Render the score of the search runs, beside a column of confirmed scores."""
    if line.row.name:
        return EMPTY
    if line.row.purpose != "confirm":
        return _score(line)
    if line.row.optimistic is None:
        return UNKNOWN
    return Cell(render_value(line.table.plan.report, line.row.optimistic))


def _raw_selected(line: Line) -> float | None:
    if line.row.purpose == "confirm":
        return line.row.optimistic
    return None if line.row.name else line.row.mean


def _confirmed(line: Line) -> Cell:
    is_searched = not line.row.name and line.row.purpose != "confirm"
    return UNKNOWN if is_searched else _score(line)


def _count_cell(line: Line) -> Cell:
    return Cell(_count(line.row))


def _of_interval(name: str) -> Callable[[Line], Any]:
    def raw(line: Line) -> Any:
        return None if line.row.interval is None else getattr(line.row.interval, name)

    return raw


def _of_trained_share(name: str) -> Callable[[Line], Any]:
    def raw(line: Line) -> Any:
        share = line.row.trained_share
        return None if share is None else getattr(share, name)

    return raw


def _mean_of_all(line: Line) -> float | None:
    if line.row.plain_mean is None and not line.row.n_failed:
        return line.row.mean
    return line.row.plain_mean


def _of_effect(name: Literal["difference", "low", "high"]) -> Callable[[Line], Any]:
    """Read the difference between best and row, or its interval, in the metric's own direction."""

    def raw(line: Line) -> float | None:
        effect = line.row.effect
        if effect is None:
            return None
        if higher_is_better(line.table.plan.report):
            return none_if_nan(getattr(effect, name))
        mirrored = {"difference": effect.difference, "low": effect.high, "high": effect.low}
        return none_if_nan(-mirrored[name])

    return raw


def _superiority(line: Line) -> float | None:
    return None if line.row.effect is None else line.row.effect.superiority


def _median(line: Line) -> float | None:
    return statistics.median(line.row.scores) if line.row.scores else None


def _configuration(line: Line) -> Cell:
    return Cell(line.row.name or line.row.config_id)


def _has_no_settings(table: Table) -> bool:
    return not table.settings


NAMES = (
    Column("row", lambda line: line.row.name or "configuration"),
    Column(
        "config_id",
        lambda line: line.row.config_id,
        Printed("configuration", _configuration, is_number=False, is_shown=_has_no_settings),
    ),
)
# the columns after the settings, in the order of CSV
COLUMNS = (
    Column("runs", lambda line: line.row.purpose),
    Column(
        "mean {select}",
        lambda line: line.row.selected_by,
        Printed("mean {select}", _selected_by, place=3),
        exists=_selects_by_another,
    ),
    Column(
        "{report}",
        lambda line: line.row.mean,
        Printed("{report}", _score, place=4, is_shown=_has_no_confirmed),
    ),
    Column("sd", lambda line: line.row.sd),
    Column("lo", _of_interval("low")),
    Column("hi", _of_interval("high")),
    Column("interval", _of_interval("method")),
    Column("n", lambda line: line.row.n, Printed("n", _count_cell, place=2)),
    Column("n_total", lambda line: line.row.n_total),
    Column("median", _median),
    Column("min", lambda line: min(line.row.scores, default=None)),
    Column("max", lambda line: max(line.row.scores, default=None)),
    Column("n_trained", lambda line: None if line.row.name else line.row.n_trained),
    Column("trained_lo", _of_trained_share("low")),
    Column("trained_hi", _of_trained_share("high")),
    Column("mean_of_all", _mean_of_all),
    Column(
        "selected",
        _raw_selected,
        Printed("selected {report}", _selected, place=4, is_shown=_has_confirmed),
    ),
    Column(
        "confirmed",
        lambda line: line.row.mean if line.row.purpose == "confirm" else None,
        Printed("confirmed {report}", _confirmed, place=5, is_shown=_has_confirmed),
    ),
    Column("mark", lambda line: _mark(line.row) or ""),
    Column("p", lambda line: line.row.p),
    Column("best_minus_this", _of_effect("difference")),
    Column("difference_lo", _of_effect("low")),
    Column("difference_hi", _of_effect("high")),
    Column("p_best_is_better_seed", _superiority),
    Column("seconds", lambda line: line.row.seconds),
    Column(
        "updates_per_epoch",
        lambda line: line.row.updates,
        Printed("updates/epoch", _updates, place=1, is_shown=_varies_batch_size),
    ),
)


def _pivot(table: Table, down: str, across: str) -> TextTable:
    """Make a line per level of `down` and a column per level of `across`."""
    i_down, i_across = table.settings.index(down), table.settings.index(across)
    rows: dict[tuple[Any, Any], Row] = {}
    for row in table.rows:
        if not row.name:
            rows[_key(row.levels[i_down]), _key(row.levels[i_across])] = row
    line_levels = sorted({level for level, _ in rows}, key=level_key)
    column_levels = sorted({level for _, level in rows}, key=level_key)
    lines = []
    for level in line_levels:
        cells = [_pivot_cell(rows.get((level, other)), table) for other in column_levels]
        lines.append((Cell(render_level(level)), *cells))
    baselines = []
    for row in table.rows:
        if row.name:
            empty = plain_cells([""] * (len(column_levels) - 1))
            baselines.append((Cell(row.name), *empty, Cell(_score_text(row, table))))
    return TextTable(
        heads=(f"{down} \\ {across}", *map(render_level, column_levels)),
        is_number=(False, *[True] * len(column_levels)),
        lines=(*lines, *baselines),
        rules=frozenset({len(lines)} if baselines else ()),
    )


def _pivot_cell(row: Row | None, table: Table) -> Cell:
    if row is None:
        return UNKNOWN
    failed = "" if row.is_complete else f"{_count(row)}: "
    return Cell(f"{failed}{_score_text(row, table)}", _mark(row))


def _rules(table: Table) -> Iterator[int]:
    """Find the first baseline and the first row of each group."""
    for index, (before, row) in enumerate(pairwise(table.rows), 1):
        is_first_baseline = bool(row.name) and not before.name
        is_first_of_group = not row.name and str(row.group) != str(before.group)
        if is_first_baseline or is_first_of_group:
            yield index


def _mark(row: Row) -> Mark | None:
    if row.is_best:
        return "best"
    if row.is_equivalent:
        return "equivalent"
    return "tied" if row.is_tied else None


def _count(row: Row) -> str:
    """Write the number of seeds, and how many of them trained or finished where not all did."""
    if row.name:
        return ""
    if row.is_complete:
        return str(row.n)
    if row.n_failed:
        return f"{row.n_trained}/{row.n_total} trained"
    return f"{row.n}/{row.n_total} seeds"


def _score_text(row: Row, table: Table) -> str:
    """Write mean and interval, or both values of two seeds, or the one there is."""
    metric = table.plan.report
    if row.mean is None:
        return NOTHING
    if row.interval is None:
        text = ", ".join(render_values(metric, *(row.scores or (row.mean,))))
    elif row.interval.is_symmetric:
        text = " ± ".join(render_values(metric, row.mean, row.interval.half_width))
    else:
        mean, low, high = render_values(metric, row.mean, *_ends(row.interval, metric))
        text = f"{mean} [{low}, {high}]"
    if row.plain_mean is None or not row.n_trained or math.isclose(row.plain_mean, row.mean):
        return text
    return f"{text} (all: {render_values(metric, row.plain_mean)[0]})"


def _ends(interval: Interval, metric: str) -> tuple[float, float]:
    """Return the ends to display: no share lies outside 0 and 100 %."""
    if not is_share(metric):
        return interval.low, interval.high
    return max(interval.low, 0.0), min(interval.high, 1.0)


def _key(level: Any) -> Any:
    """Return a level as a key: two NaN are not equal, None is."""
    return None if is_missing(level) else level


def _is_number(level: Any) -> bool:
    return level is None or (isinstance(level, int | float) and not isinstance(level, bool))
