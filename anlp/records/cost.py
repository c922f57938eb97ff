"""What the runs of a grid cost, from their attempts and from what their jobs asked for.

`jobs.status` and the report of `analysis` both count with this module, so their figures are equal.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anlp.core.units import SECONDS_PER_HOUR
from anlp.records.accounting import AttemptUsage, usage_from_json
from anlp.records.batches import read_batch
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder

# The names of `cost` in `jobs.status --json`.
JSON_NAMES = (
    "runs",
    "gpu_hours",
    "cpu_hours",
    "cpu_efficiency",
    "peak_mib",
    "asked_mib",
    "gpu_peak_mib",
    "wait_median_s",
    "wait_p95_s",
    "lost_attempts",
    "lost_gpu_hours",
    "lost_cpu_hours",
)


REUSED_FROM = "reused_from"  # of a result's provenance: the grid that it was taken from


@dataclass(frozen=True, slots=True)
class Share:
    """What one run of a submission had of its job, whose runs at the same time share it."""

    gpus: float
    cpus: float
    mem_mib: float | None = None
    submitted: float | None = None  # unix


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What one run used, in all its attempts."""

    attempts: Sequence[AttemptUsage]
    batch: str = ""  # tag of the submission of its result
    peak_mib: float | None = None  # None: not measured
    gpu_peak_mib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of runs. GPU and CPU hours are those that jobs asked for, used or not."""

    runs: int
    run_hours: float  # from the first to the last sign of life of each attempt
    gpu_hours: float | None  # None: what was asked for is not known
    cpu_hours: float | None
    used_cpu_hours: float | None  # processor time; None: not measured
    cpu_efficiency: float | None  # processor time by time on all cores asked for
    peak_mib: float | None  # of the run that came nearest to what it had asked for
    asked_mib: float | None  # what that run had asked for
    gpu_peak_mib: float | None  # the largest
    wait_median_s: float | None  # from a submission to the first attempt
    wait_p95_s: float | None
    repeated: int  # runs that took more than one attempt
    lost_attempts: int  # killed or failed
    lost_hours: float
    lost_gpu_hours: float
    lost_cpu_hours: float

    def to_json(self) -> dict[str, Any]:
        """Return `cost` as `jobs.status --json` has it."""
        return {name: _rounded(getattr(self, name)) for name in JSON_NAMES}


def usage_of_result(provenance: Mapping[str, Any], seconds: float, *, failed: bool) -> RunUsage:
    """Return what a run with a result used.

    Args:
        provenance: of the result; results that were written before attempts were have none there.
        seconds: of all attempts together, as the result says.
        failed: whether the run raised.
    """
    batch = str(provenance.get("batch", ""))
    attempts = _attempts_in(provenance.get("spent"))
    if not attempts and REUSED_FROM not in provenance:
        attempts = [AttemptUsage(0.0, seconds, "failed" if failed else "done", batch)]
    return RunUsage(
        attempts,
        batch,
        number_in(provenance, "peak_rss_mib"),
        number_in(provenance, "gpu_peak_mib"),
    )


def _attempts_in(forms: Any) -> list[AttemptUsage]:
    """Return the attempts that a result lists; damaged entries are left out."""
    found = []
    for form in forms if isinstance(forms, list) else ():
        try:
            found.append(usage_from_json(form))
        except (AttributeError, KeyError, TypeError, ValueError):  # noqa: PERF203 - one of a few
            continue
    return found


def number_in(provenance: Mapping[str, Any], name: str) -> float | None:
    """Return a number that a run wrote about itself, None where it did not.

    >>> number_in({"cpu_s": 18}, "cpu_s"), number_in({"cpu_s": True}, "cpu_s"), number_in({}, "s")
    (18.0, None, None)
    """
    value = provenance.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_shares(folder: GridFolder) -> dict[str, Share]:
    """Return what one run of each submission had of its job, by tag; without a journal, none."""
    found = {}
    for line in read_jsonl(folder.journal):
        asked = line.get("resources") or line.get("each")
        if line.get("event") == "intent" and isinstance(asked, dict):
            tag = str(line.get("tag"))
            at_once = _concurrency(folder, str(line.get("batch")), tag)
            found[tag] = share_of(asked, at_once, number_in(line, "time"))
    return found


def share_of(asked: Mapping[str, Any], at_once: int = 1, submitted: float | None = None) -> Share:
    """Return a run's part of what its job asked for.

    >>> share_of({"gpus": 1, "cpus": 8, "mem_mib": 16384}, at_once=4)
    Share(gpus=0.25, cpus=2.0, mem_mib=4096.0, submitted=None)

    Args:
        asked: the fields of `jobs.config.resources.Resources`.
        at_once: runs that go at the same time in the job.
        submitted: unix time of the submission.
    """
    nodes = number_in(asked, "nodes") or 1.0
    gpus, cpus = number_in(asked, "gpus") or 0.0, number_in(asked, "cpus") or 1.0
    memory = number_in(asked, "mem_mib")
    return Share(
        gpus * nodes / at_once,
        cpus * nodes / at_once,
        None if memory is None else memory / at_once,
        submitted,
    )


def _concurrency(folder: GridFolder, batch: str, tag: str) -> int:
    """Runs at the same time, by the first element: the last one may have fewer."""
    lines = read_batch(folder.path / batch, tag)
    return max(1, min(lines[0].at_once, len(lines[0].specs))) if lines else 1


@dataclass(slots=True)
class _Sum:
    """Adds up attempts."""

    wall_s: float = 0.0
    gpu_s: float = 0.0
    cpu_s: float = 0.0
    lost: int = 0
    lost_s: float = 0.0
    lost_gpu_s: float = 0.0
    lost_cpu_s: float = 0.0
    used: list[float] = field(default_factory=list)  # processor seconds
    measured_s: float = 0.0  # on all cores, of attempts whose processor time and share are known
    measured_used_s: float = 0.0

    def add(self, spent: AttemptUsage, share: Share | None) -> None:
        wall_s = spent.wall_s
        gpu_s = wall_s * share.gpus if share else 0.0
        cpu_s = wall_s * share.cpus if share else 0.0
        self.wall_s += wall_s
        self.gpu_s += gpu_s
        self.cpu_s += cpu_s
        if spent.is_lost:
            self.lost += 1
            self.lost_s += wall_s
            self.lost_gpu_s += gpu_s
            self.lost_cpu_s += cpu_s
        if spent.cpu_s is not None:
            self.used.append(spent.cpu_s)
            if share is not None:
                self.measured_s += cpu_s
                self.measured_used_s += spent.cpu_s


def add_up(runs: Sequence[RunUsage], shares: Mapping[str, Share]) -> Cost:
    """Return the cost of runs that ended.

    Args:
        runs: what each used; a run that never began has no attempt and is to be left out.
        shares: by tag of the submission. For a tag that is missing (a damaged journal, a result of
            an early version) that of the grid's last submission is taken.
    """
    last = list(shares.values())[-1] if shares else None
    total = _Sum()
    waits: list[float] = []
    for run in runs:
        for spent in run.attempts:
            total.add(spent, shares.get(spent.batch, last))
        waits += _waits(run.attempts, shares)
    peak, asked = _nearest_to_limit(runs, shares, last)
    return Cost(
        runs=len(runs),
        run_hours=total.wall_s / SECONDS_PER_HOUR,
        gpu_hours=total.gpu_s / SECONDS_PER_HOUR if shares else None,
        cpu_hours=total.cpu_s / SECONDS_PER_HOUR if shares else None,
        used_cpu_hours=sum(total.used) / SECONDS_PER_HOUR if total.used else None,
        cpu_efficiency=total.measured_used_s / total.measured_s if total.measured_s else None,
        peak_mib=peak,
        asked_mib=asked,
        gpu_peak_mib=max(_known(run.gpu_peak_mib for run in runs), default=None),
        wait_median_s=statistics.median(waits) if waits else None,
        wait_p95_s=percentile(waits, 0.95) if waits else None,
        repeated=sum(len(run.attempts) > 1 for run in runs),
        lost_attempts=total.lost,
        lost_hours=total.lost_s / SECONDS_PER_HOUR,
        lost_gpu_hours=total.lost_gpu_s / SECONDS_PER_HOUR,
        lost_cpu_hours=total.lost_cpu_s / SECONDS_PER_HOUR,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _waits(attempts: Sequence[AttemptUsage], shares: Mapping[str, Share]) -> list[float]:
    """Seconds from each submission of a run to its first attempt; requeues are not counted."""
    begins: dict[str, list[float]] = defaultdict(list)
    for spent in attempts:
        if spent.since:
            begins[spent.batch].append(spent.since)
    waits = []
    for tag, times in begins.items():
        submitted = shares[tag].submitted if tag in shares else None
        if submitted is not None:
            waits.append(max(0.0, min(times) - submitted))
    return waits


def _nearest_to_limit(
    runs: Iterable[RunUsage], shares: Mapping[str, Share], last: Share | None
) -> tuple[float | None, float | None]:
    """Peak and asked memory of the run nearest to its limit; without limits, the largest peak."""
    found: list[tuple[float, float, float | None]] = []
    for run in runs:
        if run.peak_mib is not None:
            share = shares.get(run.batch, last)
            asked = share.mem_mib if share else None
            found.append((run.peak_mib / asked if asked else 0.0, run.peak_mib, asked))
    return max(found, key=lambda item: item[:2])[1:] if found else (None, None)


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if isinstance(value, float) else value


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of the values do not exceed.

    >>> percentile([3, 1, 2, 4], 0.5), percentile([3, 1, 2, 4], 0.95)
    (2, 4)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
