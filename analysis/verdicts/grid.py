"""What other runs of the grid say of a verdict: weak plateaus, rates too large or too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.text.levels import is_missing, render_level
from analysis.verdicts.facts import Label, Verdict

WEAK = 0.5  # of the best run's range
RATE = "lr"


def mark_weak(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Return the verdicts with the cause "weak" where a converged run learned little.

    That is less than half of what the best run learned.
    """
    best = max(
        (verdict.learned for verdict in verdicts.values() if verdict.label.is_convergent),
        default=0.0,
    )
    marked = dict(verdicts)
    for name, verdict in verdicts.items():
        is_plain = verdict.label is Label.CONVERGED and verdict.cause == "settled"
        if is_plain and verdict.learned < WEAK * best:
            numbers = {**verdict.numbers, "of_best": verdict.learned / best}
            marked[name] = replace(verdict, cause="weak", numbers=numbers)
    return marked


def point_directions(
    verdicts: Mapping[str, Verdict], runs: pd.DataFrame, settings: Sequence[str]
) -> dict[str, Verdict]:
    """Return the verdicts, failed ones with what their neighbours say of the learning rate.

    Neighbours differ in the learning rate only. It is too large where smaller ones learn and no
    larger one does, too small where larger ones learn and no smaller one does. Where another seed
    of the same rate learns, nothing is said.

    Args:
        verdicts: by run_id.
        runs: with these settings.
        settings: those that vary.
    """
    if RATE not in settings or not pd.api.types.is_numeric_dtype(runs[RATE]):
        return dict(verdicts)
    others = [name for name in settings if name != RATE]
    learned: dict[tuple[str, ...], set[float]] = {}
    rows: list[dict[Any, Any]] = runs.to_dict("records")
    for row in rows:
        if verdicts[str(row["run_id"])].label.is_convergent and not is_missing(row[RATE]):
            learned.setdefault(_key(row, others), set()).add(float(row[RATE]))
    pointed = dict(verdicts)
    for row in rows:
        name = str(row["run_id"])
        if verdicts[name].label.is_divergent and not is_missing(row[RATE]):
            rates = learned.get(_key(row, others), set())
            pointed[name] = replace(verdicts[name], direction=_direction(float(row[RATE]), rates))
    return pointed


def _key(row: Mapping[Any, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(render_level(row[name]) for name in names)


def _direction(rate: float, learned: set[float]) -> str:
    smaller = [other for other in learned if other < rate]
    larger = [other for other in learned if other > rate]
    if rate in learned or bool(smaller) == bool(larger):
        return ""
    if smaller:
        return f"learning rate too large: {render_level(max(smaller))} learns"
    return f"learning rate too small: {render_level(min(larger))} learns"
