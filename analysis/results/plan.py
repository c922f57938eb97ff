"""What a results table shows, and by which metrics and methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.stats.intervals import Method

TiedOption = Literal["welch", "moderated", "pooled", "none"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to tabulate; names as in the `runs` frame."""

    select: str = "val/acc"
    report: str = "test/acc"
    top: int | None = None  # None: all, or with `per` the best one of each level
    per: str | None = None
    worst: bool = False  # the worst configuration of all, too
    by: str | None = None  # separates groups of rows, each with its own best
    # the settings down and across; each cell is the best of its configurations
    pivot: tuple[str, str] | None = None
    # settings (ascending) or the two metrics (best first); empty: by `select`
    sort: tuple[str, ...] = ()
    method: Method = "t"
    level: float = 0.95
    tied: TiedOption = "welch"
    # within which rows are equivalent, in the unit of the metric; None: what the metric resolves
    margin: float | None = None
    only: str = ""  # the filter that the runs have passed, for the caption

    @property
    def is_sorted_by_report(self) -> bool:
        """Return whether rows are in the order of a metric that takes no part in the selection."""
        return self.report in self.sort and self.report != self.select
