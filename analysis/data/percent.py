"""Shares that the user's own programs log in percent become shares in [0, 1]."""

from __future__ import annotations

import pandas as pd

from analysis.text.metrics import is_share
from anlp.tasks.user_code import is_user_code

MOST = 1.0 + 1e-6  # a share of samples, but for rounding


def shares_of_percent(
    runs: pd.DataFrame, history: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the frames with every share in [0, 1], and a note per metric that was in percent.

    A metric is in percent in all runs of the user's own code where any of them has it above 1. So
    97.3 and 0.9 of one grid are 97.3 % and 0.9 %.

    Args:
        runs: see `analysis.data.frames`.
        history: likewise.
    """
    tasks = [str(task) for task in runs["task"].unique()]
    if not any(is_user_code(task) for task in tasks):
        return runs, history, []
    own = runs["task"].map(lambda task: is_user_code(str(task))).astype(bool)
    ids = set(runs.loc[own, "run_id"])
    lines = history["run_id"].isin(ids)
    notes = []
    for name in _shares(runs, history):
        largest = max(_largest(runs, own, name), _largest(history, lines, name))
        if largest > MOST:
            runs, history = _divided(runs, own, name), _divided(history, lines, name)
            notes.append(f"{name} is logged in percent (up to {largest:.4g})")
    return runs, history, notes


def _shares(runs: pd.DataFrame, history: pd.DataFrame) -> list[str]:
    names = dict.fromkeys([*map(str, runs.columns), *map(str, history.columns)])
    return [name for name in names if "/" in name and is_share(name)]


def _largest(frame: pd.DataFrame, rows: pd.Series[bool], name: str) -> float:
    if name not in frame:
        return 0.0
    largest = frame.loc[rows, name].astype(float).max()
    return 0.0 if pd.isna(largest) else float(largest)


def _divided(frame: pd.DataFrame, rows: pd.Series[bool], name: str) -> pd.DataFrame:
    if name not in frame:
        return frame
    changed = frame.copy()
    changed.loc[rows, name] = frame.loc[rows, name].astype(float) / 100
    return changed
