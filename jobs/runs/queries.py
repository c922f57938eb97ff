"""Finished runs by the metric that they were told to select by, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.core.errors import UserError
from anlp.core.filters import parse_filter
from anlp.core.metrics import higher_is_better
from anlp.core.spec import varying
from anlp.records.folders import GridFolder, find_grid, list_grids, runs_root
from anlp.tasks import TASKS
from jobs.runs.batches import asked_runs
from jobs.runs.journal import Journal
from jobs.runs.polling import JobPoller
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry


def match_run(states: Mapping[str, RunStatus], prefix: str) -> RunStatus:
    """The run whose id begins with `prefix`.

    Raises:
        UserError: none does, or several do.
    """
    found = [run_id for run_id in states if run_id.startswith(prefix)]
    if len(found) == 1:
        return states[found[0]]
    if not found:
        raise UserError(
            f"{prefix}: no run of this grid has an id that begins so; python -m jobs.status lists them"
        )
    raise UserError(
        f"{prefix}: {len(found)} runs begin so ({', '.join(found[:5])}, ...); give more digits"
    )


def selection_metric(done: Sequence[RunStatus]) -> str | None:
    """The validation metric that finished runs are compared by: the one they were told to monitor."""
    metrics = [set(status.result.metrics) for status in done if status.result]
    shared = set.intersection(*metrics) if metrics else set()
    monitored = {str(status.values.get("monitor")) for status in done} & shared
    candidates = sorted(monitored) or sorted(name for name in shared if name.startswith("val/"))
    return candidates[0] if candidates else None


def best_runs(done: Iterable[RunStatus], metric: str) -> list[tuple[float, RunStatus]]:
    """Finished runs with their value of `metric`, the best first; those without a finite one are left out."""
    scored = [
        (status.result.metrics.get(metric, math.nan), status) for status in done if status.result
    ]
    finite = [pair for pair in scored if math.isfinite(pair[0])]
    return sorted(finite, key=lambda pair: pair[0], reverse=higher_is_better(metric))


def varying_settings(statuses: Iterable[RunStatus]) -> list[str]:
    """Names of the settings (seed last) in which the runs differ, in the order of the task."""
    return varying(status.values for status in statuses)


def own_settings(status: RunStatus, names: Iterable[str]) -> dict[str, Any]:
    """Those of the settings `names` that mean something for this run."""
    rules = TASKS[status.form["task"]].settings.only_for if status.form.get("task") in TASKS else {}
    values = status.values
    return {
        name: values[name]
        for name in names
        if name in values
        and (name not in rules or values[rules[name].setting] in rules[name].values)
    }


MANY_RUNS = 10  # more than these are touched only after asking


def read_grid(folder: GridFolder, query: Query = registry.states) -> list[RunStatus]:
    """Every run of a grid, in order of submission.

    Args:
        folder: the grid's.
        query: asks schedulers for states, such as `JobPoller.states`.

    Raises:
        UserError: nothing was ever submitted to it.
    """
    statuses = list(read_states(folder, query).values())
    if not statuses:
        raise UserError(
            f"{folder.name}: nothing was submitted to this grid yet: python -m jobs.submit FILE.yaml"
        )
    return statuses


def narrow(statuses: Sequence[RunStatus], only: str) -> list[RunStatus]:
    """The runs that the filter `only` matches; all of them where it is empty.

    Raises:
        SpecError: the text is no filter, or it asks for a name that no run has.
    """
    if not only:
        return list(statuses)
    wanted = parse_filter(only)
    fields = [status.fields() for status in statuses]
    wanted.check({name for form in fields for name in form})
    return [status for status, form in zip(statuses, fields, strict=True) if wanted.matches(form)]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """One run, among all of its grid."""

    folder: GridFolder
    every: list[RunStatus]
    status: RunStatus
    inquiry: JobPoller


def locate_run(names: Sequence[str], command: str, *, fresh: bool = False) -> FoundRun:
    """The run that `[GRID] RUN` names.

    Args:
        names: the positional arguments: a grid and the beginning of a run's id, or the latter alone.
        command: the command, for what to type instead.
        fresh: whether answers that other commands got a moment ago are left aside.

    Raises:
        UserError: there is no such run, or several grids have one.
    """
    folder = find_grid(names[0]) if len(names) == 2 else _grid_of(names[0], command)
    inquiry = JobPoller.for_viewing(folder, fresh=fresh)
    every = read_grid(folder, inquiry.states)
    return FoundRun(
        folder, every, match_run({status.run_id: status for status in every}, names[-1]), inquiry
    )


def _grid_of(prefix: str, command: str) -> GridFolder:
    """The one grid that has a run whose id begins with `prefix`."""
    holders = [folder for folder in list_grids() if _has_run(folder, prefix)]
    if len(holders) == 1:
        return holders[0]
    if holders:
        names = ", ".join(folder.name for folder in holders)
        raise UserError(
            f"{prefix}: {len(holders)} grids have such a run ({names}); say which: {command} GRID {prefix}"
        )
    if (runs_root() / prefix).is_dir():
        raise UserError(f"{prefix} is a grid; name a run of it, too: {command} {prefix} RUN")
    raise UserError(
        f"{prefix}: no run in {runs_root()} has an id that begins so; python -m jobs.status GRID lists them"
    )


def _has_run(folder: GridFolder, prefix: str) -> bool:
    return any(
        run_id.startswith(prefix) for run_id in asked_runs(folder, Journal(folder).submissions())
    )
