"""What schedulers said last about the jobs of a grid: one small file, so that the next command need not ask again."""

from __future__ import annotations

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from anlp.records.files import read_json
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase, parse_signal

VERSION = 1
MOST_JOBS = 1_000_000  # a damaged file must not fill the memory


@dataclass(frozen=True, slots=True)
class CachedState:
    """What was said about one job, and when."""

    state: JobState
    time: float  # unix


@dataclass(frozen=True, slots=True)
class JobStateCache:
    """Everything that is remembered for a grid."""

    jobs: Mapping[JobHandle, CachedState] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # by scheduler, of its last answer


def read_cache(path: Path) -> JobStateCache:
    """What is remembered; nothing where the file is missing or damaged."""
    form = read_json(path)
    if form is None or form.get("version") != VERSION:
        return JobStateCache()
    try:
        notes = {str(name): tuple(map(str, lines)) for name, lines in form["notes"].items()}
        return JobStateCache(_parse_jobs(form["jobs"]), notes)
    except (AttributeError, KeyError, TypeError, ValueError):
        return JobStateCache()


def write_cache(path: Path, answers: JobStateCache) -> None:
    """Replaces what is remembered, by rename, for the owner's eyes only; where nothing can be written, nothing is."""
    form = {"version": VERSION, "notes": dict(answers.notes), "jobs": _render_jobs(answers.jobs)}
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(form, file, separators=(",", ":"))
        draft.replace(path)
    except OSError:  # a full or read-only disk: it is only a cache
        with suppress(OSError):
            draft.unlink()


def _render_jobs(jobs: Mapping[JobHandle, CachedState]) -> list[list[Any]]:
    """One entry for all elements of a job about which the same was said: 10,000 queued ones are a few bytes."""
    groups: dict[tuple[str, str, CachedState], list[int]] = defaultdict(list)
    for job, answer in jobs.items():
        groups[job.scheduler, job.native_id, answer].append(job.index)
    return [
        [name, native, list(_spans(indices)), answer.time, *_state_form(answer.state)]
        for (name, native, answer), indices in groups.items()
    ]


def _state_form(state: JobState) -> Sequence[str | None]:
    return state.phase.value, state.cause and state.cause.name, state.detail, state.node


def _spans(indices: Sequence[int]) -> Iterable[tuple[int, int]]:
    """First and last of each unbroken stretch."""
    ordered = sorted(indices)
    breaks = [
        place for place, (one, next_one) in enumerate(pairwise(ordered), 1) if next_one != one + 1
    ]
    for begin, end in pairwise([0, *breaks, len(ordered)]):
        yield ordered[begin], ordered[end - 1]


def _parse_jobs(forms: Iterable[Sequence[Any]]) -> dict[JobHandle, CachedState]:
    found: dict[JobHandle, CachedState] = {}
    for name, native, spans, time, phase, cause, detail, node in forms:
        why = None if cause is None else Cause[cause]
        number = parse_signal(detail) if why is Cause.SIGNAL else None
        answer = CachedState(JobState(Phase(phase), why, detail, node, number), float(time))
        for first, last in spans:
            if len(found) + last - first >= MOST_JOBS:
                raise ValueError("more jobs than any grid has")
            found.update(
                {JobHandle(name, native, index): answer for index in range(first, last + 1)}
            )
    return found
