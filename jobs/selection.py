"""Which runs a command line means: all of a grid, those a filter matches, or one by the beginning of its id."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from anlp.claim import HeldError
from anlp.errors import UserError
from anlp.record import GridFolder
from anlp.select import parse_filter
from jobs.cli import find_run, open_grid, runs_root
from jobs.journal import Journal
from jobs.schedulers import choose
from jobs.state import RunStatus, asked_runs, read_states

MANY_RUNS = 10  # more than these are touched only after asking

LOCAL_REFRESH_S = 2.0
CLUSTER_REFRESH_S = 40.0  # one look at a shared scheduler serves everybody; more often is a burden


def positive(text: str) -> int:
    """A whole number above 0 from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def read_grid(folder: GridFolder) -> list[RunStatus]:
    """Every run of a grid, in order of submission.

    Raises:
        UserError: nothing was ever submitted to it.
    """
    statuses = list(read_states(folder, choose.states).values())
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


def refresh_s(statuses: Iterable[RunStatus]) -> float:
    """How often it is decent to ask again: seldom where a shared scheduler answers."""
    shared = any(status.handle and status.handle.scheduler != "local" for status in statuses)
    return CLUSTER_REFRESH_S if shared else LOCAL_REFRESH_S


def grids() -> list[GridFolder]:
    """The grids that were ever submitted to, by name."""
    root = runs_root()
    found = [GridFolder(path) for path in sorted(root.iterdir())] if root.is_dir() else []
    return [folder for folder in found if folder.journal.exists()]


def find_target(names: Sequence[str], command: str) -> tuple[GridFolder, list[RunStatus], RunStatus]:
    """The grid, all its runs and the one run that `[GRID] RUN` names.

    Args:
        names: the positional arguments: a grid and the beginning of a run's id, or the latter alone.
        command: the command, for what to type instead.

    Raises:
        UserError: there is no such run, or several grids have one.
    """
    folder = open_grid(names[0]) if len(names) == 2 else _grid_of(names[0], command)
    statuses = read_grid(folder)
    return folder, statuses, find_run({status.run_id: status for status in statuses}, names[-1])


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
