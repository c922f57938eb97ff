"""Select configurations by the mean of a metric over their search runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from anlp.core.metrics import higher_is_better


def choosing_runs(runs: pd.DataFrame) -> str:
    """Return which runs choose configurations: `search`, or `confirm` if there are no others."""
    return "confirm" if len(runs) and (runs["purpose"] == "confirm").all() else "search"


def selected_configuration(runs: pd.DataFrame, metric: str) -> str | None:
    """Return the id of the configuration that `metric` selects; None if no run can tell."""
    found = selected_of_each(runs, metric, [""] * len(runs))
    return found[""][0] if found else None


def selected_of_each(
    runs: pd.DataFrame, metric: str, levels: Sequence[Any]
) -> Mapping[Any, tuple[str, float]]:
    """Return the selected configuration of each level, and its mean of the metric that selects.

    A configuration that lacks a seed is selected only where all of its level do: its mean is over
    the lucky ones. Levels without a finite metric are left out.

    Args:
        runs: see `analysis.data.frames`.
        metric: the one that selects.
        levels: (n_runs,) of a setting, none of them missing.
    """
    is_confirm = (runs["purpose"] == "confirm").to_numpy()
    chosen = is_confirm == (choosing_runs(runs) == "confirm")
    scores = runs[metric].astype(float).to_numpy()
    usable = chosen & (runs["outcome"] == "ok").to_numpy() & np.isfinite(scores)
    lost = set(runs["config_id"][chosen & ~usable])
    groups = pd.DataFrame(
        {
            "level": list(levels),
            "config_id": runs["config_id"].to_numpy(),
            "score": scores,
        }
    )[usable]
    means = groups.groupby(["level", "config_id"], sort=False)["score"].mean()
    found = means.reset_index()
    found["has_lost"] = found["config_id"].isin(lost)
    found["rank"] = -found["score"] if higher_is_better(metric) else found["score"]
    ordered = found.sort_values(["has_lost", "rank"], kind="stable").drop_duplicates("level")
    rows = ordered[["level", "config_id", "score"]].itertuples(index=False, name=None)
    return {level: (str(name), float(score)) for level, name, score in rows}
