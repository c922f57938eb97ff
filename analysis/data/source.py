"""What every source of runs can tell, whether they lie in folders or on a server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

from anlp.core.spec import RunSpec
from anlp.core.units import count
from anlp.records.results import RunRecord
from anlp.tasks import TASKS, make_spec
from anlp.tasks.user_code import is_user_code

UNSETTLED = ""  # the stamp of a run that has to be read again in any case
IDS_SHOWN = 3  # of many runs with the same note
MOST_WHOLE = 10  # settings whose kind of number is looked for
NO_FIT = (
    "left out, its id does not fit its settings: one was removed or changed by hand, or it is of "
    "another version"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading one run."""

    run_id: str
    record: RunRecord | None = None  # None: it was skipped, the note says why
    stamp: str = UNSETTLED  # by which `Source.is_current` tells whether the record is up to date
    # sentences on what could not be read, one a line; one that does not begin with the run's id is
    # told once for all runs that have it
    note: str = ""


class Source(Protocol):
    """A place that has runs."""

    def run_ids(self) -> list[str]:
        """Return the runs that are there, in the order of their ids, read or not."""

    def notes(self) -> list[str]:
        """Return sentences on runs that `run_ids` leaves out."""

    def is_current(self, run_id: str, stamp: str) -> bool:
        """Return whether the record with this stamp is up to date, without reading the run."""

    def read(self, run_ids: Sequence[str]) -> Iterator[Reading]:
        """Yield these runs with their history, in any order, each as soon as it is there."""


def told(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return the sentences of runs, of equal ones one that counts the runs.

    >>> told([("a", "a: skipped"), ("b", "left out, no task"), ("c", "left out, no task")])
    ['a: skipped', '2 runs (b, c): left out, no task']

    Args:
        notes: id and note of each run.
    """
    runs: dict[str, list[str]] = defaultdict(list)
    for run_id, note in notes:
        for line in note.splitlines():
            runs[line].append(run_id)
    return [_told(line, sorted(ids)) for line, ids in runs.items()]


def _told(line: str, ids: Sequence[str]) -> str:
    if len(ids) == 1:
        return line if line.startswith(f"{ids[0]}: ") else f"{ids[0]}: {line}"
    names = ", ".join(ids[:IDS_SHOWN]) + (", …" if len(ids) > IDS_SHOWN else "")
    return f"{count(len(ids), 'run')} ({names}): {line}"


def one_of_each_step(rows: Sequence[Mapping[str, Any]], step: str) -> list[Mapping[str, Any]]:
    """Return one row per step: of several, the values of the last that has them.

    >>> one_of_each_step([{"s": 0, "a": 1}, {"s": 0, "a": 2}, {"s": 1}], "s")
    [{'s': 0, 'a': 2}, {'s': 1}]
    """
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row.get(step), {}).update(row)
    return list(found.values())


def known_settings(task: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the settings that the task has, and a note on the others, which are ignored.

    The user's own code has any settings.
    """
    if is_user_code(task):
        return dict(values), ""
    fields = TASKS[task].settings.model_fields
    known = {name: value for name, value in values.items() if name in fields}
    unknown = sorted(values.keys() - known.keys())
    if not unknown:
        return known, ""
    return known, f"no settings of task {task}, ignored: {', '.join(unknown)}"


def fitting_spec(spec: RunSpec, config_id: str) -> RunSpec | None:
    """Return the run whose configuration has this id; None where the settings do not fit it.

    A server may send 1.0 as 1: which of them a setting of the user's own code was, the id tells.
    """
    if spec.config_id == config_id:
        return spec
    values = spec.settings.values()
    whole = [name for name, value in values.items() if type(value) is int]
    if not is_user_code(spec.task) or len(whole) > MOST_WHOLE:
        return None
    for kinds in product((int, float), repeat=len(whole)):
        changed = {name: kind(values[name]) for name, kind in zip(whole, kinds, strict=True)}
        other = make_spec(spec.task, {**values, **changed}, spec.seed)
        if other.config_id == config_id:
            return other
    return None
