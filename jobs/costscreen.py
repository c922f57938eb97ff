"""What runs have cost, as people read it."""

from __future__ import annotations

from jobs.cost import Cost
from jobs.estimate import render_duration, render_hours

GIB = 1024.0


def render_cost(cost: Cost) -> list[tuple[str, str]]:
    """Rows of a name and a sentence; what nobody wrote down is left out."""
    rows = [("time", _hours(cost.gpu_hours, cost.cpu_hours))]
    if cost.cpu_efficiency is not None:
        rows.append(("CPU", f"{cost.cpu_efficiency:.0%} of what was asked for was used"))
    if cost.peak_mib is not None:
        rows.append(("memory", _memory(cost.peak_mib, cost.asked_mib)))
    if cost.gpu_peak_mib is not None:
        rows.append(("GPU memory", f"{render_gib(cost.gpu_peak_mib)} at most"))
    if cost.wait_median_s is not None and cost.wait_p95_s is not None:
        median, most = render_duration(cost.wait_median_s), render_duration(cost.wait_p95_s)
        rows.append(("queue", f"half of the runs began within {median}, 95 % within {most}"))
    if cost.lost_attempts:
        attempts = f"{cost.lost_attempts:,} attempt{'s' * (cost.lost_attempts != 1)}"
        rows.append(("lost", f"{attempts} killed or failed: {_hours(cost.lost_gpu_hours, cost.lost_cpu_hours)}"))
    return rows


def _hours(gpu: float, cpu: float) -> str:
    in_cpus = render_hours(cpu, "CPU-hours")
    return f"{render_hours(gpu, 'GPU-hours')}, {in_cpus}" if gpu else in_cpus


def _memory(peak_mib: float, asked_mib: float | None) -> str:
    peak = render_gib(peak_mib)
    return f"{peak} at most" if asked_mib is None else f"{peak} of {render_gib(asked_mib)} asked for, at most"


def render_gib(mib: float) -> str:
    """`1.2 GiB`, `340 MiB`."""
    return f"{mib / GIB:.1f} GiB" if mib >= GIB else f"{mib:.0f} MiB"
