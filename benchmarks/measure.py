"""Measure a command and the machine; report medians and ranges with the load beside them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from anlp.core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "wandb", "numpy")
KIB_PER_MIB = 1024.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a command that ended; CPU time includes all descendants that were waited for."""

    wall_s: float
    cpu_s: float
    peak_mib: (
        float  # of the largest process among it, those descendants, and us when it was started
    )
    output: str  # its stdout


@dataclass(frozen=True, slots=True)
class Spread:
    """Of repeated measurements."""

    median: float
    low: float
    high: float

    def render(self, digits: int = 2) -> str:
        """`4.12 (3.98-4.31)`."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command in the repository to its end.

    Raises:
        UserError: it failed; the message ends with what it said last.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=errors,
            text=True,
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # Ctrl-C: what we started must not stay behind
            child.terminate()
            child.wait()
            raise
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if child.returncode:
            words = (output.read() + errors.read()).strip()[-2000:]
            raise UserError(f"{' '.join(argv)}: exit code {child.returncode}: {words}")
        return Cost(
            wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / KIB_PER_MIB, output.read()
        )


def describe_machine() -> dict[str, str]:
    """Return what every figure depends on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "cpu": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "load": load(),
    }


def load() -> str:
    """Load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
