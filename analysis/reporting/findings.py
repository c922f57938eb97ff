"""Findings of a report, each computed once; one that cannot be computed is a sentence with why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from analysis.data.cost import parse_provenance, read_usages
from analysis.data.frames import metric_columns, varying_settings
from analysis.data.load import Runs, why_no_runs
from analysis.data.metric_choice import tested_metric, usual_metric
from analysis.effects.design import Design, build_design
from analysis.effects.explain import Importance, explain
from analysis.results.configurations import Configuration, configurations
from analysis.results.margin import margin_in
from analysis.results.plan import Plan
from analysis.results.table import Table, build_table
from analysis.verdicts.breakdown import Breakdown, build_breakdown
from analysis.verdicts.judge import judge_runs
from anlp.core.errors import UserError, known_name
from anlp.core.metrics import USUAL_METRICS
from anlp.records.cost import RunUsage, Share, read_shares
from anlp.records.folders import GridFolder

TOP = 12  # configurations in the table of the best
MANY = 3_000  # configurations beyond which no forests are grown for comparison
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Missing:
    """What cannot be told, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The filter of a report, and how many runs of the grid it leaves out."""

    only: str = ""  # empty: no filter
    n_runs: int = 0


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True, slots=True)
class Findings:
    """Of a grid."""

    address: str  # what the commands of this suite take as GRID
    loaded: Runs
    select: str  # the metric that chooses
    report: str  # the metric that is shown
    ranked: tuple[Configuration, ...]  # best first
    best: Table | Missing
    per: (
        Table | Missing | None
    )  # the best of each level of the most telling setting; None: the grid has no such setting
    breakdown: Breakdown | Missing
    importance: Importance | Missing
    origins: tuple[Mapping[str, Any], ...]  # parallel to the runs
    usages: tuple[RunUsage, ...]  # likewise
    shares: Mapping[str, Share]  # of jobs, by tag of the submission
    left_out: LeftOut = NOTHING_LEFT_OUT

    @property
    def runs(self) -> pd.DataFrame:
        """Return a row per run."""
        return self.loaded.runs

    @property
    def filter_words(self) -> list[str]:
        """Return the option that gives other commands the filter of this report."""
        return ["--only", self.left_out.only] if self.left_out.only else []

    @property
    def name(self) -> str:
        """Return the grid's."""
        return self.loaded.grid

    @property
    def folder(self) -> Path:
        """Return the grid's."""
        return self.loaded.folder


def find_out(
    loaded: Runs,
    address: str,
    *,
    select: str = "",
    report: str = "",
    margin: float | None = None,
    left_out: LeftOut = NOTHING_LEFT_OUT,
) -> Findings:
    """Compute everything about loaded runs.

    Args:
        loaded: with history.
        address: as the person named the grid.
        select: the metric that chooses; a usual one that was measured unless given.
        report: the metric that is shown; the same one on the test set unless given.
        margin: within which configurations are equivalent, as it was typed; by default what the
            metric resolves.
        left_out: the filter that the runs have passed.

    Raises:
        UserError: there are no runs, or a metric is unknown.
    """
    runs = loaded.runs
    if runs.empty:
        raise UserError(f"no runs to report on: {why_no_runs(loaded, loaded.grid)}")
    chooser = (
        known_name(select, metric_columns(runs), "--select: metric") if select else _usual(runs)
    )
    shown = (
        known_name(report, metric_columns(runs), "--report: metric")
        if report
        else tested_metric(runs, chooser)
    )
    per = _telling(runs)
    design = attempt(lambda: _design(runs, chooser))
    few = not isinstance(design, Missing) and len(design.means) <= MANY
    origins = parse_provenance(loaded.provenance)
    plan = Plan(chooser, shown, only=left_out.only, margin=margin_in(shown, margin))
    return Findings(
        address=address,
        loaded=loaded,
        select=chooser,
        report=shown,
        ranked=tuple(configurations(runs, chooser)) if chooser in runs else (),
        best=attempt(lambda: build_table(runs, replace(plan, top=TOP), loaded.grid)),
        per=attempt(lambda: build_table(runs, replace(plan, per=per), loaded.grid))
        if per
        else None,
        breakdown=attempt(lambda: build_breakdown(judge_runs(runs, loaded.history), loaded.grid)),
        importance=design if isinstance(design, Missing) else _explain(design, with_forest=few),
        origins=tuple(origins),
        usages=tuple(read_usages(loaded.runs, origins, loaded.folder)),
        shares=read_shares(GridFolder(loaded.folder)),
        left_out=left_out,
    )


def _design(runs: pd.DataFrame, metric: str) -> Design:
    if metric not in runs:
        raise UserError(f"none of {len(runs):,} runs has finished with a metric")
    return build_design(runs, metric)


def _explain(design: Design, *, with_forest: bool) -> Importance:
    """Return importance, without forests where they cannot be grown; a note gives the reason."""
    found = attempt(lambda: explain(design, with_forest=with_forest))
    if not isinstance(found, Missing):
        return found
    plain = explain(design, with_forest=False)
    return replace(plain, notes=(*plain.notes, f"no forests for comparison: {found.reason}"))


def attempt(make: Callable[[], Found]) -> Found | Missing:
    """Return what `make` returns, or why it cannot."""
    try:
        return make()
    except UserError as error:
        return Missing(str(error))


def _usual(runs: pd.DataFrame) -> str:
    """Unfinished runs have a report, too."""
    found = attempt(lambda: usual_metric(runs))
    return USUAL_METRICS[0] if isinstance(found, Missing) else found


def _telling(runs: pd.DataFrame) -> str | None:
    """Return the setting that gets a row per level: model, else method, else the first category."""
    varying = [
        name
        for name in varying_settings(runs)
        if runs[name].map(lambda level: isinstance(level, str)).any()
    ]
    return next((name for name in ("model", "method", *varying) if name in varying), None)
