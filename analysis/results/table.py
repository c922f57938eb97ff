"""The results table as pure data: a row per configuration, then the baselines; nothing about how it is printed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.data.frames import BASELINE, metric_columns, setting_columns, varying_settings
from analysis.data.metric_choice import USUAL_METRICS, tested_metric, usual_metric
from analysis.results.configurations import (
    Configuration,
    Run,
    best,
    choosing_runs,
    configurations,
    has_score,
)
from analysis.results.rows import BASELINE_METRIC, Row, has_trained, make_row
from analysis.results.ties import TiedOption, Ties, mark_rows
from analysis.stats.intervals import Method
from analysis.stats.selection_bias import optimism_of_best, pooled_sd, shared_luck
from analysis.text.levels import level_key
from anlp.core.errors import UserError, known_name
from anlp.core.metrics import higher_is_better

BASELINES: Mapping[
    str, tuple[str, str]
] = {  # as results name them -> as tables do, and in which metric they are
    "random": ("random", BASELINE_METRIC),
    "majority": ("majority class", BASELINE_METRIC),
    "mean": ("mean of the training set", "test/mae"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to tabulate; names as in the `runs` frame."""

    select: str = "val/acc"
    report: str = "test/acc"
    top: int | None = None  # None: all, or with `per` the best one of each level
    per: str | None = None
    worst: bool = False  # the worst configuration of all, too
    by: str | None = None  # separates groups of rows, each with its own best
    pivot: tuple[str, str] | None = (
        None  # the settings down and across; each cell is the best of its configurations
    )
    sort: tuple[
        str, ...
    ] = ()  # settings (ascending) or the two metrics (best first); empty: by `select`
    method: Method = "t"
    level: float = 0.95
    tied: TiedOption = "welch"
    only: str = ""  # the filter that the runs have passed, for the caption


@dataclass(frozen=True, slots=True)
class Optimism:
    """By how much the best row is expected to be too good: the luck of the best of those that cannot be told apart."""

    expected: float | None  # None: unknown, none of them has two seeds
    n: int  # seeds per configuration
    k: int  # configurations that cannot be told from the best, itself among them
    shared: float  # correlation of seed luck between the metric that chose and the one reported


@dataclass(frozen=True, slots=True)
class Table:
    """A table and all that its caption needs."""

    grid: str
    plan: Plan
    settings: tuple[str, ...]  # those that vary
    rows: tuple[Row, ...]
    n_configurations: int  # searched
    n_runs: int
    left_out: Mapping[str, int]  # reason -> runs
    samples: int | None  # of the reported split, None where runs differ or did not say
    ties: tuple[Ties, ...] = ()  # one, or one per group
    chosen_by: str = "search"  # or "confirm", where there are no other runs
    optimism: Optimism | None = (
        None  # None: every best row is confirmed, or there was nothing to choose from
    )


def build_table(runs: pd.DataFrame, plan: Plan, grid: str = "") -> Table:
    """The results table of a `runs` frame (see `analysis.data.frames`).

    Raises:
        UserError: a metric or setting is unknown, or no run has finished.
    """
    _check(runs, plan)
    settings = _shown_settings(runs, plan)
    ranked = configurations(runs, plan.select)
    pool = {
        c.config_id: make_row(c, settings, plan.report, plan.method, plan.level, plan.by)
        for c in ranked
    }
    chosen = [pool[configuration.config_id] for configuration in _chosen(ranked, plan)]
    rows, ties = _marked(_sorted(chosen, settings, plan), list(pool.values()), plan)
    return Table(
        grid=grid,
        plan=plan,
        settings=settings,
        rows=(*rows, *_baseline_rows(runs, settings, plan.report)),
        n_configurations=len(ranked),
        n_runs=len(runs),
        left_out=_left_out(runs, plan.report),
        samples=_samples(runs, plan.report),
        ties=tuple(ties),
        chosen_by=choosing_runs(runs),
        optimism=_optimism(rows, ties, ranked, plan),
    )


