"""Which configurations a table shows: the best by the mean of a validation metric over the search seeds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.frame import metric_columns
from analysis.metrics import higher_is_better
from anlp.errors import UserError

Run = Mapping[str, Any]  # one row of the `runs` frame
USUAL_METRICS = ("val/acc", "val/spearman", "val/r2", "val/f1", "val/loss")


@dataclass(frozen=True, slots=True)
class Configuration:
    """All runs that share everything but the seed."""

    config_id: str
    runs: tuple[Run, ...]
    selected_by: float  # mean of the selection metric over the runs that choose and finished, NaN if none did

    def reported_runs(self, metric: str) -> tuple[Run, ...]:
        """The confirm runs alone as soon as one of them has `metric`, the search runs before."""
        confirm = tuple(run for run in self.runs if run["purpose"] == "confirm")
        if any(has_score(run, metric) for run in confirm):
            return confirm
        return tuple(run for run in self.runs if run["purpose"] != "confirm") or confirm


def has_score(run: Run, metric: str) -> bool:
    """Whether the run finished with a finite value; diverged and failed runs have none, whatever they wrote."""
    value = run.get(metric)
    return run["outcome"] == "ok" and value is not None and math.isfinite(value)


def configurations(runs: pd.DataFrame, select: str) -> list[Configuration]:
    """The configurations of a `runs` frame, best first by `select`; those that cannot be judged are last.

    Search runs choose; where there are none (`--only purpose=confirm`), the confirm runs do.
    """
    chosen_by = choosing_runs(runs)
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs.to_dict("records"):
        groups[run["config_id"]].append({str(name): value for name, value in run.items()})
    found = [Configuration(name, tuple(group), _mean(group, select, chosen_by)) for name, group in groups.items()]
    sign = -1 if higher_is_better(select) else 1
    return sorted(found, key=lambda c: _rank(c, sign))


def best(ranked: Sequence[Configuration], top: int, per: Sequence[str] = ()) -> list[Configuration]:
    """The first `top` of `ranked`, or of each level of the settings `per`: levels in the order of their best."""
    groups: dict[object, list[Configuration]] = defaultdict(list)
    for configuration in ranked:
        levels = [configuration.runs[0][name] for name in per]
        groups[tuple(None if level != level else level for level in levels)].append(configuration)  # no NaN as a key
    return [configuration for group in groups.values() for configuration in group[:top]]


def usual_metric(runs: pd.DataFrame) -> str:
    """The metric that chooses where nobody says which: accuracy, else what the runs were told to monitor, else a usual.

    Args:
        runs: see `analysis.frame`.

    Raises:
        UserError: no run has finished with a metric.
    """
    known = measured_metrics(runs)
    monitored = [str(name) for name in runs["monitor"].dropna().unique()] if "monitor" in runs else []
    validated = [name for name in known if name.startswith("val/")]
    wanted = (USUAL_METRICS[0], *(monitored if len(monitored) == 1 else []), *USUAL_METRICS, *validated, *known)
    found = next((name for name in wanted if name in known), None)
    if found is None:
        raise UserError(nothing_finished(runs))
    return found


def tested_metric(runs: pd.DataFrame, select: str) -> str:
    """The same metric on the test set, where it was measured there."""
    name = f"test/{select.partition('/')[2]}"
    return name if name in measured_metrics(runs) else select


def nothing_finished(runs: pd.DataFrame) -> str:
    """Why there is no metric, in a sentence without its end: how many runs there are in which state."""
    finished = int((runs["outcome"] == "ok").sum())
    if finished:
        return f"no run has a finite metric ({finished} finished without one)"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(runs["outcome"]).most_common())
    return f"no run has finished with a metric ({counts or 'there are none'})"


def measured_metrics(runs: pd.DataFrame) -> list[str]:
    """The metrics of which some run that finished has a finite value."""
    finished = runs[runs["outcome"] == "ok"]
    return [name for name in metric_columns(runs) if np.isfinite(finished[name].astype(float)).any()]


def choosing_runs(runs: pd.DataFrame) -> str:
    """Which runs choose among configurations: `search`, or `confirm` where there are no others."""
    return "confirm" if len(runs) and (runs["purpose"] == "confirm").all() else "search"


def _mean(runs: Iterable[Run], metric: str, chosen_by: str) -> float:
    chosen = (run for run in runs if (run["purpose"] == "confirm") == (chosen_by == "confirm"))
    scores = [run[metric] for run in chosen if has_score(run, metric)]
    return sum(scores) / len(scores) if scores else math.nan


def _rank(configuration: Configuration, sign: int) -> tuple[bool, float, bool]:
    """Sort key. Among equals the confirmed one comes first: it was the one chosen when it was confirmed."""
    is_confirmed = any(run["purpose"] == "confirm" for run in configuration.runs)
    unknown = math.isnan(configuration.selected_by)
    return unknown, 0.0 if unknown else sign * configuration.selected_by, not is_confirmed
