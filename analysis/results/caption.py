"""Write the caption of a results table: its numbers, the choice of its rows, what is left out."""

from __future__ import annotations

from analysis.results.margin import render_difference
from analysis.results.plan import Plan
from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.results.ties import render_ties
from analysis.stats.intervals import BOOTSTRAP_SEEDS, MIN_SEEDS, z_coverage
from analysis.text.metrics import is_share

METHOD_NAMES = {"t": "Student t", "z": "normal (z)", "bootstrap-t": "bootstrap-t"}


def render_caption(table: Table) -> str:
    """Write one paragraph of plain text."""
    rows = [row for row in table.rows if not row.name]
    ties = render_ties(table.ties, rows, table.plan)
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
    counts = {(row.interval.method if row.interval else "", row.n) for row in rows if row.n}
    parts = _over_seeds(table, counts)
    single = _single(table, counts)
    if not parts:
        return single
    sentences = [f"{' or '.join(parts)}{_method_note(table, counts)}."]
    methods = {method for method, _ in counts}
    if "" in methods:
        sentences.append("Rows with fewer seeds show their values without an interval over seeds.")
    if "wilson" in methods:
        sentences.append(f"{single[0].upper()}{single[1:]}")
    return " ".join(sentences)


def _over_seeds(table: Table, counts: set[tuple[str, int]]) -> list[str]:
    """Say over how many seeds the intervals of each method are."""
    level = f"{100 * table.plan.level:g} %"
    parts = []
    for method, name in METHOD_NAMES.items():
        seeds = sorted(n for other, n in counts if other == method)
        if seeds:
            parts.append(f"mean ± {level} {name} interval over n = {_range(seeds)} seeds")
    return parts


def _method_note(table: Table, counts: set[tuple[str, int]]) -> str:
    """Say what the method of the intervals cannot do."""
    plan = table.plan
    if plan.method == "z":
        n = min(n for method, n in counts if method == "z")
        coverage = 100 * z_coverage(n, plan.level)
        return f" (with n = {n} it covers the true mean in {coverage:.1f} % of cases only)"
    if plan.method == "bootstrap-t" and any(method == "t" for method, _ in counts):
        return f" (bootstrap-t takes at least {BOOTSTRAP_SEEDS} seeds)"
    return ""


def _single(table: Table, counts: set[tuple[str, int]]) -> str:
    """Say what stands where no interval over seeds is possible."""
    if any(method == "wilson" for method, _ in counts):
        return (
            f"one seed: {100 * table.plan.level:g} % Wilson interval in brackets, test sampling "
            f"only, no seed variance (an interval over seeds takes at least {MIN_SEEDS})."
        )
    most = max((n for _, n in counts), default=0)
    seeds = "one seed per configuration" if most <= 1 else "both values where there are two seeds"
    return f"{seeds}, no interval (that takes at least {MIN_SEEDS} seeds)."


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _selection(table: Table) -> str:
    plan, count = table.plan, table.n_configurations
    by = f"mean {plan.select} over the {table.chosen_by} runs"
    searched = "configuration searched" if count == 1 else "configurations searched"
    only = f" among runs with {plan.only}" if plan.only else ""
    if plan.pivot is not None:
        rule = (
            f"Each cell is the best per {' and '.join(plan.pivot)} of {count} {searched}, by {by}"
        )
    elif plan.top is not None or plan.per is not None:
        rule = f"The {_chosen(table)} of {count} {searched}, by {by}"
    elif count == 1:
        rule = f"The one {searched}"
    else:
        rule = f"All {count} {searched}, ranked by {by}"
    return f"{rule}{only}.{_order(plan)}"


def _order(plan: Plan) -> str:
    """Say by what the rows are sorted on request, and that no best follows from a report."""
    if not plan.sort:
        return ""
    order = f" Sorted by {', '.join(plan.sort)}"
    if not plan.is_sorted_by_report:
        return f"{order}."
    return (
        f"{order}: {plan.report} is reported and takes no part in the selection, so no row is "
        "marked as the best."
    )


def _chosen(table: Table) -> str:
    """Name the rows that are shown, such as `best 3 per model`."""
    plan = table.plan
    shown = plan.top or 1
    if not plan.per and not plan.by:
        shown = min(shown, table.n_configurations)
    best = "best" if shown == 1 else f"best {shown}"
    group = plan.per or plan.by
    per = f" per {group}" if group else ""
    worst = ", and the worst of all," if plan.worst else ""
    return f"{best}{per}{worst}"


def _purpose(table: Table, rows: list[Row]) -> str:
    purposes = {row.purpose for row in rows}
    optimistic = "selected and reported on the same runs, so the best of them are optimistic"
    if table.chosen_by == "confirm":
        return (
            "Confirm runs only: the search that chose these configurations is not among the runs."
        )
    if purposes == {"confirm"}:
        return (
            "Confirmed: confirm runs only, fresh seeds that took no part in the selection; "
            "selected: optimistic."
        )
    if "confirm" in purposes:
        best = [row for row in rows if row.is_best]
        among = best and all(row.purpose == "confirm" for row in best)
        where = ", the best is among those" if among else ""
        return f"Confirmed: fresh seeds only{where}. Selected: {optimistic}{_optimism(table)}."
    if len(rows) > 1 or table.n_configurations > 1:
        return f"Rows are {optimistic}{_optimism(table)}."
    return ""


def _optimism(table: Table) -> str:
    optimism = table.optimism
    if optimism is None:
        return ""
    if optimism.expected is None:
        return (
            " by an unknown amount, since one seed does not show how much seeds vary: confirm the "
            "best"
        )
    report = table.plan.report
    amount = render_difference(report, optimism.expected)
    error = render_difference(report, float(f"{optimism.error:.1g}"))
    luck = ""
    if optimism.shared != 1:
        luck = f", {100 * optimism.shared:.0f} % of it shared with {report}"
    return (
        f": the best by {amount} as expected from its choice among {optimism.k:,} configurations "
        f"(parametric bootstrap with the seed luck of each{luck}; Monte-Carlo error {error})"
    )


def _left_out(table: Table, rows: list[Row]) -> str:
    count = sum(table.left_out.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in table.left_out.items())
    parts = [f"{count} of {table.n_runs} runs left out: {reasons}."] if count else []
    failed = next((row for row in rows if row.n_failed and row.n_trained), None)
    short = next((row for row in rows if 0 < row.n < row.n_total and not row.n_failed), None)
    if failed:
        parts.append(
            f"{failed.n_trained}/{failed.n_total} trained: the score is over the seeds that "
            "trained, the others diverged, crashed or ended at chance; all: the mean over every "
            "seed, diverged ones at the baseline."
        )
    if short:
        parts.append(
            f"n = {short.n}/{short.n_total} seeds: the score is over the {short.n} that finished."
        )
    if (short or failed) and not any(row.is_best and not row.is_complete for row in rows):
        parts.append("Rows that lost seeds are not marked best.")
    return " ".join(parts)
