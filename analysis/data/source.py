"""What every source of runs can tell, whether they lie in folders or on a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from anlp.records.results import RunRecord

UNSETTLED = ""  # the stamp of a run that has to be read again in any case


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading one run."""

    run_id: str
    record: RunRecord | None = None  # None: it was skipped, the note says why
    stamp: str = UNSETTLED  # by which `Source.is_current` tells whether the record is up to date
    note: str = ""  # one sentence on what could not be read


class Source(Protocol):
    """A place that has runs."""

    def run_ids(self) -> list[str]:
        """Return the runs that are there, in the order of their ids, read or not."""

    def is_current(self, run_id: str, stamp: str) -> bool:
        """Return whether the record with this stamp is up to date, without reading the run."""

    def read(self, run_ids: Sequence[str]) -> Iterator[Reading]:
        """Yield these runs with their history, in any order, each as soon as it is there."""
