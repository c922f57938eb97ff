"""Group runs to configurations and rank them by the mean of a metric over the search seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.data.selection import choosing_runs
from analysis.text.levels import is_missing
from anlp.core.metrics import higher_is_better

Run = Mapping[str, Any]  # one row of the `runs` frame


@dataclass(frozen=True, slots=True)
class Configuration:
    """All runs that share everything but the seed."""

    config_id: str
    runs: tuple[Run, ...]
    # mean of the selection metric over the runs that choose and finished, NaN if none did
    selected_by: float

    def reported_runs(self, metric: str) -> tuple[Run, ...]:
        """Return the confirm runs as soon as one of them has `metric`, the search runs before."""
        confirm = tuple(run for run in self.runs if run["purpose"] == "confirm")
        if any(has_score(run, metric) for run in confirm):
            return confirm
        return tuple(run for run in self.runs if run["purpose"] != "confirm") or confirm


Order = Callable[[Sequence[Configuration]], list[Configuration]]


def has_score(run: Run, metric: str) -> bool:
    """Return whether the run finished with a finite value; diverged and failed runs have none."""
    value = run.get(metric)
    return run["outcome"] == "ok" and value is not None and math.isfinite(value)


def configurations(runs: pd.DataFrame, select: str) -> list[Configuration]:
    """Return the configurations of a `runs` frame, best first by `select`.

    Those without a score are last.

    Search runs choose; where there are none (`--only purpose=confirm`), the confirm runs do.
    """
    chosen_by = choosing_runs(runs)
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs.to_dict("records"):
        groups[run["config_id"]].append({str(name): value for name, value in run.items()})
    grouped = [
        Configuration(name, tuple(group), _mean(group, select, chosen_by))
        for name, group in groups.items()
    ]
    sign = -1 if higher_is_better(select) else 1
    return sorted(grouped, key=lambda configuration: _rank(configuration, sign))


def best(
    ranked: Sequence[Configuration],
    top: int,
    per: Sequence[str] = (),
    order: Order = list,
) -> list[Configuration]:
    """Return the first `top` of `ranked`, or of each level of the settings `per`.

    Levels are in the order of their best.

    Args:
        ranked: best first.
        top: so many, of each level.
        per: settings.
        order: puts the configurations of a level into another order.
    """
    groups: dict[object, list[Configuration]] = defaultdict(list)
    for configuration in ranked:
        levels = [configuration.runs[0][name] for name in per]
        key = tuple(None if is_missing(level) else level for level in levels)  # no NaN as a key
        groups[key].append(configuration)
    return [configuration for group in groups.values() for configuration in order(group)[:top]]


def _mean(runs: Iterable[Run], metric: str, chosen_by: str) -> float:
    chosen = (run for run in runs if (run["purpose"] == "confirm") == (chosen_by == "confirm"))
    scores = [run[metric] for run in chosen if has_score(run, metric)]
    return sum(scores) / len(scores) if scores else math.nan


def _rank(configuration: Configuration, sign: int) -> tuple[bool, float, bool]:
    """Return the sort key; among equals the confirmed one is first, as it was chosen before."""
    is_confirmed = any(run["purpose"] == "confirm" for run in configuration.runs)
    unknown = math.isnan(configuration.selected_by)
    return unknown, 0.0 if unknown else sign * configuration.selected_by, not is_confirmed
