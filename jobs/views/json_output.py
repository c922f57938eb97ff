"""The JSON form of a grid's state. It is stable: names are added, never changed or removed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from anlp.records.results import RunState
from jobs.runs.failures import FailureGroup
from jobs.runs.logs import Progress
from jobs.runs.polling import SchedulerReport
from jobs.runs.status import RunStatus
from jobs.views.status import Overview


def overview_json(overview: Overview) -> dict[str, Any]:
    """Return the value that `jobs.status --json` prints."""
    return {
        "grid": overview.folder.name,
        "folder": str(overview.folder.path),
        "time": round(overview.now, 3),
        "only": overview.only or None,
        "n": len(overview.chosen),
        "counts": {state.value: len(overview.of(state)) for state in RunState},
        "varying": overview.names,
        "failures": [_group_json(group) for group in overview.failures],
        "runs": [
            run_json(status, overview.progress.get(status.run_id)) for status in overview.chosen
        ],
        "cost": overview.cost.to_json() if overview.cost else None,
        "schedulers": [report_json(report) for report in overview.reports],
    }


def report_json(report: SchedulerReport) -> dict[str, Any]:
    """Return what one shared scheduler reported."""
    return {
        "scheduler": report.scheduler,
        "asked": report.asked,
        "outage": report.outage or None,
        "notes": list(report.notes),
    }


def _group_json(group: FailureGroup) -> dict[str, Any]:
    ids = [status.run_id for status in group.runs]
    return {"title": group.title, "n": len(ids), "common": dict(group.common), "runs": ids}


def run_json(status: RunStatus, progress: Progress | None) -> dict[str, Any]:
    """Return one run in `jobs.status --json`.

    Args:
        status: of the run.
        progress: how far it has come, where it is running.
    """
    result = status.result
    error = None
    if result and result.error:
        error = {
            "type": result.error.type,
            "message": result.error.message,
            "epoch": result.error.epoch,
        }
    return {
        "id": status.run_id,
        "state": status.state.value,
        "purpose": status.purpose,
        "settings": dict(status.values),
        "folder": str(status.folder.path),
        "submitted": status.since,
        "scheduler": status.handle.scheduler if status.handle else None,
        "job": status.handle.native_id if status.handle else None,
        "cause": status.cause.value if status.cause else None,
        "detail": status.detail,
        "error": error,
        "metrics": _finite(result.metrics) if result else {},
        "seconds": result.seconds if result else None,
        "progress": _progress_json(progress) if progress else None,
    }


def _progress_json(progress: Progress) -> dict[str, Any]:
    return {
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "metrics": _finite(progress.metrics),
    }


def _finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN and infinities by null, which JSON has."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metrics.items()
    }
