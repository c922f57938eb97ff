"""The calls for programs: submit a grid and read where its runs stand, without a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from anlp.core.errors import EXIT_OK, UserError
from anlp.records.folders import GridFolder, find_grid
from jobs.runs.batches import Redo, asked_runs
from jobs.runs.journal import Journal
from jobs.runs.polling import JobPoller
from jobs.runs.queries import narrow, read_grid
from jobs.runs.status import RunStatus
from jobs.submission.arguments import Overrides
from jobs.submission.request import SubmitRequest, find_grid_file
from jobs.submission.stages import choose, expand, place, read_history, submit


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one submit.

    Args:
        grid: the grid's name.
        folder: the grid's folder.
        planned: ids of the runs that were missing, in the order of the grid.
        submitted: how many of them a scheduler took; 0 for a dry run.
        exit_code: 0; on this machine 1 if a run failed or was lost, 130 if it was stopped.
    """

    grid: str
    folder: Path
    planned: tuple[str, ...]
    submitted: int = 0
    exit_code: int = EXIT_OK


def submit_grid(  # noqa: PLR0913 - a public call with names for what the command line offers
    grid: str | PathLike[str],
    *,
    only: str = "",
    settings: Sequence[str] = (),
    seeds: int | None = None,
    redo: Redo = "none",
    scheduler: str = "auto",
    overrides: Overrides | None = None,
    dry_run: bool = False,
) -> Submission:
    """Submit the missing runs of a grid; on this machine, return when they have ended.

    It prints what the command prints, and asks no question: calling it with `redo="all"` agrees to
    the loss of finished results.

    Args:
        grid: a YAML file, or a grid by its name or folder.
        only: a filter such as `model=cnn lr<=0.01`; empty: all runs.
        settings: `NAME=VALUE[,VALUE…]` each, over what the file says.
        seeds: how many, over what the file says.
        redo: `failed` takes failed and lost runs, too; `all` also finished ones.
        scheduler: `auto`, `local`, or a cluster's.
        overrides: where and how, over what the file says; instead of `scheduler`.
        dry_run: work out the plan and write nothing.

    Raises:
        SpecError: the file, the filter or the settings have faults.
        SchedulerError: the scheduler did not take the runs.
        UserError: data is missing, or the grid's folder cannot be written.
    """
    if overrides is None:
        overrides = Overrides(on=scheduler, quiet=True)
    elif scheduler != "auto":
        raise UserError("scheduler: is part of overrides (on=…); give one of the two")
    source, grid_name = find_grid_file(fspath(grid))
    request = SubmitRequest(
        source,
        grid_name=grid_name,
        settings=tuple(settings),
        seeds=None if seeds is None else str(seeds),
        only=only,
        redo=redo,
        overrides=overrides,
        dry_run=dry_run,
        yes=True,
    )
    expanded = expand(request)
    folder = expanded.folder
    poller = JobPoller.for_dry_run(folder) if dry_run else JobPoller.for_changing(folder)
    chosen = choose(request, expanded, read_history(request, folder, poller.states))
    placed = place(request, expanded, chosen)
    planned = tuple(spec.run_id for spec in placed.plan.chosen)
    if dry_run or not planned:
        return Submission(folder.name, folder.path, planned)
    before = _submissions(folder)
    exit_code = submit(request, placed, poller.states)
    after = _submissions(folder)
    submitted = sum(after.get(run_id) != before.get(run_id) for run_id in planned)
    return Submission(folder.name, folder.path, planned, submitted, exit_code)


def grid_status(grid: str | PathLike[str], *, only: str = "") -> list[RunStatus]:
    """Return the runs of a grid in order of submission, each with where it stands.

    Args:
        grid: its name, its YAML file or its folder.
        only: a filter such as `state=failed model=cnn`; empty: all runs.

    Raises:
        SpecError: the filter is malformed, or names something that no run has.
        UserError: there is no such grid, or nothing was submitted to it.
    """
    folder = find_grid(fspath(grid))
    return narrow(read_grid(folder, JobPoller.for_viewing(folder).states), only)


def _submissions(folder: GridFolder) -> Mapping[str, str]:
    """Return the tag of each run's latest submission."""
    asked = asked_runs(folder, Journal(folder).submissions())
    return {run_id: run.submission.tag for run_id, run in asked.items()}
