"""How long the next runs will take, from the seconds of those that finished."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.core.spec import RunSpec
from anlp.core.units import render_memory_option, render_time_option
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.cost import HOUR_S, figure, percentile
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause

Kind = tuple[Any, Any]


def estimate_seconds(
    specs: Sequence[RunSpec], history: Iterable[RunStatus], slots: int
) -> float | None:
    """Wall seconds of `specs` on `slots` slots; None where nothing comparable has finished yet.

    A run costs its epochs times the median seconds per epoch of the finished runs of the same data and model.
    """
    costs = _seconds_per_epoch(history)
    if not costs:
        return None
    overall = statistics.median(cost for group in costs.values() for cost in group)
    medians = {key: statistics.median(group) for key, group in costs.items()}
    values = [spec.settings.values() for spec in specs]
    total = sum(medians.get(kind_of(item), overall) * int(item.get("epochs", 1)) for item in values)
    return total / max(1, slots)


def _seconds_per_epoch(history: Iterable[RunStatus]) -> Mapping[Kind, list[float]]:
    costs: dict[Kind, list[float]] = defaultdict(list)
    for status in history:
        if status.state is RunState.DONE and status.result and status.result.epochs:
            costs[kind_of(status.values)].append(status.result.seconds / status.result.epochs)
    return costs


def kind_of(values: Mapping[str, Any]) -> Kind:
    """What runs have in common that cost about the same for each epoch: data and model."""
    return values.get("data"), values.get("model")


SHARE = 0.95
MARGIN = 1.2
FAR_ABOVE = 3.0
# What people write; a container and its libraries need the least of them before a run begins.
TIMES_MIN = (
    5,
    10,
    15,
    20,
    30,
    45,
    60,
    90,
    120,
    180,
    240,
    360,
    480,
    720,
    1080,
    1440,
    2160,
    2880,
    4320,
    5760,
    10080,
)
SIZES_MIB = tuple(
    round(1024 * gib)
    for gib in (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
)


@dataclass(frozen=True, slots=True)
class Need:
    """What one finished run says about others of its kind."""

    epoch_s: float  # seconds for each epoch
    peak_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What runs of one model should ask for."""

    model: str
    data: str
    runs: int  # finished runs that it rests on
    need_min: float  # 95th percentile and the margin, before rounding
    need_mib: float | None
    walltime_min: float
    mem_mib: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan will probably cost."""

    gpu_hours: float
    cpu_hours: float


def propose(specs: Iterable[RunSpec], history: Iterable[RunStatus]) -> list[Proposal]:
    """A proposal for each kind of run among `specs` of which any has finished, in the order of `specs`."""
    epochs: dict[Kind, int] = {}
    for spec in specs:
        values = spec.settings.values()
        kind = kind_of(values)
        epochs[kind] = max(epochs.get(kind, 1), int(values.get("epochs", 1)))
    needs = needs_of(history)
    return [_propose(kind, needs[kind], count) for kind, count in epochs.items() if kind in needs]


def needs_of(history: Iterable[RunStatus]) -> dict[Kind, list[Need]]:
    """What runs needed, by kind; one that met its time or memory limit needed at least that."""
    found: dict[Kind, list[Need]] = defaultdict(list)
    for status in history:
        if (need := _need(status)) is not None:
            found[kind_of(status.values)].append(need)
    return {kind: needs for kind, needs in found.items() if any(need.epoch_s for need in needs)}


def _need(status: RunStatus) -> Need | None:
    result = status.result
    if status.state is RunState.DONE and result is not None and result.epochs:
        return Need(result.seconds / result.epochs, figure(result, "peak_rss_mib"))
    asked = status.resources
    if (
        status.state is not RunState.LOST or status.in_job > 1
    ):  # of a job with several runs nobody knows which met it
        return None
    if status.cause is Cause.TIMEOUT and asked.walltime_min:
        return Need(asked.walltime_min * 60 / max(1, int(status.values.get("epochs", 1))))
    return (
        Need(0.0, float(asked.mem_mib))
        if status.cause is Cause.OUT_OF_MEMORY and asked.mem_mib
        else None
    )


def _propose(kind: Kind, needs: Sequence[Need], epochs: int) -> Proposal:
    seconds = [need.epoch_s for need in needs if need.epoch_s]
    peaks = [need.peak_mib for need in needs if need.peak_mib is not None]
    need_min = percentile(seconds, SHARE) * epochs * MARGIN / 60
    need_mib = percentile(peaks, SHARE) * MARGIN if peaks else None
    data, model = kind
    return Proposal(
        model=str(model or "runs"),
        data=str(data or ""),
        runs=len(needs),
        need_min=need_min,
        need_mib=need_mib,
        walltime_min=round_up(need_min, TIMES_MIN, 1440),
        mem_mib=None if need_mib is None else round(round_up(need_mib, SIZES_MIB, 64 * 1024)),
    )


def round_up(amount: float, steps: Sequence[float], beyond: float) -> float:
    """The first of `steps` that is enough; above them the next multiple of `beyond`."""
    return next((step for step in steps if step >= amount), math.ceil(amount / beyond) * beyond)


def price(
    specs: Sequence[RunSpec], history: Iterable[RunStatus], resources: Resources, at_once: int = 1
) -> Price | None:
    """What `specs` will probably cost, None where nothing comparable has finished yet.

    Args:
        specs: the runs.
        history: of the grid.
        resources: what each asks for.
        at_once: how many share a GPU.
    """
    seconds = estimate_seconds(specs, history, 1)
    if seconds is None:
        return None
    hours = seconds * resources.nodes / HOUR_S
    return Price(hours * resources.gpus / at_once, hours * resources.cpus)


def compare(proposal: Proposal, asked: Resources) -> list[str]:
    """Where what is asked for is below the need or far above the proposal: `--time 4h is 48 times that`."""
    notes = []
    if (limit := asked.walltime_min) is not None:
        times, is_enough = limit / proposal.walltime_min, limit >= proposal.need_min
        notes.append(_compare(f"--time {render_time_option(limit)}", times, is_enough=is_enough))
    if (
        (memory := asked.mem_mib) is not None
        and proposal.mem_mib is not None
        and proposal.need_mib is not None
    ):
        times, is_enough = memory / proposal.mem_mib, memory >= proposal.need_mib
        notes.append(_compare(f"--mem {render_memory_option(memory)}", times, is_enough=is_enough))
    return [note for note in notes if note]


def _compare(name: str, times: float, *, is_enough: bool) -> str:
    if not is_enough:
        return f"{name} is too little"
    return f"{name} is {times:.0f} times that" if times > FAR_ABOVE else ""
