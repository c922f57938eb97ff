"""Decides for each failed or lost run whether it is repeated, and with which resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from anlp.core.units import render_duration, render_memory
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.failures import is_configuration_error, is_device_out_of_memory, is_out_of_memory
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause, parse_memory_use

FACTOR = 1.5
MARGIN = 1.25  # over the memory that a run had used when it was killed: it may have wanted more
MOST_FACTOR = 4  # times what the grid asks for, unless a limit is given

LEFT = "left"
AGAIN = "again"
CONTINUED = "continued"


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed or lost run with all that the decision depends on."""

    status: RunStatus
    first: Resources  # what the grid asked for it at first
    last: Resources  # what its last submission asked for
    has_progressed: bool = False  # whether its last attempt left a later checkpoint than it found
    shared_device: bool = False  # whether others ran in its job at a time


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user wants."""

    force: bool = False
    mem_mib: int | None = None  # instead of what would be worked out
    walltime_min: float | None = None
    most_mem_mib: int | None = None
    most_walltime_min: float | None = None
    bad_nodes: frozenset[str] = frozenset()
    can_exclude: bool = False  # whether the scheduler can leave nodes out


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What is done about one run."""

    action: str  # "again with 6G of memory", "left"
    why: str
    ask: Resources | None  # None: it is not repeated


def decide(case: FailedRun, policy: Policy) -> RetryDecision:
    """Return what is done about one run; `--force` repeats even what would be left."""
    remedy = (
        _of_error(case, policy) if case.status.state is RunState.FAILED else _of_cause(case, policy)
    )
    if remedy.ask is None and policy.force:
        remedy = RetryDecision(AGAIN, "--force", case.last)
    return remedy if remedy.ask is None else replace(remedy, ask=_apart_from(remedy.ask, policy))


def _of_error(case: FailedRun, policy: Policy) -> RetryDecision:
    error = case.status.result.error if case.status.result else None
    if error is None:
        return RetryDecision(AGAIN, "it failed without a word", case.last)
    if is_device_out_of_memory(error):
        return _of_full_device(case)
    if is_out_of_memory(error):
        return _more_memory(case, policy)
    if is_configuration_error(error):
        why = "its configuration is at fault; fix the grid, or fix the code and then --force"
        return RetryDecision(LEFT, why, None)
    return RetryDecision(AGAIN, "an exception that may pass", case.last)


def _of_full_device(case: FailedRun) -> RetryDecision:
    if case.shared_device:
        return RetryDecision(f"{AGAIN}, alone", "it shared its device", case.last)
    why = (
        "the device was full, which memory of the host does not cure; "
        "lower batch_size, or --force on a larger device"
    )
    return RetryDecision(LEFT, why, None)


def _of_cause(case: FailedRun, policy: Policy) -> RetryDecision:
    decide = BY_CAUSE.get(case.status.cause or Cause.UNKNOWN)
    return decide(case, policy) if decide else RetryDecision(AGAIN, "as it was", case.last)


def _more_memory(case: FailedRun, policy: Policy) -> RetryDecision:
    had = case.last.mem_mib
    if policy.mem_mib is not None:
        return _with_memory(case, policy.mem_mib, "--mem")
    if had is None:
        return RetryDecision(
            LEFT, "how much memory it had is not known; say how much it gets: --mem", None
        )
    most = policy.most_mem_mib or MOST_FACTOR * (case.first.mem_mib or had)
    wanted, words = FACTOR * had, f"it had {render_memory(had)}"
    used_mib = _used_memory(case, had)
    if used_mib is not None:
        wanted = max(wanted, MARGIN * used_mib)
        words += f" and used {render_memory(used_mib)}"
    if max(had, used_mib or 0) >= most:
        limit = "the most" if had >= most else f"more than {render_memory(most)}, the most"
        words += f", {limit} that is given; more: --most-mem or --mem"
        return RetryDecision(LEFT, words, None)
    return _with_memory(case, min(round(wanted), most), words)


def _used_memory(case: FailedRun, had_mib: int) -> float | None:
    """Return the run's part of what its job had used when it was killed, None where it is unknown.

    What the scheduler names is of the whole job, which several runs may have shared.
    """
    use = parse_memory_use(case.status.detail)
    if use is None:
        return None
    used_mib, asked_mib = use
    return had_mib * used_mib / asked_mib if used_mib > asked_mib > 0 else None


def _with_memory(case: FailedRun, mem_mib: int, why: str) -> RetryDecision:
    return RetryDecision(
        f"{AGAIN} with {render_memory(mem_mib)} of memory", why, replace(case.last, mem_mib=mem_mib)
    )


def _more_time(case: FailedRun, policy: Policy) -> RetryDecision:
    had = case.last.walltime_min
    if policy.walltime_min is not None:
        return _with_time(case, policy.walltime_min, "--time")
    if case.has_progressed:
        return RetryDecision(CONTINUED, "its checkpoint has got further", case.last)
    if had is None:
        return RetryDecision(
            LEFT,
            "it got nowhere, and its time limit is not known; say how much it gets: --time",
            None,
        )
    most = policy.most_walltime_min or MOST_FACTOR * (case.first.walltime_min or had)
    if had >= most:
        return RetryDecision(
            LEFT,
            f"it got nowhere in {render_duration(60 * had)}, the most that is given; "
            "more: --most-time or --time",
            None,
        )
    return _with_time(
        case, min(FACTOR * had, most), f"it got nowhere in {render_duration(60 * had)}"
    )


def _with_time(case: FailedRun, walltime_min: float, why: str) -> RetryDecision:
    doing = CONTINUED if case.has_progressed else AGAIN
    ask = replace(case.last, walltime_min=walltime_min)
    return RetryDecision(f"{doing} with {render_duration(60 * walltime_min)} of time", why, ask)


def _elsewhere(case: FailedRun, policy: Policy) -> RetryDecision:
    node = case.status.node
    if node not in policy.bad_nodes:
        return RetryDecision(AGAIN, "its node failed, not the run", case.last)
    if policy.can_exclude:
        return RetryDecision(f"{AGAIN}, not on {node}", f"{node} failed more than once", case.last)
    return RetryDecision(
        AGAIN, f"{node} failed more than once, but cannot be left out here", case.last
    )


BY_CAUSE: Mapping[Cause, Callable[[FailedRun, Policy], RetryDecision]] = {
    Cause.OUT_OF_MEMORY: _more_memory,
    Cause.TIMEOUT: _more_time,
    Cause.NODE: _elsewhere,
}


def _apart_from(ask: Resources, policy: Policy) -> Resources:
    """Exclude the nodes that keep failing, where the scheduler can."""
    known = ask.exclude or ""
    fresh = [node for node in sorted(policy.bad_nodes) if node not in known]
    return (
        replace(ask, exclude=",".join([known, *fresh]).strip(","))
        if policy.can_exclude and fresh
        else ask
    )
