"""Build the results table as pure data: a row per configuration, then the baselines."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.data.baselines import fill_baselines
from analysis.data.frames import (
    BASELINE,
    SIZE,
    metric_columns,
    setting_columns,
    varying_settings,
)
from analysis.data.metric_choice import tested_metric, usual_metric
from analysis.results.configurations import (
    Configuration,
    Run,
    best,
    choosing_runs,
    configurations,
    has_score,
)
from analysis.results.plan import Plan
from analysis.results.rows import BASELINE_METRIC, Row, has_trained, make_row
from analysis.results.ties import Ties, mark_rows
from analysis.stats.selection_bias import optimism_of_best, pooled_sd, shared_luck
from analysis.text.levels import level_key, none_if_nan
from anlp.core.errors import UserError, known_name
from anlp.core.metrics import USUAL_METRICS, higher_is_better

# name in results -> name in tables, and the metric it is in
BASELINES: Mapping[str, tuple[str, str]] = {
    "random": ("random", BASELINE_METRIC),
    "majority": ("majority class", BASELINE_METRIC),
    "mean": ("mean of the training set", "test/mae"),
}


@dataclass(frozen=True, slots=True)
class Optimism:
    """By how much the best row is expected to be too good.

    That is the luck of the best among configurations that cannot be told apart.
    """

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
    # None: every best row is confirmed, or there was nothing to choose from
    optimism: Optimism | None = None


def build_table(runs: pd.DataFrame, plan: Plan, grid: str = "") -> Table:
    """Build the results table of a `runs` frame (see `analysis.data.frames`).

    Raises:
        UserError: a metric or setting is unknown, or no run has finished.
    """
    _check(runs, plan)
    settings = _shown_settings(runs, plan)
    ranked = configurations(fill_baselines(runs), plan.select)
    pool = {
        configuration.config_id: make_row(configuration, settings, plan) for configuration in ranked
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
    """Return the metric that ranks and the one that is shown, as asked or as usual for these runs.

    Raises:
        UserError: nothing was asked, and no run has finished with a metric.
    """
    if select and report:
        return select, report
    _check_finished(runs)
    chooser = select or usual_metric(runs)
    if report:
        return chooser, report
    usual = tested_metric(runs, USUAL_METRICS[0])
    return chooser, usual if usual == BASELINE_METRIC else tested_metric(runs, chooser)


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
    """Return the settings that vary, those that group the rows first.

    A pivot needs its two whether they vary or not.
    """
    varying = varying_settings(runs)
    leading = [*(plan.pivot or ()), *(name for name in (plan.by, plan.per) if name in varying)]
    return tuple(dict.fromkeys([*map(str, leading), *varying]))


def _chosen(ranked: Sequence[Configuration], plan: Plan) -> list[Configuration]:
    """Return the configurations that get a row, best first."""
    if plan.pivot is not None:
        return best(ranked, 1, plan.pivot)
    if plan.top is None and plan.per is None:
        chosen = list(ranked)
    else:
        group = plan.per or plan.by
        chosen = best(ranked, plan.top or 1, [group] if group else [])
    if plan.worst:
        judged = [c for c in ranked if not math.isnan(c.selected_by)]
        chosen += [c for c in judged[-1:] if c not in chosen]
    return chosen


def _marked(rows: Sequence[Row], pool: Sequence[Row], plan: Plan) -> tuple[list[Row], list[Ties]]:
    """Mark the best and tied rows of each group; groups are in the order of their first row."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row.group)].append(row)
    marked: list[Row] = []
    ties: list[Ties] = []
    for name, group in groups.items():
        family = [row for row in pool if str(row.group) == name]
        marked_group, group_ties = mark_rows(group, family, plan.report, plan.tied)
        marked += marked_group
        ties.append(group_ties)
    return marked, ties


