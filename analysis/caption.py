"""The sentences under a results table: what its numbers are, how the rows were chosen, what was left out."""

from __future__ import annotations

from analysis.metrics import is_share
from analysis.stats import z_coverage
from analysis.tabulate import MIN_SEEDS, Row, Table

METHOD_NAMES = {"t": "Student t", "z": "normal (z)"}


def render_caption(table: Table) -> str:
    """One paragraph of plain text."""
    rows = [row for row in table.rows if not row.name]
    parts = [_measure(table, rows), _selection(table), _purpose(table, rows), _left_out(table, rows)]
    return " ".join(part for part in parts if part)


def purposes(table: Table) -> set[str]:
    """The purposes of the runs behind the rows; rows say theirs only where there are several."""
    return {row.purpose for row in table.rows if not row.name}


def _measure(table: Table, rows: list[Row]) -> str:
    plan = table.plan
    split = plan.report.partition("/")[0]
    samples = f" ({table.samples:,} samples)" if table.samples else ""
    unit = " in %" if is_share(plan.report) else ""
    return f"{plan.report}{unit} on the {split} set{samples}: {_interval(table, rows)}"


def _interval(table: Table, rows: list[Row]) -> str:
    plan, counts = table.plan, {row.n for row in rows}
    with_interval = sorted(n for n in counts if n >= MIN_SEEDS)
    if not with_interval:
        most = max(counts, default=0)
        seeds = "one seed per configuration" if most <= 1 else "both values where there are two seeds"
        return f"{seeds}, no interval (that takes at least {MIN_SEEDS} seeds)."
    text = f"mean ± {100 * plan.level:g} % {METHOD_NAMES[plan.method]} interval over n = {_range(with_interval)} seeds"
    if plan.method == "z":
        n = with_interval[0]
        text += f" (with n = {n} it covers the true mean in {100 * z_coverage(n, plan.level):.1f} % of cases only)"
    few = " Rows with fewer seeds show their values without an interval." if min(counts) < MIN_SEEDS else ""
    return f"{text}.{few}"


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _selection(table: Table) -> str:
    plan, count = table.plan, table.n_configurations
    by = f"mean {plan.select} over the search runs"
    searched = "configuration" if count == 1 else "configurations"
    only = f" among runs with {plan.only}" if plan.only else ""
    if plan.top is None and plan.per is None:
        rule = f"The one {searched} searched" if count == 1 else f"All {count} {searched} searched, ranked by {by}"
    else:
        best = "best" if (plan.top or 1) == 1 else f"best {plan.top}"
        rule = f"The {best}{f' per {plan.per}' if plan.per else ''} of {count} {searched} searched, by {by}"
    return f"{rule}{only}."


def _purpose(table: Table, rows: list[Row]) -> str:
    found = purposes(table)
    optimistic = "selected and reported on the same runs, so the best of them are optimistic"
    if found == {"confirm"}:
        return "Reported on confirm runs only: fresh seeds that took no part in the selection."
    if "confirm" in found:
        return f"Rows marked confirm are reported on fresh seeds only; rows marked search are {optimistic}."
    if len(rows) > 1 or table.n_configurations > 1:
        return f"Rows are {optimistic}."
    return ""


def _left_out(table: Table, rows: list[Row]) -> str:
    count = sum(table.left_out.values())
    if not count:
        return ""
    reasons = ", ".join(f"{number} {reason}" for reason, number in table.left_out.items())
    text = f"{count} of {table.n_runs} runs left out: {reasons}."
    short = next((row for row in rows if 0 < row.n < row.n_total), None)
    if short:
        text += f" n = {short.n}/{short.n_total} seeds: the score is over the {short.n} that finished."
    if short and not any(row.is_best and row.n < row.n_total for row in rows):
        text += " Rows that lost seeds are not marked best."
    return text
