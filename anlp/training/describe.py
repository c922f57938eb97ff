"""What a run's data looks like in numbers, for the record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from anlp.training.problem import Problem, Split


def describe_data(problem: Problem) -> dict[str, Any]:
    """Names of the classes and how many samples of each every split has, under `data`; nothing for quantities.

    Where labels were merged or dropped, `origins` says what became of each.
    """
    target = problem.train.samples.targets[0]
    if not problem.names or target.dim() != 1 or target.is_floating_point():
        return {}
    splits = {"train": problem.train, "val": problem.val, "test": problem.test}
    counts = {name: _counts(split, len(problem.names)) for name, split in splits.items()}
    found: dict[str, Any] = {"names": list(problem.names), "counts": counts}
    if problem.origins:
        found["origins"] = [asdict(origin) for origin in problem.origins]
    return {"data": found}


def _counts(split: Split, classes: int) -> list[int]:
    labels = split.samples.targets[0].index_select(0, split.rows)
    counts: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return counts
