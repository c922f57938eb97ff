"""The sentences under a results table: what its numbers are, how the rows were chosen, what was left out."""

from __future__ import annotations

from analysis.results.rows import MIN_SEEDS, Row
from analysis.results.table import Table
from analysis.results.ties import render_ties
from analysis.stats.intervals import BOOTSTRAP_SEEDS, z_coverage
from analysis.text.metrics import is_share, render_value

METHOD_NAMES = {"t": "Student t", "z": "normal (z)", "bootstrap-t": "bootstrap-t"}


def render_caption(table: Table) -> str:
    """One paragraph of plain text."""
    rows = [row for row in table.rows if not row.name]
    ties = render_ties(table.ties, table.plan.by or "")
    parts = [
        _measure(table, rows),
        _selection(table),
        _purpose(table, rows),
        ties,
        _left_out(table, rows),
    ]
    return " ".join(part for part in parts if part)


def _measure(table: Table, rows: list[Row]) -> str:
    plan = table.plan
    split = plan.report.partition("/")[0]
    samples = f" ({table.samples:,} samples)" if table.samples else ""
    unit = " in %" if is_share(plan.report) else ""
    return f"{plan.report}{unit} on the {split} set{samples}: {_interval(table, rows)}"


def _interval(table: Table, rows: list[Row]) -> str:
    plan = table.plan
    counts = {(row.interval.method if row.interval else "", row.n) for row in rows if row.n}
    over_seeds = [
        (method, sorted(n for other, n in counts if other == method)) for method in METHOD_NAMES
    ]
    parts = [
        f"mean ± {100 * plan.level:g} % {METHOD_NAMES[method]} interval over n = {_range(found)} seeds"
        for method, found in over_seeds
        if found
    ]
    single = _single(table, counts)
    if not parts:
        return single
    text = " or ".join(parts)
    if plan.method == "z":
        n = min(n for method, n in counts if method == "z")
        text += f" (with n = {n} it covers the true mean in {100 * z_coverage(n, plan.level):.1f} % of cases only)"
    if plan.method == "bootstrap-t" and any(method == "t" for method, _ in counts):
        text += f" (bootstrap-t takes at least {BOOTSTRAP_SEEDS} seeds)"
    few = (
        " Rows with fewer seeds show their values without an interval over seeds."
        if min(counts)[0] == ""
        else ""
    )
    few += (
        f" {single[0].upper()}{single[1:]}"
        if any(method == "wilson" for method, _ in counts)
        else ""
    )
    return f"{text}.{few}"


def _single(table: Table, counts: set[tuple[str, int]]) -> str:
    """What stands where no interval over seeds is possible."""
    if any(method == "wilson" for method, _ in counts):
        return (
            f"one seed: {100 * table.plan.level:g} % Wilson interval in brackets, test sampling only, no seed variance "
            f"(an interval over seeds takes at least {MIN_SEEDS})."
        )
    most = max((n for _, n in counts), default=0)
    seeds = "one seed per configuration" if most <= 1 else "both values where there are two seeds"
    return f"{seeds}, no interval (that takes at least {MIN_SEEDS} seeds)."


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _selection(table: Table) -> str:
    plan, count = table.plan, table.n_configurations
    by = f"mean {plan.select} over the {table.chosen_by} runs"
    searched = "configuration" if count == 1 else "configurations"
    only = f" among runs with {plan.only}" if plan.only else ""
    if plan.pivot is not None:
        rule = f"Each cell is the best per {' and '.join(plan.pivot)} of {count} {searched} searched, by {by}"
    elif plan.top is None and plan.per is None:
        rule = (
            f"The one {searched} searched"
            if count == 1
            else f"All {count} {searched} searched, ranked by {by}"
        )
    else:
        shown = (plan.top or 1) if plan.per or plan.by else min(plan.top or 1, count)
        best = "best" if shown == 1 else f"best {shown}"
        per = plan.per or plan.by
        worst = ", and the worst of all," if plan.worst else ""
        rule = f"The {best}{f' per {per}' if per else ''}{worst} of {count} {searched} searched, by {by}"
    return f"{rule}{only}."


def _purpose(table: Table, rows: list[Row]) -> str:
    found = {row.purpose for row in rows}
    optimistic = "selected and reported on the same runs, so the best of them are optimistic"
    if table.chosen_by == "confirm":
        return (
            "Confirm runs only: the search that chose these configurations is not among the runs."
        )
    if found == {"confirm"}:
        return "Confirmed: confirm runs only, fresh seeds that took no part in the selection; selected: optimistic."
    if "confirm" in found:
        return f"Confirmed: fresh seeds only, the best is among those. Selected: {optimistic}."
    if len(rows) > 1 or table.n_configurations > 1:
        return f"Rows are {optimistic}{_optimism(table)}."
    return ""


def _optimism(table: Table) -> str:
    found = table.optimism
    if found is None:
        return ""
    if found.k < 2:
        return ", though none is tied with the best"
    if found.expected is None:
        return " by an unknown amount, since one seed does not show how much seeds vary: confirm the best"
    amount = render_value(table.plan.report, found.expected)
    seeds = "1 seed" if found.n == 1 else f"{found.n} seeds"
    luck = "" if found.shared == 1 else f", seed luck shared by {100 * found.shared:.0f} %"
    top = f"{found.k} configurations that cannot be told apart at the top, {seeds} each{luck}"
    return f" by up to {amount} as expected from {top}: confirm the best"


def _left_out(table: Table, rows: list[Row]) -> str:
    count = sum(table.left_out.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in table.left_out.items())
    parts = [f"{count} of {table.n_runs} runs left out: {reasons}."] if count else []
    failed = next((row for row in rows if row.n_failed and row.n_trained), None)
    short = next((row for row in rows if 0 < row.n < row.n_total and not row.n_failed), None)
    if failed:
        parts.append(
            f"{failed.n_trained}/{failed.n_total} trained: the score is over the seeds that trained, "
            "the others diverged, crashed or ended at chance; all: the mean over every seed, diverged ones at the "
            "baseline."
        )
    if short:
        parts.append(
            f"n = {short.n}/{short.n_total} seeds: the score is over the {short.n} that finished."
        )
    if (short or failed) and not any(row.is_best and not row.is_complete for row in rows):
        parts.append("Rows that lost seeds are not marked best.")
    return " ".join(parts)
