"""Which runs a command line means: all of a grid, those a filter matches, or one by the beginning of its id."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from anlp.claim import HeldError
from anlp.errors import UserError
from anlp.record import GridFolder
from anlp.select import parse_filter
from jobs.cli import find_run, open_grid, runs_root
from jobs.inquiry import Inquiry
from jobs.journal import Journal
from jobs.schedulers import choose
from jobs.state import Query, RunStatus, asked_runs, read_states

MANY_RUNS = 10  # more than these are touched only after asking


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that look at a grid and change nothing."""
    parser.add_argument("--fresh", action="store_true", help="ask the scheduler now, though it was asked a moment ago")


def read_grid(folder: GridFolder, query: Query = choose.states) -> list[RunStatus]:
    """Every run of a grid, in order of submission.

    Args:
        folder: the grid's.
        query: asks schedulers for states, such as `Inquiry.states`.

    Raises:
        UserError: nothing was ever submitted to it.
    """
    statuses = list(read_states(folder, query).values())
    if not statuses:
        raise UserError(f"{folder.name}: nothing was submitted to this grid yet: python -m jobs.submit FILE.yaml")
    return statuses


def narrow(statuses: Sequence[RunStatus], only: str | None) -> list[RunStatus]:
    """The runs that the filter `only` matches; all of them without one.

    Raises:
        SpecError: the text is no filter, or it asks for a name that no run has.
    """
    if only is None:
        return list(statuses)
    wanted = parse_filter(only)
    fields = [status.fields() for status in statuses]
    wanted.check({name for form in fields for name in form})
    return [status for status, form in zip(statuses, fields, strict=True) if wanted.matches(form)]


def grids() -> list[GridFolder]:
    """The grids that were ever submitted to, by name."""
    root = runs_root()
    found = [GridFolder(path) for path in sorted(root.iterdir())] if root.is_dir() else []
    return [folder for folder in found if folder.journal.exists()]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """One run, among all of its grid."""

    folder: GridFolder
    every: list[RunStatus]
    status: RunStatus
    inquiry: Inquiry


def find_target(names: Sequence[str], command: str, *, fresh: bool = False) -> FoundRun:
    """The run that `[GRID] RUN` names.

    Args:
        names: the positional arguments: a grid and the beginning of a run's id, or the latter alone.
        command: the command, for what to type instead.
        fresh: whether answers that other commands got a moment ago are left aside.

    Raises:
        UserError: there is no such run, or several grids have one.
    """
    folder = open_grid(names[0]) if len(names) == 2 else _grid_of(names[0], command)
    inquiry = Inquiry(folder, fresh=fresh)
    every = read_grid(folder, inquiry.states)
    return FoundRun(folder, every, find_run({status.run_id: status for status in every}, names[-1]), inquiry)


def _grid_of(prefix: str, command: str) -> GridFolder:
    """The one grid that has a run whose id begins with `prefix`."""
    holders = [folder for folder in grids() if _has_run(folder, prefix)]
    if len(holders) == 1:
        return holders[0]
    if holders:
        names = ", ".join(folder.name for folder in holders)
        raise UserError(f"{prefix}: {len(holders)} grids have such a run ({names}); say which: {command} GRID {prefix}")
    if (runs_root() / prefix).is_dir():
        raise UserError(f"{prefix} is a grid; name a run of it, too: {command} {prefix} RUN")
    raise UserError(
        f"{prefix}: no run in {runs_root()} has an id that begins so; python -m jobs.status GRID lists them"
    )


def _has_run(folder: GridFolder, prefix: str) -> bool:
    return any(run_id.startswith(prefix) for run_id in asked_runs(folder, Journal(folder).submissions()))


@contextmanager
def held(folder: GridFolder) -> Iterator[Journal]:
    """The journal of a grid, with the grid held against every other command that changes it.

    Raises:
        UserError: another command holds it and does not finish.
    """
    journal = Journal(folder)
    try:
        with journal.locked():
            yield journal
    except HeldError as error:
        raise UserError(f"{folder.name}: another command is at work on this grid ({error}); try again") from None
