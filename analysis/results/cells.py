"""A results table as plain cells and as raw values, before any format."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.stats.intervals import Interval
from analysis.text.levels import NOTHING, level_key, render_level
from analysis.text.metrics import is_share, label, render_value, render_values
from analysis.text.sheet import Mark, Sheet
from anlp.core.metrics import higher_is_better

EFFECT_COLUMNS = ("best_minus_this", "difference_lo", "difference_hi", "p_best_is_better_seed")


def make_sheet(table: Table) -> Sheet:
    """What every format but CSV and JSON prints; whatever is the same in all rows is left to the caption."""
    if table.plan.pivot is not None:
        return _pivot_sheet(table, *table.plan.pivot)
    plan = table.plan
    shows_selection = plan.select != plan.report
    shows_confirmed = any(row.purpose == "confirm" for row in table.rows)
    scores = ("selected", "confirmed") if shows_confirmed else ("",)
    heads = [
        *(table.settings or ("configuration",)),
        *(["updates/epoch"] if _shows_updates(table) else []),
        "n",
    ]
    heads += [f"mean {label(plan.select)}"] if shows_selection else []
    heads += [f"{prefix} {label(plan.report)}".strip() for prefix in scores]
    numeric = [
        all(_is_number(row.levels[i]) for row in table.rows) for i in range(len(table.settings))
    ] or [False]
    numeric[0] = False  # the names of the baselines stand there
    lines = [
        _cells(row, table, shows_selection=shows_selection, shows_confirmed=shows_confirmed)
        for row in table.rows
    ]
    column = [
        len(heads) - 1 - (shows_confirmed and not row.name and row.purpose != "confirm")
        for row in table.rows
    ]
    return Sheet(
        heads=tuple(heads),
        is_number=(*numeric, *[True] * (len(heads) - len(numeric))),
        lines=tuple(lines),
        marks={(i, column[i]): mark for i, row in enumerate(table.rows) if (mark := _mark(row))},
        rules=frozenset(_rules(table)),
    )


def _pivot_sheet(table: Table, down: str, across: str) -> Sheet:
    """A line per level of `down`, a column per level of `across`."""
    rows = [row for row in table.rows if not row.name]
    places = [
        (row.levels[table.settings.index(down)], row.levels[table.settings.index(across)])
        for row in rows
    ]
    line_levels = sorted({_level(a) for a, _ in places}, key=level_key)
    column_levels = sorted({_level(b) for _, b in places}, key=level_key)
    cells = {
        (line_levels.index(_level(a)), column_levels.index(_level(b))): row
        for (a, b), row in zip(places, rows, strict=True)
    }
    lines = [
        (
            render_level(level),
            *(_pivot_cell(cells.get((i, j)), table) for j in range(len(column_levels))),
        )
        for i, level in enumerate(line_levels)
    ]
    baselines = [
        (row.name, *[""] * (len(column_levels) - 1), _score(row, table))
        for row in table.rows
        if row.name
    ]
    return Sheet(
        heads=(f"{down} \\ {across}", *map(render_level, column_levels)),
        is_number=(False, *[True] * len(column_levels)),
        lines=(*lines, *baselines),
        marks={(i, j + 1): mark for (i, j), row in cells.items() if (mark := _mark(row))},
        rules=frozenset({len(lines)} if baselines else ()),
    )


def _pivot_cell(row: Row | None, table: Table) -> str:
    if row is None:
        return NOTHING
    failed = f"{_count(row)}: " if not row.is_complete else ""
    return f"{failed}{_score(row, table)}"


def _rules(table: Table) -> Iterator[int]:
    for index, (before, row) in enumerate(pairwise(table.rows), 1):
        is_first_baseline = bool(row.name) and not before.name
        if is_first_baseline or (not row.name and str(row.group) != str(before.group)):
            yield index


def _mark(row: Row) -> Mark | None:
    return "best" if row.is_best else "tied" if row.is_tied else None


def _cells(
    row: Row, table: Table, *, shows_selection: bool, shows_confirmed: bool
) -> tuple[str, ...]:
    levels = [render_level(level) for level in row.levels] or [row.config_id]
    if row.name:
        levels = [row.name, *[""] * (len(levels) - 1)]
    if _shows_updates(table):
        levels.append("" if row.name else NOTHING if row.updates is None else f"{row.updates:,}")
    cells = [*levels, _count(row)]
    if shows_selection:
        cells.append(
            "" if row.selected_by is None else render_value(table.plan.select, row.selected_by)
        )
    if not shows_confirmed:
        return (*cells, _score(row, table))
    if row.name:
        return (*cells, "", _score(row, table))
    if row.purpose != "confirm":
        return (*cells, _score(row, table), NOTHING)
    selected = (
        NOTHING if row.optimistic is None else render_value(table.plan.report, row.optimistic)
    )
    return (*cells, selected, _score(row, table))


def _shows_updates(table: Table) -> bool:
    """Where batch sizes differ, so does how often a net is changed, which explains more than the size itself."""
    return "batch_size" in table.settings


def _count(row: Row) -> str:
    if row.name:
        return ""
    if row.is_complete:
        return str(row.n)
    return (
        f"{row.n_trained}/{row.n_total} trained" if row.n_failed else f"{row.n}/{row.n_total} seeds"
    )


def _score(row: Row, table: Table) -> str:
    """Mean and interval, or both values of two seeds, or the one there is."""
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
    """For display only: no share lies outside 0 and 100 %."""
    if not is_share(metric):
        return interval.low, interval.high
    return max(interval.low, 0.0), min(interval.high, 1.0)


def raw_cells(row: Row, table: Table) -> dict[str, Any]:
    """A row with its numbers as they are; the same names for every row of a table."""
    plan, interval, trained = table.plan, row.interval, row.trained_share
    sign = 1.0 if higher_is_better(plan.report) else -1.0
    effect = row.effect and {
        "best_minus_this": sign * row.effect.difference,
        "difference_lo": _known(min(sign * row.effect.low, sign * row.effect.high)),
        "difference_hi": _known(max(sign * row.effect.low, sign * row.effect.high)),
        "p_best_is_better_seed": row.effect.superiority,
    }
    return {
        "row": row.name or "configuration",
        "config_id": row.config_id,
        **{
            name: None if level != level else level
            for name, level in zip(table.settings, row.levels, strict=True)
        },
        "runs": row.purpose,
        **({f"mean {plan.select}": row.selected_by} if plan.select != plan.report else {}),
        plan.report: row.mean,
        "sd": row.sd,
        "lo": interval and interval.low,
        "hi": interval and interval.high,
        "interval": interval and interval.method,
        "n": row.n,
        "n_total": row.n_total,
        "median": statistics.median(row.scores) if row.scores else None,
        "min": min(row.scores, default=None),
        "max": max(row.scores, default=None),
        "n_trained": None if row.name else row.n_trained,
        "trained_lo": trained and trained.low,
        "trained_hi": trained and trained.high,
        "mean_of_all": row.mean if row.plain_mean is None and not row.n_failed else row.plain_mean,
        "selected": row.optimistic if row.purpose == "confirm" else None if row.name else row.mean,
        "confirmed": row.mean if row.purpose == "confirm" else None,
        "mark": _mark(row) or "",
        "p": row.p,
        **(effect or dict.fromkeys(EFFECT_COLUMNS)),
        "seconds": row.seconds,
        "updates_per_epoch": row.updates,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _level(level: Any) -> Any:
    """No two NaN are the same key."""
    return None if level != level else level


def _is_number(level: Any) -> bool:
    return level is None or (isinstance(level, int | float) and not isinstance(level, bool))