def _optimism(
    rows: Sequence[Row], ties: Sequence[Ties], ranked: Sequence[Configuration], plan: Plan
) -> Optimism | None:
    """Return the optimism of the best row, of the most optimistic one where there are groups.

    None where all best rows are confirmed.
    """
    if len(ranked) < 2 or not any(row.is_best and row.purpose != "confirm" for row in rows):
        return None
    of_groups = []
    for group in ties:
        ids = set(group.top)
        n_shown = sum(row.config_id in ids for row in rows)
        top = [c for c in ranked if c.config_id in ids]
        of_groups.append(_optimism_among(top, plan, by_report=n_shown > 1))
    return max(of_groups, key=_optimism_key)


def _optimism_key(optimism: Optimism) -> tuple[bool, float]:
    is_unknown = optimism.expected is None and optimism.k > 1
    return is_unknown, optimism.expected or 0.0


def _optimism_among(top: Sequence[Configuration], plan: Plan, *, by_report: bool) -> Optimism:
    """Return the optimism of the best among configurations that cannot be told apart.

    It is smaller where another metric has chosen, as far as the two do not share their luck.

    Args:
        top: the configurations.
        plan: of the table.
        by_report: several of them are shown, so that the reported metric itself marks one of them
            the best.
    """
    usable = [[run for run in c.runs if _counts_for(run, plan)] for c in top]
    usable = [runs for runs in usable if runs]
    reported = [[run[plan.report] for run in runs] for runs in usable]
    shared = 1.0
    if not by_report and plan.select != plan.report:
        same_way = higher_is_better(plan.select) == higher_is_better(plan.report)
        sign = 1.0 if same_way else -1.0
        chosen_by = [[sign * run[plan.select] for run in runs] for runs in usable]
        shared = shared_luck(chosen_by, reported)
    n = Counter(map(len, usable)).most_common(1)[0][0] if usable else 0
    sd = none_if_nan(pooled_sd(reported))
    expected = None
    if sd is not None and n:
        expected = optimism_of_best(sd, n, len(usable), shared)
    return Optimism(expected, n, len(usable), shared)


def _counts_for(run: Run, plan: Plan) -> bool:
    is_usable = has_score(run, plan.select) and has_score(run, plan.report)
    return run["purpose"] != "confirm" and is_usable and has_trained(run, plan.report)


def _sorted(rows: list[Row], settings: Sequence[str], plan: Plan) -> list[Row]:
    """Sort by the plan's columns, group by group; rows come in order of the selection metric."""
    for name in reversed(plan.sort):  # sorting is stable, so the first column comes last
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
    rows = []
    for key, (name, metric) in BASELINES.items():
        column = f"{BASELINE}{key}"
        if metric == report and column in runs:
            for title, value in _baseline_values(runs, column, name, settings):
                rows.append(Row((None,) * len(settings), (), 0, value, name=title))
    return rows


def _baseline_values(
    runs: pd.DataFrame, column: str, name: str, settings: Sequence[str]
) -> list[tuple[str, float]]:
    """Return titles and values: one, or one per level of the setting that explains several."""
    values = runs[column].dropna()
    if values.nunique() <= 1:
        return [(name, float(value)) for value in values.unique()]
    for setting in settings:  # `data`, for instance
        groups = runs.dropna(subset=[column]).groupby(setting)[column]
        if (groups.nunique() == 1).all():
            levels = groups.first().items()
            return [(f"{name} ({setting}={level})", float(value)) for level, value in levels]
    return [(name, float(value)) for value in sorted(values.unique())]


def _left_out(runs: pd.DataFrame, report: str) -> dict[str, int]:
    """Count the runs without a score by the reason."""
    reasons: Counter[str] = Counter()
    for run in runs[["outcome", report]].to_dict("records"):
        if not has_score({str(name): value for name, value in run.items()}, report):
            outcome = str(run["outcome"])
            reasons[f"without {report}" if outcome == "ok" else outcome] += 1
    return dict(reasons.most_common())


def _samples(runs: pd.DataFrame, report: str) -> int | None:
    column = f"{SIZE}{report.partition('/')[0]}"
    sizes = set(runs[column].dropna()) if column in runs else set()
    return int(sizes.pop()) if len(sizes) == 1 else None
