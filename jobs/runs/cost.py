"""What the runs of a grid have cost, from what they wrote themselves and the journal; asks no scheduler."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from anlp.records.accounting import AttemptUsage, usage_from_json, usage_up_to
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.results import RunResult
from jobs.config.resources import Resources
from jobs.runs.journal import Journal, Submission
from jobs.runs.status import RunStatus

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one run of a submission had of its job: packed runs share what the job asked for."""

    gpus: float
    cpus: float
    mem_mib: float | None
    submitted: float | None = None  # unix


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the runs that ended. Hours are those that were set apart for attempts, whether they were used or not."""

    runs: int
    gpu_hours: float
    cpu_hours: float
    cpu_efficiency: (
        float | None
    )  # processor time by time on all cores asked for; None: nobody wrote it down
    peak_mib: float | None  # of the run that came nearest to what it had asked for
    asked_mib: float | None  # what that run had asked for
    gpu_peak_mib: float | None  # the largest
    wait_median_s: float | None  # from a submission to the first attempt
    wait_p95_s: float | None
    lost_attempts: int  # killed or failed
    lost_gpu_hours: float
    lost_cpu_hours: float

    def to_json(self) -> dict[str, Any]:
        """`cost` in `jobs.status --json`."""
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def read(folder: GridFolder, statuses: Iterable[RunStatus]) -> Cost | None:
    """What the runs among `statuses` that ended have cost, None where none did."""
    ended = [status for status in statuses if not status.state.is_active]
    attempts = {status.run_id: attempts_of(status) for status in ended}
    begun = [status for status in ended if attempts[status.run_id]]
    return add_up(begun, attempts, read_shares(folder)) if begun else None


def attempts_of(status: RunStatus) -> list[AttemptUsage]:
    """The attempts at a run: from its result, or from its claims where it has none."""
    if status.result is None:
        return [] if status.attempt is None else usage_up_to(status.attempt)
    with suppress(KeyError, TypeError, ValueError):
        return [usage_from_json(form) for form in status.result.provenance["spent"]]
    ending = (
        "failed" if not status.result.outcome.is_result else "done"
    )  # written before attempts were
    return [
        AttemptUsage(
            0.0, status.result.seconds, ending, str(status.result.provenance.get("batch", ""))
        )
    ]


def read_shares(folder: GridFolder) -> dict[str, Share]:
    """What one run had of its job, by the tag of each submission of a grid."""
    return {
        tag: _share(folder, submission) for tag, submission in Journal(folder).submissions().items()
    }


def share_of(resources: Resources, at_once: int = 1, submitted: float | None = None) -> Share:
    """A run's part of what its job asked for."""
    memory = resources.mem_mib
    return Share(
        resources.gpus * resources.nodes / at_once,
        resources.cpus * resources.nodes / at_once,
        None if memory is None else memory / at_once,
        submitted,
    )


def _share(folder: GridFolder, submission: Submission) -> Share:
    """By the first element of its batch: all of them are packed alike, the last perhaps with fewer."""
    line = next(read_jsonl(folder.path / submission.batch), {})
    at_once = min(int(line.get("at_once", 1)), len(line.get("specs", ())))
    return share_of(submission.resources, max(1, at_once), submission.time)


@dataclass(slots=True)
class _Sum:
    gpu_s: float = 0.0
    cpu_s: float = 0.0
    lost: int = 0
    lost_gpu_s: float = 0.0
    lost_cpu_s: float = 0.0
    used_s: float = 0.0  # processor time
    measured_s: float = 0.0  # time on all cores of those attempts whose processor time is known
    waits: list[float] = field(default_factory=list)

    def add(self, spent: AttemptUsage, share: Share) -> None:
        gpu_s, cpu_s = spent.wall_s * share.gpus, spent.wall_s * share.cpus
        self.gpu_s += gpu_s
        self.cpu_s += cpu_s
        if spent.is_lost:
            self.lost += 1
            self.lost_gpu_s += gpu_s
            self.lost_cpu_s += cpu_s
        if spent.cpu_s is not None:
            self.used_s += spent.cpu_s
            self.measured_s += cpu_s


def add_up(
    statuses: Sequence[RunStatus],
    attempts: Mapping[str, Sequence[AttemptUsage]],
    shares: Mapping[str, Share],
) -> Cost:
    """The cost of runs that ended.

    Args:
        statuses: the runs.
        attempts: by run id.
        shares: by tag of the submission; where one is unknown, that of the run's last submission stands for it.
    """
    total = _Sum()
    for status in statuses:
        own = share_of(status.resources)
        for spent in attempts[status.run_id]:
            total.add(spent, shares.get(spent.batch, own))
        total.waits += _waits(attempts[status.run_id], shares)
    peak, asked = _nearest_to_limit(statuses, shares)
    return Cost(
        runs=len(statuses),
        gpu_hours=total.gpu_s / HOUR_S,
        cpu_hours=total.cpu_s / HOUR_S,
        cpu_efficiency=total.used_s / total.measured_s if total.measured_s else None,
        peak_mib=peak,
        asked_mib=asked,
        gpu_peak_mib=max(_figures(statuses, "gpu_peak_mib"), default=None),
        wait_median_s=statistics.median(total.waits) if total.waits else None,
        wait_p95_s=percentile(total.waits, 0.95) if total.waits else None,
        lost_attempts=total.lost,
        lost_gpu_hours=total.lost_gpu_s / HOUR_S,
        lost_cpu_hours=total.lost_cpu_s / HOUR_S,
    )


def _waits(attempts: Sequence[AttemptUsage], shares: Mapping[str, Share]) -> list[float]:
    """Seconds from each submission of a run to its first attempt for it; a requeue is no submission."""
    begins: dict[str, list[float]] = defaultdict(list)
    for spent in attempts:
        if spent.since:
            begins[spent.batch].append(spent.since)
    submitted = {tag: shares[tag].submitted for tag in begins if tag in shares}
    return [
        max(0.0, min(begins[tag]) - since) for tag, since in submitted.items() if since is not None
    ]


def _nearest_to_limit(
    statuses: Iterable[RunStatus], shares: Mapping[str, Share]
) -> tuple[float | None, float | None]:
    """Peak and asked memory of the run that came nearest to its limit; where nothing was asked for, the largest."""
    found: list[tuple[float, float, float | None]] = []
    for status in statuses:
        peak = figure(status.result, "peak_rss_mib")
        if status.result is not None and peak is not None:
            tag = str(status.result.provenance.get("batch", ""))
            asked = shares.get(tag, share_of(status.resources)).mem_mib
            found.append((peak / asked if asked else 0.0, peak, asked))
    return max(found, key=lambda item: item[:2])[1:] if found else (None, None)


def _figures(statuses: Iterable[RunStatus], name: str) -> list[float]:
    return [value for status in statuses if (value := figure(status.result, name)) is not None]


def figure(result: RunResult | None, name: str) -> float | None:
    """A number that a run wrote about itself, None where it did not."""
    value = None if result is None else result.provenance.get(name)
    return float(value) if isinstance(value, int | float) else None


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if isinstance(value, float) else value


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` (0 to 1) of them do not exceed; at least one value."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
