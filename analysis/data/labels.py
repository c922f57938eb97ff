"""Read what runs say about their data: the classes and how many samples of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anlp.core.errors import UserError
from anlp.records.folders import RunFolder
from anlp.records.results import RunResult, read_result


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The classes of a data set as one seed has split it."""

    data: str
    names: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]  # split -> samples of each class
    baselines: Mapping[str, float]  # name -> accuracy on the test set
    run_id: str  # whose split it is


@dataclass(frozen=True, slots=True)
class LabelOrigin:
    """A label as the files have it, and what became of it."""

    label: str
    becomes: str  # the class; empty: dropped
    train: int
    test: int

    @property
    def samples(self) -> int:
        """Count the samples of both parts."""
        return self.train + self.test


def class_counts(folder: Path, runs: pd.DataFrame) -> ClassCounts:
    """Return the classes of the data set of these runs, from the first run that says them.

    Args:
        folder: of the grid.
        runs: see `analysis.data.frames`; all on one data set.

    Raises:
        UserError: there are several data sets, or no run here says what its classes are.
    """
    _want_one(runs, "task", "data", "mapping")
    for run_id in runs["run_id"].astype(str):
        result = read_result(RunFolder(folder / run_id))
        data = None if result is None else _data_of(result)
        if result is None or data is None:
            continue
        first = runs.loc[runs["run_id"] == run_id, "data"].iloc[0] if "data" in runs else ""
        counts = {}
        for split, numbers in data["counts"].items():
            counts[str(split)] = tuple(map(int, numbers))
        names = tuple(map(str, data["names"]))
        return ClassCounts(str(first), names, counts, dict(result.baselines), run_id)
    raise UserError(
        f"no run under {folder} says how many samples its classes have: their targets are "
        "quantities, or the runs are not in folders here (a wandb project does not keep it)"
    )


def label_origins(folder: Path, runs: pd.DataFrame) -> tuple[LabelOrigin, ...]:
    """Return the labels that were merged to the classes, from the first run that says them.

    Args:
        folder: of the grid.
        runs: see `analysis.data.frames`; all on one data set, with one mapping.

    Raises:
        UserError: there are several, or no run here says what its labels were.
    """
    _want_one(runs, "task", "data", "mapping")
    for run_id in runs["run_id"].astype(str):
        result = read_result(RunFolder(folder / run_id))
        data = None if result is None else _data_of(result)
        if data is not None and data.get("origins"):
            return tuple(
                LabelOrigin(label["label"], label["becomes"], label["train"], label["test"])
                for label in data["origins"]
            )
    raise UserError(
        f"no run under {folder} says what its labels were before a mapping: its task merges none, "
        "or the runs are not in folders here; see the kind classes"
    )


def _want_one(runs: pd.DataFrame, *settings: str) -> None:
    """Refuse runs on several data sets."""
    names = [name for name in settings if name in runs and runs[name].nunique() > 1]
    if names:
        levels = sorted(map(str, runs[names[-1]].dropna().unique()))
        raise UserError(
            f"{len(levels)} data sets in this grid ({', '.join(levels)}): "
            f"choose one with --only {names[-1]}={levels[0]}"
        )


def _data_of(result: RunResult) -> Mapping[str, Any] | None:
    """Return what a result says about the classes of its data, None where it does not."""
    data = result.provenance.get("data")
    if not isinstance(data, Mapping) or not {"names", "counts"} <= set(data):
        return None
    return data if data["names"] else None
