"""Where runs ran and what they used, from the provenance of their results and what was asked of the scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.records.accounting import AttemptUsage, usage_from_json
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder

HOUR_S = 3600.0
PROGRAMS = (
    "anlp",
    "python",
    "torch",
    "wandb",
    "scikit-learn",
    "xgboost",
)  # whose versions results name


@dataclass(frozen=True, slots=True)
class Share:
    """What one run had of its job, as it was asked for."""

    gpus: float
    cpus: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Of runs that ended; hours are those of attempts, whether they were used or not."""

    runs: int
    run_hours: float  # first to last sign of life
    cpu_hours: float | None  # times the cores asked for; None: nobody wrote down what was asked for
    gpu_hours: float | None  # likewise
    used_cpu_hours: float | None  # processor time; None: nobody wrote it down
    efficiency: float | None  # processor time by time on all cores asked for
    repeated: int  # runs that took more than one attempt
    lost_hours: float  # of attempts that were killed or failed
    peak_mib: float | None  # the largest
    gpu_peak_mib: float | None  # likewise


def parse_provenance(texts: Iterable[str | None]) -> list[Mapping[str, Any]]:
    """The provenance of each run; empty where there is none."""
    found = [json.loads(text) if text else {} for text in texts]
    return [form if isinstance(form, dict) else {} for form in found]


def read_shares(folder: Path) -> dict[str, Share]:
    """What a run of each submission had asked for, by the submission's tag; empty without a journal."""
    found = {}
    for line in read_jsonl(GridFolder(folder).journal):
        asked = line.get("each") or line.get("resources")
        if line.get("event") == "intent" and isinstance(asked, dict):
            nodes = _number(asked.get("nodes")) or 1.0
            gpus, cpus = _number(asked.get("gpus")) or 0.0, _number(asked.get("cpus")) or 1.0
            found[str(line.get("tag"))] = Share(gpus * nodes, cpus * nodes)
    return found


def add_up(origins: Sequence[Mapping[str, Any]], shares: Mapping[str, Share]) -> Cost:
    """The cost of the runs with a provenance.

    Args:
        origins: as `parse_provenance` gives them.
        shares: as `read_shares` gives them.
    """
    told = [origin for origin in origins if origin]
    attempts = [
        (spent, shares.get(spent.batch)) for origin in told for spent in attempts_of(origin)
    ]
    known = [(spent, share) for spent, share in attempts if share is not None]
    measured = [(spent, share) for spent, share in known if spent.cpu_s is not None]
    on_cores = sum(spent.wall_s * share.cpus for spent, share in measured)
    used = [spent.cpu_s for spent, _ in attempts if spent.cpu_s is not None]
    return Cost(
        runs=len(told),
        run_hours=sum(spent.wall_s for spent, _ in attempts) / HOUR_S,
        cpu_hours=sum(spent.wall_s * share.cpus for spent, share in known) / HOUR_S
        if known
        else None,
        gpu_hours=sum(spent.wall_s * share.gpus for spent, share in known) / HOUR_S
        if known
        else None,
        used_cpu_hours=sum(used) / HOUR_S if used else None,
        efficiency=sum(spent.cpu_s or 0.0 for spent, _ in measured) / on_cores
        if on_cores
        else None,
        repeated=sum(len(attempts_of(origin)) > 1 for origin in told),
        lost_hours=sum(spent.wall_s for spent, _ in attempts if spent.is_lost) / HOUR_S,
        peak_mib=_largest(told, "peak_rss_mib"),
        gpu_peak_mib=_largest(told, "gpu_peak_mib"),
    )


def attempts_of(origin: Mapping[str, Any]) -> list[AttemptUsage]:
    """The attempts that a result tells of; those it does not tell of in full are left out."""
    return [spent for form in origin.get("spent") or () for spent in _parse_spent(form)]


def _parse_spent(form: Any) -> list[AttemptUsage]:
    try:
        return [usage_from_json(form)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _largest(origins: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return max(
        (value for origin in origins if (value := _number(origin.get(name))) is not None),
        default=None,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