def chosen_metrics(runs: pd.DataFrame, select: str, report: str) -> tuple[str, str]:
    """What ranks and what is shown, as asked or as is usual for these runs.

    Raises:
        UserError: nothing was asked, and no run has finished with a metric.
    """
    if select and report:
        return select, report
    _check_finished(runs)
    chooser = select or usual_metric(runs)
    usual = tested_metric(runs, USUAL_METRICS[0])
    return chooser, report or (usual if usual == BASELINE_METRIC else tested_metric(runs, chooser))


def _check_finished(runs: pd.DataFrame) -> None:
    if runs.empty:
        raise UserError("no runs to tabulate: nothing of this grid has started yet")
    if not (runs["outcome"] == "ok").any():
        counts = ", ".join(
            f"{count} {outcome}" for outcome, count in Counter(runs["outcome"]).items()
        )
        raise UserError(f"no run has finished yet, so there is nothing to tabulate ({counts})")


def _check(runs: pd.DataFrame, plan: Plan) -> None:
    _check_finished(runs)
    known_name(plan.select, metric_columns(runs), "--select: metric")
    known_name(plan.report, metric_columns(runs), "--report: metric")
    for option, names in (
        ("--per", [plan.per]),
        ("--by", [plan.by]),
        ("--pivot", plan.pivot or ()),
    ):
        for name in names:
            if name is not None:
                known_name(name, ["task", *setting_columns(runs)], f"{option}: setting")
    for name in plan.sort:
        known_name(
            name, [plan.select, plan.report, "task", *setting_columns(runs)], "--sort: column"
        )


def _shown_settings(runs: pd.DataFrame, plan: Plan) -> tuple[str, ...]:
    """The settings that vary, those that group the rows first; a pivot needs its two whether they vary or not."""
    varying = varying_settings(runs)
    leading = [*(plan.pivot or ()), *(name for name in (plan.by, plan.per) if name in varying)]
    return tuple(dict.fromkeys([*map(str, leading), *varying]))


def _chosen(ranked: Sequence[Configuration], plan: Plan) -> list[Configuration]:
    if plan.pivot is not None:
        return best(ranked, 1, plan.pivot)
    per = [name for name in (plan.per or plan.by,) if name] if plan.top or plan.per else []
    chosen = best(ranked, plan.top or (1 if plan.per else len(ranked)), per)
    judged = [
        configuration
        for configuration in ranked
        if configuration.selected_by == configuration.selected_by
    ]
    return [*chosen, *(c for c in judged[-1:] if plan.worst and c not in chosen)]


