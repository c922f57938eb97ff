"""Define what a launcher tells about its own elements while they run, and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.schedulers.base import JobState


@dataclass(frozen=True, slots=True)
class ElementStarted:
    """Says that a process runs the element now."""

    index: int
    pid: int
    slot: int


@dataclass(frozen=True, slots=True)
class ElementEnded:
    """Says that the element's process ended, or was cancelled before it started."""

    index: int
    state: JobState
    exit_code: int | None = None  # None: a signal, or never started
    seconds: float = 0.0
    peak_rss_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class ElementRequeued:
    """Says that the pool of the element is gone; the element will be started again."""

    index: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Holds a line that people should read."""

    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Says that half a second has passed: screens may look at files and redraw."""


Event = ElementStarted | ElementEnded | ElementRequeued | Notice | Tick


@dataclass(frozen=True, slots=True)
class Summary:
    """Says what became of a submission that was followed to its end."""

    ended: Mapping[int, ElementEnded]  # by index
    not_run: tuple[int, ...] = ()  # indices that never ended because everything was stopped
    stopped_by: int | None = None  # the signal (Ctrl-C is SIGINT)
