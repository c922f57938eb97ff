"""The seeds of one configuration with what they predicted: what charts of mistakes are of."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.plots.groups import count
from analysis.plots.norms import best_runs
from analysis.predictions import HOW, Predictions, has_predictions, load_predictions
from analysis.pull import Runs
from anlp.errors import UserError


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
    """The seeds of the best configuration that wrote predictions.

    Args:
        loaded: the runs that are candidates.
        metric: what best means; the usual validation metric unless given.

    Raises:
        UserError: no run wrote predictions.
    """
    candidates = has_predictions(loaded.folder, loaded.runs)
    if candidates.empty:
        raise UserError(f"no predictions.npz in the folders of {count(len(loaded.runs), 'run')}: {HOW}")
    runs, name = best_runs(candidates, metric)
    confirm = runs[runs["purpose"] == "confirm"]
    return Seeds(tuple(load_predictions(loaded.folder, confirm if len(confirm) else runs)), name, loaded.grid)
