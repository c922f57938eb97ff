"""What attempts at a run used: wall time from leases, the rest measured by the process itself."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core import lease
from anlp.core.json_text import time_in

KIB_PER_MIB = 1024
MIB = 1024 * 1024
KILLED = "killed"  # a killed process writes no ending
KEPT = ("done", "diverged", "interrupted")


class Meter:
    """Measures what a process uses from the moment it is made; make one for each run."""

    def __init__(self) -> None:
        self._cpu_before_s = _cpu_s()
        cuda = _cuda()
        if cuda is not None:
            cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, float]:
        """Return what was used so far.

        Returns:
            `cpu_s`, of the process and the children it has waited for; `peak_rss_mib`, of the
            process since it began, shared pages included; `gpu_peak_mib`, the memory of tensors on
            the GPU, only where one was used.
        """
        used = {
            "cpu_s": round(_cpu_s() - self._cpu_before_s, 3),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB,
        }
        cuda = _cuda()
        return used if cuda is None else {**used, "gpu_peak_mib": cuda.max_memory_allocated() / MIB}


@dataclass(frozen=True, slots=True)
class AttemptUsage:
    """One attempt at a run: when, for which submission, and how it ended."""

    since: float  # unix
    ended: float  # unix; of a killed attempt its last sign of life, up to half a minute early
    ending: str  # done, diverged, failed, interrupted; killed; ended: the runner itself raised
    batch: str = ""  # tag of the submission
    cpu_s: float | None = None  # None: not measured

    @property
    def wall_s(self) -> float:
        """Return the seconds from its first to its last sign of life."""
        return max(0.0, self.ended - self.since)

    @property
    def is_lost(self) -> bool:
        """Return whether it left neither a result that counts nor a checkpoint on purpose."""
        return self.ending not in KEPT

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `spent` in a result's provenance."""
        return {name: getattr(self, name) for name in self.__slots__}


def usage_from_json(form: Mapping[str, Any]) -> AttemptUsage:
    """Invert `AttemptUsage.to_json`.

    Raises:
        KeyError, TypeError, ValueError: the form is damaged.
    """
    return AttemptUsage(
        time_in(form, "since"),
        time_in(form, "ended"),
        str(form["ending"]),
        str(form.get("batch", "")),
        None if form.get("cpu_s") is None else time_in(form, "cpu_s"),
    )


def read_usage(attempts: Path, *, before: Path | None = None) -> list[AttemptUsage]:
    """Read the attempts of a run from their leases, first to last.

    Args:
        attempts: the folder of the leases (`RunFolder.attempts`).
        before: a lease: only those before it.
    """
    try:
        names = sorted(
            name for name in os.listdir(attempts) if name.endswith(".json") and name[:-5].isdigit()
        )
    except OSError:  # it never began
        return []
    found = []
    for name in names:
        if before is None or name < before.name:
            found += _read(attempts / name)
    return found


def usage_up_to(latest: lease.Holder) -> list[AttemptUsage]:
    """Return the attempts of a run up to the latest lease, which has been read already."""
    earlier = read_usage(latest.path.parent, before=latest.path) if latest.number > 1 else []
    return [*earlier, *_usage_in(latest.path, latest.record)]


def _read(path: Path) -> list[AttemptUsage]:
    return _usage_in(path, lease.read(path))


def _usage_in(path: Path, record: Mapping[str, Any]) -> list[AttemptUsage]:
    # a lease may be damaged, or removed meanwhile
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
        is_told = "ended" in record
        # the disk's clock may be behind the node's
        ended = record["ended"] if is_told else max(path.stat().st_mtime, record["since"])
        ending = record.get("ending", "ended") if is_told else KILLED
        return [usage_from_json({**record, "ended": ended, "ending": ending})]
    return []


def usage_now(held: lease.Lease, ending: str, used: Mapping[str, float]) -> list[AttemptUsage]:
    """Return all attempts of a run, with the one that holds the lease ending now."""
    record = {**held.record, "ended": time.time(), "ending": ending, **used}
    return [*read_usage(held.path.parent, before=held.path), usage_from_json(record)]


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _cuda() -> Any:
    """torch.cuda where this process has used it, else None; never loads torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda
