"""Estimate by how much the score of the best row is too good, since it was chosen by its runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.results.configurations import Configuration, Run, has_score
from analysis.results.plan import Plan
from analysis.results.rows import has_trained
from analysis.stats.intervals import Array
from analysis.stats.multiple_comparisons import moments
from analysis.stats.selection_bias import selection_optimism, shared_luck
from analysis.stats.shrinkage import moderated_errors
from anlp.core.metrics import higher_is_better


@dataclass(frozen=True, slots=True)
class Optimism:
    """By how much the best row is expected to be too good, in the reported metric."""

    expected: float | None  # None: unknown, no configuration has two seeds
    error: float  # Monte-Carlo standard error of it
    n: int  # seeds of the best
    k: int  # configurations among which it was chosen
    shared: float  # correlation of seed luck between the metric that chose and the one reported


def optimism_of(
    best_id: str, candidates: Collection[str], ranked: Sequence[Configuration], plan: Plan
) -> Optimism | None:
    """Return the optimism of the configuration that was selected; None if there was no choice.

    Args:
        best_id: of the selected configuration.
        candidates: ids of the configurations that might have been selected, this one among them.
        ranked: all configurations.
        plan: of the table.
    """
    usable = {
        one.config_id: [run for run in one.runs if _counts_for(run, plan)]
        for one in ranked
        if one.config_id in candidates
    }
    usable = {name: runs for name, runs in usable.items() if runs}
    if best_id not in usable or len(usable) < 2:
        return None
    place, n = list(usable).index(best_id), len(usable[best_id])
    chosen_by = _groups(usable.values(), plan.select)
    reported = _groups(usable.values(), plan.report)
    shared = 1.0 if plan.select == plan.report else shared_luck(chosen_by, reported)
    means, errors = moments(chosen_by).mean, _errors(chosen_by)
    if np.isnan(errors).any():
        return Optimism(None, 0.0, n, len(usable), shared)
    found = selection_optimism(means, errors, place)
    scale = _scale(errors[place], _errors(reported)[place]) * shared
    return Optimism(scale * found.value, scale * found.error, n, len(usable), shared)


def _scale(error: float, reported: float) -> float:
    """Return how large luck of the reported metric is, in luck of the metric that chose."""
    return float(reported / error) if error > 0 else 0.0


def _errors(groups: Sequence[Array]) -> Array:
    found = moments(groups)
    return moderated_errors(found.variance, found.n)


def _groups(runs: Collection[Sequence[Run]], metric: str) -> list[Array]:
    """Return the scores of each configuration, higher is better."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    return [np.array([sign * float(run[metric]) for run in group]) for group in runs]


def _counts_for(run: Run, plan: Plan) -> bool:
    is_usable = has_score(run, plan.select) and has_score(run, plan.report)
    return run["purpose"] != "confirm" and is_usable and has_trained(run, plan.report)
