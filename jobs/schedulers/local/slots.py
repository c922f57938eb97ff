"""Find out what this machine has to run elements on, and how many run at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import SchedulerError
from jobs.common.external import run
from jobs.config.resources import CLUSTER_ONLY, Resources

NVIDIA_SMI_TIMEOUT_S = 5.0
MIB = 1024 * 1024
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """Says what this process may use, within its allocation and its container."""

    cores: int
    mem_mib: int
    gpus: tuple[str, ...] = ()  # as CUDA_VISIBLE_DEVICES names them


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Says how many elements run at a time, the devices each sees, and notes about it."""

    slots: int
    devices: tuple[str, ...]  # CUDA_VISIBLE_DEVICES of the slots, in turn; "" hides all GPUs
    notes: tuple[str, ...] = ()


def plan_slots(
    resources: Resources, machine: Machine, most: int, *, asked: int | None = None, pack: int = 1
) -> SlotPlan:
    """Return the slots for elements that ask for `resources`.

    Args:
        resources: of one element. The pool enforces `walltime_min` and `mem_mib` on each run.
        machine: what there is.
        most: no more than this many make sense.
        asked: what the person wants (`--slots`); None: one per core, or `pack` per `gpus` GPUs.
        pack: how many elements share their GPUs.

    Raises:
        SchedulerError: an element asks for more GPUs than the machine has.
    """
    devices = _devices(resources.gpus, machine.gpus)
    natural = len(devices) * pack if any(devices) else machine.cores
    slots = max(1, min(asked or natural, most))
    notes = list(_notes(resources, machine, slots))
    if pack > 1 and not any(devices):
        notes.append("pack: changes nothing without a GPU: there is a run for every core anyway")
    return SlotPlan(slots, devices, tuple(notes))


def _devices(gpus: int, present: tuple[str, ...]) -> tuple[str, ...]:
    if not gpus or not present:
        return ("",)
    if gpus > len(present):
        raise SchedulerError(
            f"resources: gpus: {gpus} per run asked for, this machine has {len(present)}; "
            f"ask for at most {len(present)} or submit to a cluster with --on"
        )
    return tuple(
        ",".join(present[start : start + gpus]) for start in range(0, len(present) - gpus + 1, gpus)
    )


def _notes(resources: Resources, machine: Machine, slots: int) -> Iterator[str]:
    if resources.gpus and not machine.gpus:
        yield (
            f"NO GPU HERE: the grid asks for {resources.gpus} per run and nvidia-smi finds none; "
            f"the runs train on the CPU, {slots} at a time"
        )
    ignored = [name for name in CLUSTER_ONLY if getattr(resources, name) not in (None, (), 1)]
    if ignored:
        yield f"{', '.join(ignored)}: for clusters only, changes nothing on this machine"
    if resources.cpus > 1:
        yield (
            f"cpus: {resources.cpus} changes nothing on this machine: a run trains with "
            f"one thread, {slots} at a time"
        )
    if resources.mem_mib and resources.mem_mib * slots > machine.mem_mib:
        fitting = max(1, machine.mem_mib // resources.mem_mib)
        yield (
            f"memory: {slots} runs at a time may use {resources.mem_mib} MiB each, "
            f"this machine has {machine.mem_mib} MiB; with --slots {fitting} they fit for sure"
        )


def inspect(environment: Mapping[str, str], *, with_gpus: bool) -> Machine:
    """Return this machine; look for GPUs only where they are wanted, which can take seconds."""
    cores = min([len(os.sched_getaffinity(0)), *_cpu_quotas(CGROUPS)])
    return Machine(cores, _memory_mib(CGROUPS), find_gpus(environment) if with_gpus else ())


def find_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs or MIG slices as CUDA names them, within CUDA_VISIBLE_DEVICES."""
    answer = run(["nvidia-smi", "-L"], timeout_s=NVIDIA_SMI_TIMEOUT_S)
    present = parse_gpus(answer.out) if answer.code == 0 else ()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    return tuple(
        name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")
    )


def parse_gpus(text: str) -> tuple[str, ...]:
    """Return the UUIDs in `nvidia-smi -L`, those of MIG slices where a GPU is cut into such."""
    names: list[str] = []
    for kind, uuid in re.findall(r"^\s*(GPU|MIG) .*\(UUID: ([^)]+)\)\s*$", text, re.MULTILINE):
        if kind == "MIG" and names and names[-1].startswith("GPU-"):
            names.pop()  # CUDA does not offer a GPU beside its slices
        names.append(uuid)
    return tuple(names)


def _cpu_quotas(root: Path) -> list[int]:
    """Return the cores allowed by each control group above this process, version 2 and 1."""
    found = []
    for folder in _own_groups(root):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            found.append(max(1, int(quota) // int(period)))
    return found


def _memory_mib(root: Path) -> int:
    """Return the memory of the machine or of the tightest control group above this process."""
    total = re.search(r"^MemTotal:\s+(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE)
    sizes = [int(total[1]) // 1024] if total else []
    for folder in _own_groups(root):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        sizes += [int(text) // MIB] if text.isdigit() else []
    return min(sizes, default=0)


def _own_groups(root: Path) -> Iterator[Path]:
    """Return the folders of this process' control groups, with their parents up to the root."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        base = root / controllers if controllers else root
        own = base / path.lstrip("/")
        yield from (
            folder for folder in (own, *own.parents) if folder == base or base in folder.parents
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
