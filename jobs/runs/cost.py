"""The cost of a grid's runs, from their own files and the journal; asks no scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from anlp.records.accounting import usage_up_to
from anlp.records.cost import Cost, RunUsage, add_up, read_shares, usage_of_result
from anlp.records.folders import GridFolder
from jobs.runs.status import RunStatus


def read(folder: GridFolder, statuses: Iterable[RunStatus]) -> Cost | None:
    """Return the cost of the runs among `statuses` that ended, None where none did."""
    ended = [usage_of(status) for status in statuses if not status.state.is_active]
    begun = [usage for usage in ended if usage.attempts]
    return add_up(begun, read_shares(folder)) if begun else None


def usage_of(status: RunStatus) -> RunUsage:
    """Return what a run used: from its result, or from its leases where it has none."""
    result = status.result
    if result is not None:
        failed = not result.outcome.is_result
        return usage_of_result(result.provenance, result.seconds, failed=failed)
    return RunUsage([] if status.attempt is None else usage_up_to(status.attempt))
