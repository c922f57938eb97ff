"""Find runs: all of a grid, those of a filter, one by the start of its id, the best by a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.console.verbs import command_name
from anlp.core.damage import describe_fault, note_damage
from anlp.core.errors import UserError
from anlp.core.filters import parse_filter
from anlp.core.metrics import default_metric, higher_is_better
from anlp.core.spec import RunSpec, varying
from anlp.records.folders import GridFolder, find_grid, list_grids, runs_root
from anlp.records.program import declare_goals
from anlp.tasks import TASKS, spec_from_json
from jobs.runs.attempts import keep_endings
from jobs.runs.batches import asked_runs
from jobs.runs.journal import Journal
from jobs.runs.polling import JobPoller
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry

MANY_RUNS = 10  # a command asks before it changes more


def match_run(states: Mapping[str, RunStatus], prefix: str) -> RunStatus:
    """Return the run whose id begins with `prefix`.

    Raises:
        UserError: none does, or several do.
    """
    found = [run_id for run_id in states if run_id.startswith(prefix)]
    if len(found) == 1:
        return states[found[0]]
    if not found:
        raise UserError(
            f"{prefix}: no run of this grid has an id that begins so; "
            f"{command_name('jobs.status')} lists them"
        )
    raise UserError(
        f"{prefix}: {len(found)} runs begin so ({', '.join(found[:5])}, ...); give more digits"
    )


def spec_of(status: RunStatus) -> RunSpec | None:
    """Return the spec of a run as it was submitted; None, and noted, where its task refuses it."""
    try:
        return spec_from_json(status.form)
    except (KeyError, ValueError) as error:
        note_damage(status.folder.path, f"its settings as submitted: {describe_fault(error)}")
        return None


def selection_metric(done: Sequence[RunStatus]) -> str | None:
    """Return the metric that ranks finished runs; None where none has a finite one."""
    measured = set()
    for status in done:
        if status.result is not None:
            measured |= {
                name for name, value in status.result.metrics.items() if math.isfinite(value)
            }
    return default_metric(measured, {monitored_by(status) for status in done})


def monitored_by(status: RunStatus) -> str:
    """Return the metric that a finished run monitors; empty where it names none.

    Of the user's own program it is the one that chose the epoch of its result.
    """
    chosen = status.result.provenance.get("select") if status.result else None
    return str(chosen or status.values.get("monitor", ""))


def best_runs(done: Iterable[RunStatus], metric: str) -> list[tuple[float, RunStatus]]:
    """Return finished runs with a finite value of `metric`, and that value, the best first."""
    scored = []
    for status in done:
        value = status.result.metrics.get(metric, math.nan) if status.result else math.nan
        if math.isfinite(value):
            scored.append((value, status))
    return sorted(scored, key=lambda pair: pair[0], reverse=higher_is_better(metric))


def varying_settings(statuses: Iterable[RunStatus]) -> list[str]:
    """Return the settings that vary among the runs, in the order of the task, the seed last."""
    return varying(status.values for status in statuses)


def own_settings(status: RunStatus, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of those settings among `names` that have an effect on this run."""
    task = TASKS.get(status.form.get("task", ""))
    rules = task.settings.only_for if task else {}
    found = {}
    for name in names:
        if name not in status.values:
            continue
        rule = rules.get(name)
        if rule is None or status.values[rule.setting] in rule.values:
            found[name] = status.values[name]
    return found


def read_grid(folder: GridFolder, query: Query = registry.states) -> list[RunStatus]:
    """Return every run of a grid, in order of submission; what ended it is kept.

    Args:
        folder: the grid's.
        query: asks schedulers for states, such as `JobPoller.states`.

    Raises:
        UserError: nothing was ever submitted to it.
    """
    declare_goals(folder)
    statuses = list(read_states(folder, query).values())
    keep_endings(folder, statuses)
    if not statuses:
        raise UserError(
            f"{folder.name}: nothing was submitted to this grid yet: "
            f"{command_name('jobs.submit')} FILE.yaml"
        )
    return statuses


def narrow(statuses: Sequence[RunStatus], only: str) -> list[RunStatus]:
    """Return the runs that the filter `only` matches; all of them where it is empty.

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
    """One run, with all runs of its grid."""

    folder: GridFolder
    every: list[RunStatus]
    status: RunStatus
    poller: JobPoller


def locate_run(names: Sequence[str], command: str, *, fresh: bool = False) -> FoundRun:
    """Find the run that `[GRID] RUN` names.

    Args:
        names: the positional arguments: a grid and the beginning of a run's id, or only that.
        command: the command, for what to type instead.
        fresh: whether schedulers are asked although another command did so a moment ago.

    Raises:
        UserError: there is no such run, or several grids have one.
    """
    folder = find_grid(names[0]) if len(names) == 2 else _grid_of(names[0], command)
    poller = JobPoller.for_viewing(folder, fresh=fresh)
    every = read_grid(folder, poller.states)
    return FoundRun(
        folder, every, match_run({status.run_id: status for status in every}, names[-1]), poller
    )


def _grid_of(prefix: str, command: str) -> GridFolder:
    """Return the one grid that has a run whose id begins with `prefix`."""
    holders = [folder for folder in list_grids() if _has_run(folder, prefix)]
    if len(holders) == 1:
        return holders[0]
    if holders:
        names = ", ".join(folder.name for folder in holders)
        raise UserError(
            f"{prefix}: {len(holders)} grids have such a run ({names}); "
            f"say which: {command} GRID {prefix}"
        )
    if (runs_root() / prefix).is_dir():
        raise UserError(f"{prefix} is a grid; name a run of it, too: {command} {prefix} RUN")
    raise UserError(
        f"{prefix}: no run in {runs_root()} has an id that begins so; "
        f"{command_name('jobs.status')} GRID lists them"
    )


def _has_run(folder: GridFolder, prefix: str) -> bool:
    return any(
        run_id.startswith(prefix) for run_id in asked_runs(folder, Journal(folder).submissions())
    )
