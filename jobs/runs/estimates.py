"""Estimate what the next runs take and cost, and propose what to ask for, from finished runs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.core.spec import RunSpec, epochs_in
from anlp.core.units import SECONDS_PER_HOUR, render_memory_option, render_time_option
from anlp.records.cost import number_in, percentile
from anlp.records.results import RunResult, RunState
from jobs.config.resources import Resources
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause

Kind = tuple[Any, Any]


def estimate_seconds(
    specs: Sequence[RunSpec], history: Iterable[RunStatus], slots: int
) -> float | None:
    """Return the wall seconds of `specs` on `slots` slots; None where nothing comparable finished.

    A run takes its epochs times the median seconds per epoch of finished runs with its data and
    model.
    """
    costs = _seconds_per_epoch(history)
    if not costs:
        return None
    overall = statistics.median(cost for group in costs.values() for cost in group)
    medians = {key: statistics.median(group) for key, group in costs.items()}
    values = [spec.settings.values() for spec in specs]
    total = sum(medians.get(kind_of(item), overall) * (epochs_in(item) or 1) for item in values)
    return total / max(1, slots)


def _seconds_per_epoch(history: Iterable[RunStatus]) -> Mapping[Kind, list[float]]:
    costs: dict[Kind, list[float]] = defaultdict(list)
    for status in history:
        if status.state is RunState.DONE and status.result and status.result.epochs:
            costs[kind_of(status.values)].append(_epoch_s(status, status.result))
    return costs


def _epoch_s(status: RunStatus, result: RunResult) -> float:
    """Return the seconds per epoch; of a run whose settings name no epochs, those of the run."""
    return result.seconds / (result.epochs if epochs_in(status.values) else 1)


def kind_of(values: Mapping[str, Any]) -> Kind:
    """Return what runs with about equal epochs have in common: data and model."""
    return values.get("data"), values.get("model")


SHARE = 0.95
MARGIN = 1.2
FAR_ABOVE = 3.0
# Round values that people write; the least leaves time to start a container and its libraries.
_HOURS = (1, 1.5, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96, 168)
_GIB = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
TIMES_MIN = (5, 10, 15, 20, 30, 45, *(round(60 * hours) for hours in _HOURS))
SIZES_MIB = tuple(round(1024 * gib) for gib in _GIB)


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
    """Propose what to ask for, for each kind of run of which any has finished."""
    epochs: dict[Kind, int] = {}
    for spec in specs:
        values = spec.settings.values()
        kind = kind_of(values)
        epochs[kind] = max(epochs.get(kind, 1), epochs_in(values) or 1)
    needs = needs_of(history)
    return [_propose(kind, needs[kind], count) for kind, count in epochs.items() if kind in needs]


def needs_of(history: Iterable[RunStatus]) -> dict[Kind, list[Need]]:
    """Return what runs needed, by kind; one that reached a limit needed at least that."""
    found: dict[Kind, list[Need]] = defaultdict(list)
    for status in history:
        if (need := _need(status)) is not None:
            found[kind_of(status.values)].append(need)
    return {kind: needs for kind, needs in found.items() if any(need.epoch_s for need in needs)}


def _need(status: RunStatus) -> Need | None:
    result = status.result
    if status.state is RunState.DONE and result is not None and result.epochs:
        return Need(_epoch_s(status, result), number_in(result.provenance, "peak_rss_mib"))
    asked = status.resources
    if status.state is not RunState.LOST or status.in_job > 1:
        return None  # in a job with several runs it is not known which reached the limit
    if status.cause is Cause.TIMEOUT and asked.walltime_min:
        return Need(asked.walltime_min * 60 / (epochs_in(status.values) or 1))
    if status.cause is Cause.OUT_OF_MEMORY and asked.mem_mib:
        return Need(0.0, float(asked.mem_mib))
    return None


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
    """Return the first of `steps` that is enough; above them the next multiple of `beyond`.

    >>> round_up(7, (5, 10, 15), 100), round_up(120, (5, 10, 15), 100)
    (10, 200)
    """
    return next((step for step in steps if step >= amount), math.ceil(amount / beyond) * beyond)


def price(
    specs: Sequence[RunSpec], history: Iterable[RunStatus], resources: Resources, at_once: int = 1
) -> Price | None:
    """Return what `specs` will probably cost, None where nothing comparable has finished yet.

    Args:
        specs: the runs.
        history: of the grid.
        resources: what each asks for.
        at_once: how many share a GPU.
    """
    seconds = estimate_seconds(specs, history, 1)
    if seconds is None:
        return None
    hours = seconds * resources.nodes / SECONDS_PER_HOUR
    return Price(hours * resources.gpus / at_once, hours * resources.cpus)


def compare(proposal: Proposal, asked: Resources) -> list[str]:
    """Say where `asked` is below the need or far above the proposal: `--time 4h is too little`."""
    notes = []
    limit, memory = asked.walltime_min, asked.mem_mib
    if limit is not None:
        times, is_enough = limit / proposal.walltime_min, limit >= proposal.need_min
        notes.append(_compare(f"--time {render_time_option(limit)}", times, is_enough=is_enough))
    if memory is not None and proposal.mem_mib is not None and proposal.need_mib is not None:
        times, is_enough = memory / proposal.mem_mib, memory >= proposal.need_mib
        notes.append(_compare(f"--mem {render_memory_option(memory)}", times, is_enough=is_enough))
    return [note for note in notes if note]


def _compare(name: str, times: float, *, is_enough: bool) -> str:
    if not is_enough:
        return f"{name} is too little"
    return f"{name} is {times:.0f} times that" if times > FAR_ABOVE else ""
