"""The seeds of one configuration with what they predicted: what charts of mistakes are of."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import pandas as pd

from analysis.data.load import Runs
from analysis.data.metric_choice import selecting_metric
from analysis.data.predictions import HOW, Predictions, has_predictions, load_predictions
from analysis.data.selection import selected_configuration
from analysis.plots.gradient_norms import best_runs
from analysis.plots.groups import configuration_names, pick_metric
from analysis.plots.style import shortened
from analysis.results.configurations import configurations
from anlp.core.errors import UserError
from anlp.core.units import count


@dataclass(frozen=True, slots=True)
class Seeds:
    """What a chart of mistakes is made from."""

    found: tuple[Predictions, ...]  # at least one
    name: str  # of the configuration
    grid: str

    @property
    def said(self) -> str:
        """`lr=0.1 model=cnn, 5 seeds`."""
        return ", ".join(filter(None, [self.name, count(len(self.found), "seed")]))


def load_seeds(loaded: Runs, metric: str = "") -> Seeds:
    """Return the seeds of the best configuration that wrote predictions.

    Args:
        loaded: the runs that are candidates.
        metric: what best means; the usual validation metric unless given.

    Raises:
        UserError: no run wrote predictions.
    """
    candidates = _candidates(loaded)
    return _load(loaded, *best_runs(candidates, metric))


def load_ends(loaded: Runs, metric: str = "") -> tuple[Seeds, Seeds]:
    """Return the seeds of the best and of the worst configuration that wrote predictions.

    Raises:
        UserError: fewer than two configurations did.
    """
    candidates = _candidates(loaded)
    select = selecting_metric(candidates, pick_metric(candidates, metric))
    known = [one for one in configurations(candidates, select) if not isnan(one.selected_by)]
    ids = [one.config_id for one in known]
    if len(ids) < 2:
        raise UserError(
            "a best and a worst configuration needs two that wrote predictions; there is one"
        )
    best_id = selected_configuration(candidates, select) or ids[0]
    worst_id = next(config_id for config_id in reversed(ids) if config_id != best_id)
    names = dict(zip(candidates["config_id"], configuration_names(candidates), strict=True))
    best, worst = (
        _load(
            loaded,
            candidates[candidates["config_id"] == config_id],
            shortened(names[config_id], 60),
        )
        for config_id in (best_id, worst_id)
    )
    return best, worst


def _candidates(loaded: Runs) -> pd.DataFrame:
    """Return the runs that wrote predictions."""
    candidates = has_predictions(loaded.folder, loaded.runs)
    if candidates.empty:
        raise UserError(
            f"no predictions.npz in the folders of {count(len(loaded.runs), 'run')}: {HOW}"
        )
    return candidates


def _load(loaded: Runs, runs: pd.DataFrame, name: str) -> Seeds:
    confirm = runs[runs["purpose"] == "confirm"]
    return Seeds(
        tuple(load_predictions(loaded.folder, confirm if len(confirm) else runs)), name, loaded.grid
    )
