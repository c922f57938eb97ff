"""Memory and threads of forked children, from /proc and the control groups."""

from __future__ import annotations

import os
import re
from pathlib import Path

KIB_PER_MIB = 1024.0
CGROUPS = Path("/sys/fs/cgroup")


def memory_over_limit(pid: int, limit_mib: int) -> float | None:
    """Return MiB of their own memory that `pid` and its descendants hold, if above the limit.

    None: they hold less, or are gone. Memory still shared copy-on-write with the parent (data sets,
    torch) is not the child's own. The anonymous resident set is an upper bound at a hundredth of
    the cost, so that the exact figure is read only beyond that bound.
    """
    family = [pid, *descendants(pid)]
    bounds = [parse_kib(_read(one, "status"), "RssAnon") or 0.0 for one in family]
    if sum(bounds) / KIB_PER_MIB <= limit_mib:
        return None
    used = 0.0
    for one, bound in zip(family, bounds, strict=True):
        own = parse_kib(_read(one, "smaps_rollup"), "Private_Dirty")
        # without smaps_rollup (in a sandbox) only the bound is known
        used += (bound if own is None else own) / KIB_PER_MIB
    return used if used > limit_mib else None


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` started, with those that they started."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _read_children(waiting.pop())
        found += children
        waiting += children
    return found


def _read_children(pid: int) -> list[int]:
    text = _text(Path(f"/proc/{pid}/task/{pid}/children"))
    return [int(word) for word in text.split()]


def parse_kib(text: str, name: str) -> float | None:
    """Parse a `Name:   123 kB` line of /proc/PID/status or smaps_rollup, None without one."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return float(match[1]) if match else None


def thread_count() -> int:
    """Return the number of threads of the calling process."""
    return len(os.listdir("/proc/self/task"))


def count_memory_kills(root: Path = CGROUPS) -> int:
    """Count the processes that the kernel killed in this control group for lack of memory."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            return _parse_kills(_text(root / path.lstrip("/") / "memory.events"))
        if "memory" in controllers.split(","):
            return _parse_kills(_text(root / "memory" / path.lstrip("/") / "memory.oom_control"))
    return 0


def _parse_kills(text: str) -> int:
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _read(pid: int, name: str) -> str:
    return _text(Path(f"/proc/{pid}/{name}"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
