"""Where runs come from: what every source of runs can tell, whether they lie in folders or on a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from anlp.records.results import RunRecord

UNSETTLED = ""  # the stamp of a run that has to be read again whatever it looks like


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading one run."""

    run_id: str
    record: RunRecord | None = None  # None: it was skipped, the note says why
    stamp: str = UNSETTLED  # `Source.is_current` knows by it whether the record is still what a reading would give
    note: str = ""  # one sentence on what could not be read


class Source(Protocol):
    """A place that has runs."""

    def run_ids(self) -> list[str]:
        """The runs that are there, in the order of their ids, read or not."""

    def is_current(self, run_id: str, stamp: str) -> bool:
        """Whether the record with this stamp is still true, told without reading the run."""

    def read(self, run_ids: Sequence[str]) -> Iterator[Reading]:
        """These runs with their history, in any order; what took long to get comes as soon as it is there."""
