"""A results table as plain cells and as raw values, before any format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis.caption import purposes
from analysis.metrics import label, render_value, render_values
from analysis.tabulate import Row, Table

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Sheet:
    """The table as plain cells, before any format; the last column holds the score."""

    heads: tuple[str, ...]
    is_number: tuple[bool, ...]  # per column: set to the right
    lines: tuple[tuple[str, ...], ...]
    best: tuple[bool, ...]  # per line
    n_baselines: int  # the last lines

    def is_first_baseline(self, index: int) -> bool:
        """Whether a rule goes above this line."""
        return bool(self.n_baselines) and index == len(self.lines) - self.n_baselines


def render_level(level: Any) -> str:
    """A setting's value as people write it; a value without effect is a dash."""
    if level is None or level != level:
        return NOTHING
    if isinstance(level, bool):
        return str(level).lower()
    if not isinstance(level, float):
        return str(level).replace("\n", " ")
    short = f"{level:.6g}"
    return short if math.isclose(float(short), level, rel_tol=1e-9) else repr(level)


def make_sheet(table: Table) -> Sheet:
    """What every format but CSV and JSON prints; whatever is the same in all rows is left to the caption."""
    plan = table.plan
    shows_selection = plan.select != plan.report
    shows_purpose = len(purposes(table)) > 1
    names = table.settings or ("configuration",)
    heads = [*names, *(["runs"] if shows_purpose else []), "n"]
    heads += [f"mean {label(plan.select)}"] if shows_selection else []
    heads.append(label(plan.report))
    lines = [_cells(row, table, shows_selection=shows_selection, shows_purpose=shows_purpose) for row in table.rows]
    numeric = [all(_is_number(row.levels[i]) for row in table.rows) for i in range(len(table.settings))] or [False]
    numeric[0] = False  # the names of the baselines stand there
    return Sheet(
        heads=tuple(heads),
        is_number=(*numeric, *([False] if shows_purpose else []), *[True] * (2 + shows_selection)),
        lines=tuple(lines),
        best=tuple(row.is_best for row in table.rows),
        n_baselines=sum(bool(row.name) for row in table.rows),
    )


def _cells(row: Row, table: Table, *, shows_selection: bool, shows_purpose: bool) -> tuple[str, ...]:
    levels = [render_level(level) for level in row.levels] or [row.config_id]
    if row.name:
        levels = [row.name, *[""] * (len(levels) - 1)]
    cells = [*levels, *([row.purpose] if shows_purpose else []), _count(row)]
    if shows_selection:
        cells.append("" if row.selected_by is None else render_value(table.plan.select, row.selected_by))
    return (*cells, _score(row, table.plan.report))


def _count(row: Row) -> str:
    if row.name:
        return ""
    return str(row.n) if row.n == row.n_total else f"{row.n}/{row.n_total} seeds"


def _score(row: Row, metric: str) -> str:
    """Mean and interval, or both values of two seeds, or the one there is."""
    if row.mean is None:
        return NOTHING
    if row.interval:
        return " ± ".join(render_values(metric, row.mean, row.interval.half_width))
    return ", ".join(render_values(metric, *(row.scores or (row.mean,))))


def raw_cells(row: Row, table: Table) -> dict[str, Any]:
    """A row with its numbers as they are; the same names for every row of a table."""
    plan, interval = table.plan, row.interval
    return {
        "row": row.name or "configuration",
        "config_id": row.config_id,
        **{name: None if level != level else level for name, level in zip(table.settings, row.levels, strict=True)},
        "runs": row.purpose,
        **({f"mean {plan.select}": row.selected_by} if plan.select != plan.report else {}),
        plan.report: row.mean,
        "sd": row.sd,
        "lo": interval and interval.low,
        "hi": interval and interval.high,
        "n": row.n,
        "n_total": row.n_total,
    }


def _is_number(level: Any) -> bool:
    return level is None or (isinstance(level, int | float) and not isinstance(level, bool))
