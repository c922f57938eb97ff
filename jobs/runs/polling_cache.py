"""Cache the last answers of schedulers about the jobs of a grid, for the next command."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from anlp.core.damage import describe_fault, note_damage
from anlp.core.files import write_whole
from anlp.core.json_text import time_in
from anlp.records.files import read_json
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase, parse_signal

VERSION = 1
MOST_JOBS = 1_000_000  # a damaged file must not fill the memory


@dataclass(frozen=True, slots=True)
class CachedState:
    """The state of one job, and when the scheduler said so."""

    state: JobState
    time: float  # unix
    since: float | None = None  # unix time from when on it has waited for the accounts


@dataclass(frozen=True, slots=True)
class JobStateCache:
    """Everything that is cached for a grid."""

    jobs: Mapping[JobHandle, CachedState] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by scheduler


def read_cache(path: Path) -> JobStateCache:
    """Return what is cached; nothing where the file is missing or damaged."""
    form = read_json(path)
    if form is None or form.get("version") != VERSION:
        return JobStateCache()
    try:
        notes = {str(name): tuple(map(str, lines)) for name, lines in form["notes"].items()}
        return JobStateCache(_parse_jobs(form["jobs"]), notes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        note_damage(path, describe_fault(error))
        return JobStateCache()


def write_cache(path: Path, answers: JobStateCache) -> None:
    """Replace the cache by rename; only the owner can read it. Errors of the disk are ignored."""
    form = {"version": VERSION, "notes": dict(answers.notes), "jobs": _render_jobs(answers.jobs)}
    content = json.dumps(form, separators=(",", ":")).encode()
    with suppress(OSError):  # a full or read-only disk: it is only a cache
        write_whole(path, content, mode=0o600, sync=False)


def _render_jobs(jobs: Mapping[JobHandle, CachedState]) -> list[list[Any]]:
    """Return one entry per run of elements with equal states; 10,000 queued ones fit few bytes."""
    groups: dict[tuple[str, str, CachedState], list[int]] = defaultdict(list)
    for job, answer in jobs.items():
        groups[job.scheduler, job.native_id, answer].append(job.index)
    return [
        [
            name,
            native,
            list(_spans(indices)),
            answer.time,
            *_state_form(answer.state),
            *([] if answer.since is None else [answer.since]),
        ]
        for (name, native, answer), indices in groups.items()
    ]


def _state_form(state: JobState) -> Sequence[str | None]:
    cause = None if state.cause is None else state.cause.name
    return state.phase.value, cause, state.detail, state.node


def _spans(indices: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Yield the first and last index of each unbroken stretch.

    >>> list(_spans([3, 1, 2, 7]))
    [(1, 3), (7, 7)]
    """
    ordered = sorted(indices)
    first = ordered[0]
    for one, following in pairwise(ordered):
        if following != one + 1:
            yield first, one
            first = following
    yield first, ordered[-1]


def _parse_jobs(forms: Iterable[Sequence[Any]]) -> dict[JobHandle, CachedState]:
    found: dict[JobHandle, CachedState] = {}
    for name, native, spans, time, phase, cause, detail, node, *more in forms:
        if not all(isinstance(text, str) for text in (name, native, detail, node)):
            raise ValueError(f"jobs: expected texts, got {(name, native, detail, node)!r:.60}")
        why = None if cause is None else Cause[cause]
        number = parse_signal(detail) if why is Cause.SIGNAL else None
        state = JobState(Phase(phase), why, detail, node, number)
        since = time_in({"since": more[0]}, "since") if more else None
        answer = CachedState(state, time_in({"time": time}, "time"), since)
        for first, last in spans:
            if len(found) + last - first >= MOST_JOBS:
                raise ValueError("more jobs than any grid has")
            found.update(
                {JobHandle(name, native, index): answer for index in range(first, last + 1)}
            )
    return found
