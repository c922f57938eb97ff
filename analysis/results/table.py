"""Build the results table as pure data: a row per configuration, then the baselines."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
from analysis.data.selection import choosing_runs
from analysis.results.configurations import (
    Configuration,
    best,
    configurations,
    has_score,
)
from analysis.results.optimism import Optimism, optimism_of
from analysis.results.plan import Plan
from analysis.results.rows import BASELINE_METRIC, Row, make_row
from analysis.results.ties import Ties, eligible, mark_rows
from analysis.text.levels import level_key
from anlp.core.errors import UserError, known_name
from anlp.core.metrics import USUAL_METRICS, higher_is_better, reported_with

# name in results -> name in tables, and the metric it is in
BASELINES: Mapping[str, tuple[str, str]] = {
    "random": ("random", BASELINE_METRIC),
    "majority": ("majority class", BASELINE_METRIC),
    "mean": ("mean of the training set", "test/mae"),
}


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
    plan = _checked(runs, plan)
    settings = _shown_settings(runs, plan)
    ranked = configurations(fill_baselines(runs), plan.select)
    pool = {
        configuration.config_id: make_row(configuration, settings, plan) for configuration in ranked
    }
    chosen = [pool[configuration.config_id] for configuration in _chosen(ranked, pool, plan)]
    samples = _samples(runs, plan.report)
    rows, ties = _marked(_sorted(chosen, settings, plan), list(pool.values()), samples, plan)
    return Table(
        grid=grid,
        plan=plan,
        settings=settings,
        rows=(*rows, *_baseline_rows(runs, settings, plan.report)),
        n_configurations=len(ranked),
        n_runs=len(runs),
        left_out=_left_out(runs, plan.report),
        samples=samples,
        ties=tuple(ties),
        chosen_by=choosing_runs(runs),
        optimism=_optimism(rows, list(pool.values()), ranked, plan),
    )


def chosen_metrics(runs: pd.DataFrame, select: str, report: str) -> tuple[str, str]:
    """Return the metric that ranks and the one that is shown, as asked or as usual for these runs.

    Raises:
        UserError: nothing was asked, and no run has finished with a metric.
    """
    if select and report:
        return select, report
    _check_finished(runs)
    chooser = usual_metric(runs)
    if select:
        chooser = known_name(select, metric_columns(runs), "--select: metric")
    if report:
        return chooser, known_name(report, metric_columns(runs), "--report: metric")
    tested = tested_metric(runs, chooser)
    if tested == reported_with(chooser):
        return chooser, tested
    usual = tested_metric(runs, USUAL_METRICS[0])
    return chooser, usual if usual == BASELINE_METRIC else tested


def _check_finished(runs: pd.DataFrame) -> None:
    if runs.empty:
        raise UserError("no runs to tabulate: nothing of this grid has started yet")
    if not (runs["outcome"] == "ok").any():
        counts = ", ".join(
            f"{count} {outcome}" for outcome, count in Counter(runs["outcome"]).items()
        )
        raise UserError(f"no run has finished yet, so there is nothing to tabulate ({counts})")


def _checked(runs: pd.DataFrame, plan: Plan) -> Plan:
    """Return the plan with the metrics under the names that the columns have."""
    _check_finished(runs)
    select = known_name(plan.select, metric_columns(runs), "--select: metric")
    report = known_name(plan.report, metric_columns(runs), "--report: metric")
    renamed = {plan.select: select, plan.report: report}
    sort = tuple(renamed.get(name, name) for name in plan.sort)
    plan = replace(plan, select=select, report=report, sort=sort)
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
    return plan


def _shown_settings(runs: pd.DataFrame, plan: Plan) -> tuple[str, ...]:
    """Return the settings that vary, those that group the rows first.

    A pivot needs its two whether they vary or not.
    """
    varying = varying_settings(runs)
    leading = [*(plan.pivot or ()), *(name for name in (plan.by, plan.per) if name in varying)]
    return tuple(dict.fromkeys([*map(str, leading), *varying]))


def _chosen(
    ranked: Sequence[Configuration], pool: Mapping[str, Row], plan: Plan
) -> list[Configuration]:
    """Return the configurations that get a row: the selected one first, then best first."""
    groups: Sequence[str]
    if plan.pivot is not None:
        groups, top = plan.pivot, 1
    else:
        group = plan.per or plan.by
        groups = [group] if group else []
        is_all = plan.top is None and plan.per is None
        top = len(ranked) if is_all else plan.top or 1
    chosen = best(ranked, top, groups, lambda group: _selected_first(group, pool))
    if plan.worst:
        judged = [c for c in ranked if not math.isnan(c.selected_by)]
        chosen += [c for c in judged[-1:] if c not in chosen]
    return chosen


def _selected_first(group: Sequence[Configuration], pool: Mapping[str, Row]) -> list[Configuration]:
    """Return the configurations with the one first that may be called the best."""
    candidates = eligible([pool[one.config_id] for one in group])
    if not candidates:
        return list(group)
    first = candidates[0].config_id
    return sorted(group, key=lambda one: one.config_id != first)  # stable: the others stay


def _marked(
    rows: Sequence[Row], pool: Sequence[Row], samples: int | None, plan: Plan
) -> tuple[list[Row], list[Ties]]:
    """Mark the best and tied rows of each group; groups are in the order of their first row."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row.group)].append(row)
    marked: list[Row] = []
    ties: list[Ties] = []
    for name, group in groups.items():
        family = [row for row in pool if str(row.group) == name]
        marked_group, group_ties = mark_rows(group, family, samples, plan)
        marked += marked_group
        ties.append(group_ties)
    return marked, ties


def _optimism(
    rows: Sequence[Row], pool: Sequence[Row], ranked: Sequence[Configuration], plan: Plan
) -> Optimism | None:
    """Return the optimism of the best row, of the most optimistic one where there are groups.

    None where all best rows are confirmed, or nothing was chosen.
    """
    of_groups = []
    for best_row in rows:
        if not best_row.is_best or best_row.purpose == "confirm":
            continue
        group = [row for row in pool if str(row.group) == str(best_row.group)]
        ids = {row.config_id for row in eligible(group)}
        found = optimism_of(best_row.config_id, ids, ranked, plan)
        of_groups += [] if found is None else [found]
    return max(of_groups, key=_optimism_key, default=None)


def _optimism_key(optimism: Optimism) -> tuple[bool, float]:
    return optimism.expected is None, optimism.expected or 0.0


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
