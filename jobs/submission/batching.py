"""The order in which chosen runs are handed over: canaries first, and one batch for all that ask for the same."""

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
    """The elements of a batch, in the order of `specs`; only runs with the same options share one.

    What a run is for (a search, a confirmation) stays what it was when it was first submitted.

    Args:
        specs: the runs; all ask for the same resources.
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
    """Runs that are handed over together."""

    specs: tuple[RunSpec, ...]
    resources: Resources
    is_canary: bool = False  # whatever comes behind it starts only if all of its runs end well


def make_stages(
    specs: Sequence[RunSpec],
    resources: Resources,
    asks: Mapping[str, Resources],
    *,
    canary: bool = False,
    passed: Collection[object] = (),
) -> list[SubmissionStage]:
    """The waves of a submission, in order.

    Args:
        specs: the runs.
        resources: what each asks for, unless `asks` says otherwise.
        asks: by run id.
        canary: whether one configuration per model goes first; where nothing would be left, nothing does.
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
    """Ids of the first run of each model (of each task that has none), but of those that have passed."""
    first: dict[object, str] = {}
    for spec in specs:
        first.setdefault(spec.settings.values().get("model"), spec.run_id)
    return {run_id for model, run_id in first.items() if model not in passed}


def passed_models(history: Iterable[RunStatus]) -> set[object]:
    """Models of which a run has its result: that was their canary."""
    return {status.values.get("model") for status in history if status.state in ENDED_WELL}