def _marked(rows: Sequence[Row], pool: Sequence[Row], plan: Plan) -> tuple[list[Row], list[Ties]]:
    """Best and tied rows, of each group where there are groups: groups in the order of their first row."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row.group)].append(row)
    marked: list[Row] = []
    ties: list[Ties] = []
    for name, group in groups.items():
        family = [row for row in pool if str(row.group) == name]
        found, how = mark_rows(group, family, plan.report, plan.tied)
        marked += found
        ties.append(how)
    return marked, ties


def _optimism(
    rows: Sequence[Row], ties: Sequence[Ties], ranked: Sequence[Configuration], plan: Plan
) -> Optimism | None:
    """Of the best row, of the most optimistic one where there are groups; none where all of them are confirmed."""
    if len(ranked) < 2 or not any(row.is_best and row.purpose != "confirm" for row in rows):
        return None
    found = []
    for top in (set(one.top) for one in ties):
        shown = sum(row.config_id in top for row in rows)
        found.append(
            _optimism_among([c for c in ranked if c.config_id in top], plan, by_report=shown > 1)
        )
    return max(found, key=lambda one: (one.expected is None and one.k > 1, one.expected or 0.0))


def _optimism_among(top: Sequence[Configuration], plan: Plan, *, by_report: bool) -> Optimism:
    """Smaller where another metric has chosen, as far as the two do not share their luck.

    Args:
        top: the configurations that cannot be told apart.
        plan: of the table.
        by_report: several of them are shown, so that the reported metric itself marks one of them the best.
    """
    pairs = [
        [(run[plan.select], run[plan.report]) for run in c.runs if _counts_for(run, plan)]
        for c in top
    ]
    pairs = [pair for pair in pairs if pair]
    chosen_by, reported = (
        [[a for a, _ in pair] for pair in pairs],
        [[b for _, b in pair] for pair in pairs],
    )
    same_way = 1.0 if higher_is_better(plan.select) == higher_is_better(plan.report) else -1.0
    is_own_choice = by_report or plan.select == plan.report
    shared = (
        1.0
        if is_own_choice
        else shared_luck([[same_way * a for a in group] for group in chosen_by], reported)
    )
    n = Counter(map(len, pairs)).most_common(1)[0][0] if pairs else 0
    sd = pooled_sd(reported)
    expected = None if sd != sd or not n else optimism_of_best(sd, n, len(pairs), shared)
    return Optimism(expected, n, len(pairs), shared)


def _counts_for(run: Run, plan: Plan) -> bool:
    is_usable = has_score(run, plan.select) and has_score(run, plan.report)
    return run["purpose"] != "confirm" and is_usable and has_trained(run, plan.report)


def _sorted(rows: list[Row], settings: Sequence[str], plan: Plan) -> list[Row]:
    """Stable sorts from the last key to the first; rows come in the order of the selection metric, group by group."""
    for name in reversed(plan.sort):
        if name in (plan.select, plan.report):
            sign = -1 if higher_is_better(name) else 1
            rows = sorted(rows, key=lambda row: _number_key(_metric(row, name, plan), sign))
        elif name in settings:  # a setting that does not vary sorts nothing
            index = settings.index(name)
            rows = sorted(rows, key=lambda row: level_key(row.levels[index]))
    if plan.by is not None:
        order = {
            name: place for place, name in enumerate(dict.fromkeys(str(row.group) for row in rows))
        }
        rows = sorted(rows, key=lambda row: order[str(row.group)])
    return rows


def _metric(row: Row, name: str, plan: Plan) -> float | None:
    return row.selected_by if name == plan.select and name != plan.report else row.mean


def _number_key(value: float | None, sign: int) -> tuple[bool, float]:
    return value is None, sign * (value or 0.0)


def _baseline_rows(runs: pd.DataFrame, settings: Sequence[str], report: str) -> list[Row]:
    return [
        Row((None,) * len(settings), (), 0, value, name=label)
        for key, (name, metric) in BASELINES.items()
        if metric == report and f"{BASELINE}{key}" in runs
        for label, value in _baseline_values(runs, f"{BASELINE}{key}", name, settings)
    ]


def _baseline_values(
    runs: pd.DataFrame, column: str, name: str, settings: Sequence[str]
) -> list[tuple[str, float]]:
    """One value, or one for each level of the setting (`data`) that explains why there are several."""
    values = runs[column].dropna()
    if values.nunique() <= 1:
        return [(name, float(value)) for value in values.unique()]
    for setting in settings:
        groups = runs.dropna(subset=[column]).groupby(setting)[column]
        if (groups.nunique() == 1).all():
            return [
                (f"{name} ({setting}={level})", float(value))
                for level, value in groups.first().items()
            ]
    return [(name, float(value)) for value in sorted(values.unique())]


def _left_out(runs: pd.DataFrame, report: str) -> dict[str, int]:
    columns = ["outcome", report]
    reasons = Counter(
        f"without {report}" if run["outcome"] == "ok" else str(run["outcome"])
        for run in runs[columns].to_dict("records")
        if not has_score({str(name): value for name, value in run.items()}, report)
    )
    return dict(reasons.most_common())


def _samples(runs: pd.DataFrame, report: str) -> int | None:
    column = f"size/{report.partition('/')[0]}"
    sizes = set(runs[column].dropna()) if column in runs else set()
    return int(sizes.pop()) if len(sizes) == 1 else None
