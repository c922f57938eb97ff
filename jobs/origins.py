"""What runs begin from: `init_from` names a run, or asks for the best of a grid; runs are made with the run's id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from anlp.errors import UserError
from anlp.record import GridFolder, RunState
from anlp.select import parse_filter
from anlp.settings import make_spec
from anlp.spec import RUN_ID_LENGTH, RunSpec
from jobs.ranking import best_runs, selection_metric
from jobs.state import read_states

SETTING = "init_from"


def with_origins(specs: Sequence[RunSpec], root: Path, *, is_dry: bool = False) -> list[RunSpec]:
    """The runs with the ids of what they begin from, so that the same run always begins from the same weights.

    Args:
        specs: runs; those without an origin stay as they are.
        root: the folder of all grids.
        is_dry: a plan may name an origin that is not trained yet.

    Raises:
        UserError: no such run or grid, nothing of it is finished, or its weights were not kept.
    """
    find = cache(lambda origin: _find(origin, root))
    found = []
    for spec in specs:
        values = spec.settings.values()
        origin = str(values.get(SETTING, ""))
        if not origin:
            found.append(spec)
            continue
        try:
            found.append(make_spec(spec.task, {**values, SETTING: find(origin)}, spec.seed))
        except UserError:
            if not is_dry:
                raise
            found.append(spec)
    return found


def _find(origin: str, root: Path) -> str:
    """The id of the run that is meant: it has one, or is the best of `GRID` or of `GRID: FILTER`."""
    run_id = origin if re.fullmatch(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}", origin) else _best(origin, root)
    if not any(root.glob(f"*/{run_id}/weights.pt")):
        raise UserError(
            f"{SETTING}: no weights of run {run_id} in {root}; finish it first, with `checkpoints: {{keep: best}}`"
        )
    return run_id


def _best(origin: str, root: Path) -> str:
    name, _, text = origin.partition(":")
    folder = GridFolder(root / name.strip())
    if not folder.journal.exists():
        raise UserError(
            f"{SETTING}: expected a run's id, GRID or GRID: FILTER, got {origin!r}; no grid {name!r} in {root}"
        )
    every = read_states(folder, lambda _: {}).values()  # what is finished needs no scheduler
    statuses = [status for status in every if status.state is RunState.DONE]
    if text.strip():
        wanted = parse_filter(text.strip())
        wanted.check({field for status in statuses for field in status.fields()})
        statuses = [status for status in statuses if wanted.matches(status.fields())]
    metric = selection_metric(statuses)
    ranking = best_runs(statuses, metric) if metric else []
    if not ranking:
        raise UserError(f"{SETTING}: no finished run fits {origin!r}; train that grid first: python -m jobs.submit")
    return ranking[0][1].run_id
