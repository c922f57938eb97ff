"""Which configurations a table shows: the best by the mean of a validation metric over the search seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from anlp.core.metrics import higher_is_better

Run = Mapping[str, Any]  # one row of the `runs` frame


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
    found = [
        Configuration(name, tuple(group), _mean(group, select, chosen_by))
        for name, group in groups.items()
    ]
    sign = -1 if higher_is_better(select) else 1
    return sorted(found, key=lambda c: _rank(c, sign))


def best(ranked: Sequence[Configuration], top: int, per: Sequence[str] = ()) -> list[Configuration]:
    """The first `top` of `ranked`, or of each level of the settings `per`: levels in the order of their best."""
    groups: dict[object, list[Configuration]] = defaultdict(list)
    for configuration in ranked:
        levels = [configuration.runs[0][name] for name in per]
        groups[tuple(None if level != level else level for level in levels)].append(
            configuration
        )  # no NaN as a key
    return [configuration for group in groups.values() for configuration in group[:top]]


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
