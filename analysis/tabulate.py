"""The results table as pure data: a row per configuration, then the baselines; nothing about how it is printed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.choice import Configuration, best, configurations, has_score
from analysis.frame import BASELINE, metric_columns, setting_columns, varying_settings
from analysis.metrics import higher_is_better
from analysis.names import known_name
from analysis.stats import Interval, Method, mean_interval
from anlp.errors import UserError

MIN_SEEDS = 3  # with two seeds the values themselves say more than an interval six times as wide
BASELINE_NAMES: Mapping[str, str] = {"random": "random", "majority": "majority class"}
BASELINE_METRIC = "test/acc"  # the metric that the baselines of a result are in


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration, or one baseline if it has a `name`."""

    levels: tuple[Any, ...]  # parallel to Table.settings; None or NaN: has no effect there
    scores: tuple[float, ...]  # the reported metric of every seed that finished
    n_total: int  # seeds asked for
    mean: float | None
    sd: float | None = None
    interval: Interval | None = None
    selected_by: float | None = None  # mean of the selection metric over the search runs
    purpose: str = ""  # of the runs reported here
    config_id: str = ""
    name: str = ""
    is_best: bool = False

    @property
    def n(self) -> int:
        """Seeds that finished."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to tabulate; names as in the `runs` frame."""

    select: str = "val/acc"
    report: str = "test/acc"
    top: int | None = None  # None: all, or with `per` the best one of each level
    per: str | None = None
    sort: tuple[str, ...] = ()  # settings (ascending) or the two metrics (best first); empty: by `select`
    method: Method = "t"
    level: float = 0.95
    only: str = ""  # the filter that the runs have passed, for the caption


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


def build_table(runs: pd.DataFrame, plan: Plan, grid: str = "") -> Table:
    """The results table of a `runs` frame (see `analysis.frame`).

    Raises:
        UserError: a metric or setting is unknown, or no run has finished.
    """
    _check(runs, plan)
    settings = _shown_settings(runs, plan.per)
    ranked = configurations(runs, plan.select)
    chosen = best(ranked, plan.top or (1 if plan.per else len(ranked)), plan.per)
    rows = _sorted([_row(configuration, settings, plan) for configuration in chosen], settings, plan)
    return Table(
        grid=grid,
        plan=plan,
        settings=settings,
        rows=(*_mark_best(rows, plan.report), *_baseline_rows(runs, settings, plan.report)),
        n_configurations=len(ranked),
        n_runs=len(runs),
        left_out=_left_out(runs, plan.report),
        samples=_samples(runs, plan.report),
    )


def _check(runs: pd.DataFrame, plan: Plan) -> None:
    if runs.empty:
        raise UserError("no runs to tabulate: nothing of this grid has started yet")
    if not (runs["outcome"] == "ok").any():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(runs["outcome"]).items())
        raise UserError(f"no run has finished yet, so there is nothing to tabulate ({counts})")
    known_name(plan.select, metric_columns(runs), "--select: metric")
    known_name(plan.report, metric_columns(runs), "--report: metric")
    if plan.per is not None:
        known_name(plan.per, ["task", *setting_columns(runs)], "--per: setting")
    for name in plan.sort:
        known_name(name, [plan.select, plan.report, "task", *setting_columns(runs)], "--sort: column")


def _shown_settings(runs: pd.DataFrame, per: str | None) -> tuple[str, ...]:
    """The settings that vary, the one that groups the rows first."""
    return tuple(sorted(varying_settings(runs), key=lambda name: name != per))


def _row(configuration: Configuration, settings: Sequence[str], plan: Plan) -> Row:
    runs = configuration.reported_runs(plan.report)
    scores = tuple(float(run[plan.report]) for run in runs if has_score(run, plan.report))
    return Row(
        levels=tuple(configuration.runs[0][name] for name in settings),
        scores=scores,
        n_total=len(runs),
        mean=statistics.fmean(scores) if scores else None,
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        interval=mean_interval(scores, plan.level, plan.method) if len(scores) >= MIN_SEEDS else None,
        selected_by=None if configuration.selected_by != configuration.selected_by else configuration.selected_by,
        purpose=runs[0]["purpose"],
        config_id=configuration.config_id,
    )


def _sorted(rows: list[Row], settings: Sequence[str], plan: Plan) -> list[Row]:
    """Stable sorts from the last key to the first; rows come in the order of the selection metric."""
    for name in reversed(plan.sort):
        if name in (plan.select, plan.report):
            sign = -1 if higher_is_better(name) else 1
            rows = sorted(rows, key=lambda row: _number_key(_metric(row, name, plan), sign))
        elif name in settings:  # a setting that does not vary sorts nothing
            index = settings.index(name)
            rows = sorted(rows, key=lambda row: level_key(row.levels[index]))
    return rows


def _metric(row: Row, name: str, plan: Plan) -> float | None:
    return row.selected_by if name == plan.select and name != plan.report else row.mean


def _number_key(value: float | None, sign: int) -> tuple[bool, float]:
    return value is None, sign * (value or 0.0)


def level_key(level: Any) -> tuple[int, float, str]:
    """Sort key of levels of mixed types: numbers, then text, then missing."""
    if level is None or level != level:
        return 2, 0.0, ""
    return (1, 0.0, level) if isinstance(level, str) else (0, float(level), "")


def _mark_best(rows: Iterable[Row], report: str) -> list[Row]:
    """A configuration that lost seeds is best only where all did: its mean is over the lucky ones."""
    found = list(rows)
    scored = [row for row in found if row.mean is not None]
    eligible = [row for row in scored if row.n == row.n_total] or scored
    means = [row.mean for row in eligible if row.mean is not None]
    if not means:
        return found
    target = max(means) if higher_is_better(report) else min(means)
    return [replace(row, is_best=row in eligible and row.mean == target) for row in found]


def _baseline_rows(runs: pd.DataFrame, settings: Sequence[str], report: str) -> list[Row]:
    if report != BASELINE_METRIC:
        return []
    return [
        Row((None,) * len(settings), (), 0, value, name=label)
        for key, name in BASELINE_NAMES.items()
        if f"{BASELINE}{key}" in runs
        for label, value in _baseline_values(runs, f"{BASELINE}{key}", name, settings)
    ]


def _baseline_values(runs: pd.DataFrame, column: str, name: str, settings: Sequence[str]) -> list[tuple[str, float]]:
    """One value, or one for each level of the setting (`data`) that explains why there are several."""
    values = runs[column].dropna()
    if values.nunique() <= 1:
        return [(name, float(value)) for value in values.unique()]
    for setting in settings:
        groups = runs.dropna(subset=[column]).groupby(setting)[column]
        if (groups.nunique() == 1).all():
            return [(f"{name} ({setting}={level})", float(value)) for level, value in groups.first().items()]
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
