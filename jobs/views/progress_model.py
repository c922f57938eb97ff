"""The progress of a submission as data: it takes events and gives a view at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.core.metrics import default_metric
from anlp.core.spec import RunSpec, epochs_in, varying
from anlp.core.units import digits_apart, render_duration
from anlp.records.results import RunState
from jobs.common.text import render_pairs

SHORT_ID = 8
WORDS: Mapping[RunState, str] = {  # RUNNING: ended here, because another process is at it
    RunState.DONE: "done",
    RunState.DIVERGED: "diverged",
    RunState.FAILED: "failed",
    RunState.LOST: "lost",
    RunState.INTERRUPTED: "interrupted",
    RunState.RUNNING: "run elsewhere",
}


@dataclass(slots=True)
class Active:
    """A run under way."""

    since: float
    epoch: int | None = None
    metrics: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ActiveRow:
    """A line about a run under way."""

    run_id: str
    label: str
    epoch: str  # "3/10", empty before the first
    metric: str  # "val/acc 0.931", empty before the first
    seconds: float


@dataclass(frozen=True, slots=True)
class View:
    """What a screen shows at one moment."""

    total: int
    ended: int
    progress: float  # runs, the finished parts of those under way included
    counts: Mapping[RunState, int]  # of those that ended
    active: tuple[ActiveRow, ...]  # longest under way first
    elapsed_s: float
    left_s: float | None  # None: too early to say

    def summary(self) -> str:
        """Render the view in a line: `37/80  36 done, 1 failed  65 s, about 45 s left`."""
        parts = [
            f"{self.counts[state]} {word}"
            for state, word in WORDS.items()
            if self.counts.get(state)
        ]
        if self.active:
            parts.append(f"{len(self.active)} running")
        time = render_duration(self.elapsed_s)
        if self.left_s is not None and self.ended < self.total:
            time += f", about {render_duration(self.left_s)} left"
        return f"{self.ended}/{self.total}  {', '.join(parts) or 'starting'}  {time}"


class ProgressState:
    """The runs of a submission, by their index in it.

    Args:
        specs: in the order of the submission.
        now: seconds on a clock that only goes forward, the one of all later times.
    """

    def __init__(self, specs: Sequence[RunSpec], now: float) -> None:
        self._specs = specs
        self._varying = varying(spec.values for spec in specs)
        self._digits = digits_apart([spec.values[name] for spec in specs] for name in self._varying)
        self._began = now
        self._first_start: float | None = None
        self._active: dict[int, Active] = {}
        self._counts: Counter[RunState] = Counter()

    @property
    def active(self) -> tuple[int, ...]:
        """Indices of the runs under way."""
        return tuple(self._active)

    def start(self, index: int, now: float) -> None:
        """Return a process has begun with the run."""
        self._first_start = now if self._first_start is None else self._first_start
        self._active[index] = Active(now)

    def measure(self, index: int, metrics: Mapping[str, Any] | None) -> None:
        """Return the last line of its metrics, None while there is none."""
        if index in self._active and metrics is not None:
            self._active[index].epoch = int(metrics["epoch"])
            self._active[index].metrics = metrics

    def requeue(self, index: int) -> None:
        """Return the run will be started again."""
        self._active.pop(index, None)

    def end(self, index: int, state: RunState) -> None:
        """Return the run ended, for this submission."""
        self._active.pop(index, None)
        self._counts[state] += 1

    def label(self, index: int) -> str:
        """Return the settings that tell the run from the others of its submission."""
        spec = self._specs[index]
        values = spec.values
        names = [name for name in self._varying if name == "seed" or spec.settings.applies(name)]
        return render_pairs({name: values[name] for name in names}, self._digits)

    def view(self, now: float) -> View:
        """Return what there is to show."""
        ended, total = sum(self._counts.values()), len(self._specs)
        progress = ended + sum(self._fraction(index) for index in self._active)
        working_s = 0.0 if self._first_start is None else now - self._first_start
        left_s = working_s * (total - progress) / progress if progress > 0 else None
        rows = tuple(self._row(index, now) for index in self._active)
        return View(total, ended, progress, dict(self._counts), rows, now - self._began, left_s)

    def _fraction(self, index: int) -> float:
        epoch = self._active[index].epoch
        return min(1.0, (epoch or 0) / max(1, self._epochs(index)))

    def _epochs(self, index: int) -> int:
        return epochs_in(self._specs[index].settings.values())

    def _row(self, index: int, now: float) -> ActiveRow:
        run = self._active[index]
        epoch = "" if run.epoch is None else f"{run.epoch}/{self._epochs(index)}"
        spec = self._specs[index]
        metric = render_metric(run.metrics or {}, monitored_by(spec))
        return ActiveRow(spec.run_id[:SHORT_ID], self.label(index), epoch, metric, now - run.since)


def monitored_by(spec: RunSpec) -> str:
    """Return the metric that a run monitors; empty where its task has none."""
    return str(spec.settings.values().get("monitor", ""))


def render_metric(metrics: Mapping[str, Any], monitored: str) -> str:
    """Render the metric of the validation set that counts for a run; empty where there is none.

    >>> render_metric({"epoch": 3, "train/loss": 0.2, "val/acc": 0.93061, "val/f1": 0.9}, "val/acc")
    'val/acc 0.9306'
    """
    name = default_metric([name for name in metrics if name.startswith("val/")], {monitored})
    if name is None:
        return ""
    value = metrics[name]
    return f"{name} {'nan' if value is None else f'{value:.4f}'}"
