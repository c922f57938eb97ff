"""Groups chosen runs into stages and batches: canaries first, one batch for equal resources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.options import RunOptions
from jobs.config.packing import ALONE, Packing
from jobs.config.resources import Resources
from jobs.runs.batches import Redo
from jobs.runs.failures import ENDED_WELL
from jobs.runs.plan import redo_of
from jobs.runs.status import RunStatus


def make_elements(
    specs: Sequence[RunSpec],
    history: Mapping[str, RunStatus],
    options: RunOptions,
    redo: Redo,
    packing: Packing = ALONE,
    mem_limit_mib: int | None = None,
) -> list[Element]:
    """Return the elements of a batch, in the order of `specs`; runs with equal options share one.

    The purpose of a run (search or confirmation) stays that of its first submission.

    Args:
        specs: the runs; all ask for equal resources.
        history: where they stand.
        options: how they are carried out.
        redo: which earlier results are set aside.
        packing: how many share a job.
        mem_limit_mib: of each run; the scheduler knows only what a job may use.
    """
    groups: dict[RunOptions, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        groups[_options_of(history.get(spec.run_id), options, redo)].append(spec)
    return [
        Element(tuple(some[start : start + packing.size]), own, packing.pack, mem_limit_mib)
        for own, some in groups.items()
        for start in range(0, len(some), packing.size)
    ]


def _options_of(status: RunStatus | None, options: RunOptions, redo: Redo) -> RunOptions:
    purpose = options.purpose if status is None else status.purpose
    return replace(options, redo=redo_of(status, redo), purpose=purpose)


@dataclass(frozen=True, slots=True)
class SubmissionStage:
    """Runs that are submitted together."""

    specs: tuple[RunSpec, ...]
    resources: Resources
    is_canary: bool = False  # later stages start only if all of its runs end well


def make_stages(
    specs: Sequence[RunSpec],
    resources: Resources,
    asks: Mapping[str, Resources],
    *,
    canary: bool = False,
    passed: Collection[object] = (),
) -> list[SubmissionStage]:
    """Return the stages of a submission, in order.

    Args:
        specs: the runs.
        resources: what each asks for, unless `asks` says otherwise.
        asks: by run id.
        canary: whether one run per model goes first, where others remain.
        passed: models that need no canary any more.
    """
    chosen = choose_canaries(specs, passed) if canary else set()
    if len(chosen) == len(specs):
        chosen = set()
    groups: dict[tuple[bool, Resources], list[RunSpec]] = defaultdict(list)
    for spec in specs:
        groups[spec.run_id not in chosen, asks.get(spec.run_id, resources)].append(spec)
    ordered = sorted(
        groups.items(), key=lambda item: item[0][0]
    )  # stable: canaries before the others
    return [
        SubmissionStage(tuple(some), asked, is_canary=not is_rest)
        for (is_rest, asked), some in ordered
    ]


def choose_canaries(specs: Sequence[RunSpec], passed: Collection[object] = ()) -> set[str]:
    """Return ids of the first run of each model that has not passed."""
    first: dict[object, str] = {}
    for spec in specs:
        first.setdefault(spec.settings.values().get("model"), spec.run_id)
    return {run_id for model, run_id in first.items() if model not in passed}


def passed_models(history: Iterable[RunStatus]) -> set[object]:
    """Return models with a run that has its result: they need no canary."""
    return {status.values.get("model") for status in history if status.state in ENDED_WELL}
