"""What the numbers say, a sentence each with its number; nothing is said that no number says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import pandas as pd

from analysis.effects.explain import Importance
from analysis.effects.render import interactions
from analysis.reporting.blocks import Notice, Points, Section
from analysis.reporting.findings import Findings, Missing
from analysis.reporting.verdicts import edge_sentence, failure_sentence
from analysis.results.margin import render_difference
from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.stats.multiple_comparisons import effect
from analysis.text.levels import is_missing, level_key, render_level
from analysis.text.metrics import is_share, render_value, render_values
from analysis.verdicts.breakdown import Breakdown
from analysis.verdicts.judge import CONVERGENT, DIVERGENT
from anlp.core.metrics import higher_is_better

NEGLIGIBLE = 0.01  # of the variance
MAX_LEVELS = 8  # of a setting whose best partners are told


def discussion_section(findings: Findings) -> Section:
    """Return the section."""
    makers: tuple[Callable[[Findings], list[str]], ...] = (
        best_lines,
        tie_lines,
        setting_lines,
        partner_lines,
        verdict_lines,
        time_lines,
    )
    lines = [line for make in makers for line in make(findings)]
    if not lines:
        return Section(
            "discussion",
            "What the numbers say",
            (Notice("No run has finished: the numbers say nothing yet."),),
        )
    return Section("discussion", "What the numbers say", (Points(tuple(lines)),))


def best_lines(findings: Findings) -> list[str]:
    """Return the best configuration, against chance and against itself on fresh seeds."""
    table = findings.best
    row = None if isinstance(table, Missing) else best_row(table)
    if row is None or isinstance(table, Missing) or row.mean is None:
        return []
    metric = findings.report
    lines = [
        f"The best configuration is {row_name(row, table)}: {metric} {_with_interval(row, metric)}."
    ]
    baselines = [other for other in table.rows if other.name and other.mean is not None]
    if baselines:
        sign = 1 if higher_is_better(metric) else -1
        chance = max(baselines, key=lambda other: sign * (other.mean or 0.0))
        gain = row.mean - (chance.mean or 0.0)
        way = "above" if gain >= 0 else "below"
        lines.append(
            f"It is {render_difference(metric, abs(gain))} {way} {chance.name} "
            f"({_value(metric, chance.mean)})."
        )
    if row.purpose == "confirm" and row.optimistic is not None:
        sign = 1 if higher_is_better(metric) else -1
        lost = sign * (row.optimistic - row.mean)
        way = "too good by" if lost > 0 else "not too good: fresh seeds were better by"
        lines.append(
            f"The runs that chose it had {_value(metric, row.optimistic)}, "
            f"{way} {render_difference(metric, abs(lost))}."
        )
    elif table.optimism is not None and table.optimism.expected:
        expected = render_difference(metric, table.optimism.expected)
        lines.append(
            "It was chosen and reported on the same runs: "
            f"{expected} of it are expected to be luck of that choice."
        )
    return lines + _other_first(table, row)


def _other_first(table: Table, row: Row) -> list[str]:
    """Return which configuration has the best reported mean, where it is not the selected one."""
    sign = 1 if higher_is_better(table.plan.report) else -1
    scored = [other for other in table.rows if not other.name and other.mean is not None]
    scored = [other for other in scored if other.purpose == row.purpose and other.is_complete]
    first = max(scored, key=lambda other: sign * (other.mean or 0.0), default=row)
    if row.mean is None or first.mean is None or sign * first.mean <= sign * row.mean:
        return []
    report = table.plan.report
    return [
        f"{row_name(first, table)} has a better {report} ({_value(report, first.mean)}), but "
        f"{table.plan.select} does not select it, and choosing it by {report} would favour luck."
    ]


def tie_lines(findings: Findings) -> list[str]:
    """Return how many are not distinguished from the best, and how many are equivalent to it."""
    table = findings.best
    if (
        isinstance(table, Missing)
        or table.n_configurations < 2
        or not table.ties
        or table.ties[0].method is None
    ):
        return []
    count = len(table.ties[0].top) - 1
    best, tests = best_row(table), table.ties[0].n_tests
    rest = (
        "confirmed too" if best is not None and best.purpose == "confirm" else "with seeds enough"
    )
    tested = (
        f"all {tests:,} others were tested"
        if tests == table.n_configurations - 1
        else f"tested were {tests:,} {rest}"
    )
    if not count:
        return [f"All other configurations are distinguished from it; {tested}."]
    others = "1 other is" if count == 1 else f"{count:,} others are"
    return [f"{others} not distinguished from it with {_seeds(table)}; {tested}.", *_equals(table)]


def _equals(table: Table) -> list[str]:
    """Return that what is not distinguished need not be equal, or how many rows are equivalent."""
    margin = table.ties[0].margin
    if margin is None:
        return []
    within = f"within {render_difference(table.plan.report, margin.value)}"
    count = sum(row.is_equivalent for row in table.rows)
    if not count:
        return [f"That does not make them equal: none is shown to be equivalent {within}."]
    shown = "1 of those shown is" if count == 1 else f"{count} of those shown are"
    return [f"{shown} equivalent to it {within}."]


def setting_lines(findings: Findings) -> list[str]:
    """Return what each setting explains, and which interact."""
    found = findings.importance
    if isinstance(found, Missing) or found.decomposition is None or not found.decomposition.signal:
        return []
    lines = [_explains(found, index) for index in found.order]
    joint = [item for item in interactions(found) if item[1] >= NEGLIGIBLE][:1]
    lines += [
        f"{' and '.join(names)} interact: {100 * share:.1f} % of the variance "
        "beyond what each explains alone."
        for names, share in joint
    ]
    return lines


def partner_lines(findings: Findings) -> list[str]:
    """Return where the most important setting is best at each level of every category."""
    found = findings.importance
    means = configuration_means(findings)
    if isinstance(found, Missing) or means.empty or not found.order:
        return []
    names = [name for index in found.order for name in found.design.factors[index].name.split("+")]
    numbers = [
        name
        for name in names
        if pd.api.types.is_numeric_dtype(means[name].dropna().infer_objects())
    ]
    categories = [
        name for name in names if name not in numbers and means[name].nunique() <= MAX_LEVELS
    ]
    if not numbers or not categories:
        return []
    return [
        line
        for category in categories
        for line in [_partners(means, numbers[0], category, findings.select)]
        if line
    ]


def verdict_lines(findings: Findings) -> list[str]:
    """Return how many learned, and what goes with failure."""
    found = findings.breakdown
    if isinstance(found, Missing):
        return []
    total, learned, failed = (
        len(found.judged.runs),
        len(found.judged.of(CONVERGENT)),
        len(found.judged.of(DIVERGENT)),
    )
    if not learned and not failed:
        return []
    share = f"{100 * learned / total:.0f} %"
    lines = [
        f"{learned:,} of {total:,} runs ({share}) learned and kept what they learned; "
        f"{failed:,} did not."
    ]
    lines += [failure_sentence(one) for one in found.explanations]
    lines += [edge_sentence(found.edges)] if found.edges and failed else []
    return lines + _improving(found, learned)


def time_lines(findings: Findings) -> list[str]:
    """Return the cheapest configuration that is equivalent to the best and surely cheaper."""
    table = findings.best
    row = None if isinstance(table, Missing) else best_row(table)
    if row is None or isinstance(table, Missing) or not row.seconds_of_runs:
        return []
    equals = [other for other in table.rows if other.is_equivalent and other.seconds_of_runs]
    if not equals or table.ties[0].margin is None:
        return []
    other = min(equals, key=lambda found: fmean(found.seconds_of_runs))
    level = 1 - (1 - table.plan.level) / len(equals)  # of all intervals together
    saved = effect(row.seconds_of_runs, other.seconds_of_runs, level)
    if not saved.low > 0:  # NaN where seeds are few
        return []
    own, seconds = fmean(row.seconds_of_runs), fmean(other.seconds_of_runs)
    within = render_difference(table.plan.report, table.ties[0].margin.value)
    return [
        f"{row_name(other, table)} is equivalent to the best within {within} and takes "
        f"{seconds:.3g} s a run instead of {own:.3g} s: {saved.low:.3g} to {saved.high:.3g} s less."
    ]


def best_row(table: Table) -> Row | None:
    """Return the configuration marked best, the first of equals."""
    return next((row for row in table.rows if row.is_best), None)


def row_name(row: Row, table: Table) -> str:
    """`model=cnn lr=0.01`: the settings that vary and have an effect."""
    pairs = zip(table.settings, row.levels, strict=True)
    return (
        " ".join(f"{name}={render_level(level)}" for name, level in pairs if not is_missing(level))
        or row.config_id
    )


def configuration_means(findings: Findings) -> pd.DataFrame:
    """Return a row per finished configuration: its settings, and in `score` its mean metric."""
    known = [one for one in findings.ranked if not math.isnan(one.selected_by)]
    return pd.DataFrame([{**_settings(one.runs[0]), "score": one.selected_by} for one in known])


def _settings(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if "/" not in name}


def _partners(means: pd.DataFrame, number: str, category: str, metric: str) -> str:
    """Return the value of `number` in the best configuration of each level of `category`."""
    better = means.sort_values("score", ascending=not higher_is_better(metric), kind="stable")
    usable = better.dropna(subset=[number, category])
    first = usable.drop_duplicates(category)
    if len(first) < 2 or usable[number].nunique() < 2:
        return ""
    rows = sorted(first.to_dict("records"), key=lambda row: level_key(row[category]))
    if first[number].nunique() == 1:
        names = " and ".join(f"{category}={render_level(row[category])}" for row in rows)
        return (
            f"{names} work best at the same {number}, {render_level(rows[0][number])}, "
            f"by mean {metric}."
        )
    parts = [
        f"{category}={render_level(row[category])} at {render_level(row[number])} "
        f"({_value(metric, row['score'])})"
        for row in rows
    ]
    return f"Best {number} for each {category}, by mean {metric}: {', '.join(parts)}."


def _explains(found: Importance, index: int) -> str:
    parts, name = found.decomposition, found.design.factors[index].name
    if parts is None:
        return ""
    alone, joint = 100 * float(parts.first[index]), 100 * float(parts.joint[index])
    if joint < 100 * NEGLIGIBLE:
        return f"{name} hardly matters: {joint:.1f} % of the variance, interactions included."
    return (
        f"{name} explains {alone:.1f} % of the variance alone, {joint:.1f} % with its interactions."
    )


def _improving(found: Breakdown, learned: int) -> list[str]:
    improving = int((found.judged.runs["verdict"] == "improving").sum())
    if not improving:
        return []
    return [f"{improving:,} of the {learned:,} that learned were still improving when they ended."]


def _seeds(table: Table) -> str:
    n = max((row.n for row in table.rows if not row.name), default=0)
    return "1 seed" if n == 1 else f"{n} seeds"


def _with_interval(row: Row, metric: str) -> str:
    unit = " %" if is_share(metric) else ""
    if row.mean is None:
        return "unknown"
    if row.interval is None or not row.interval.is_symmetric:
        return f"{render_value(metric, row.mean)}{unit} (n = {row.n})"
    mean, half = render_values(metric, row.mean, row.interval.half_width)
    return f"{mean} ± {half}{unit} (n = {row.n})"


def _value(metric: str, value: float | None) -> str:
    return (
        "–" if value is None else render_value(metric, value) + (" %" if is_share(metric) else "")
    )
