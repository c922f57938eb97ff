"""Where the numbers of a run go while it trains; every tracker has these two methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """One place that metrics go to."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record the metrics of one epoch.

        Args:
            metrics: by name, `val/acc` and so on.
            step: the epoch, 0 first.
        """

    def finish(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Close the tracker.

        Args:
            outcome: a value of `anlp.records.results.Outcome`, or "interrupted".
            summary: the result as `RunResult.to_summary` has it; empty where there is none.
        """
