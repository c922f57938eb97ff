"""Fresh seeds for the best configurations: what a table needs so that its winners are not merely lucky."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from anlp.direction import higher_is_better
from anlp.errors import SpecError
from anlp.record import RunState
from anlp.settings import spec_from_json
from anlp.spec import RunSpec, TaskSettings
from jobs.state import RunStatus

FIRST_FRESH_SEED = 1000  # far from the seeds of any search, so that more search seeds later stay disjoint from these


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration with the mean of its metric over the seeds of the search."""

    task: str
    settings: TaskSettings
    score: float
    n: int


def best_configurations(history: Iterable[RunStatus], metric: str, top: int, per: str | None) -> list[Candidate]:
    """The `top` configurations by mean `metric` over search seeds, of each value of the setting `per`.

    Raises:
        SpecError: `per` or `metric` is unknown to the finished runs, or none has finished.
    """
    done = [s for s in history if s.state is RunState.DONE and s.purpose == "search" and s.result]
    if not done:
        raise SpecError("--confirm: no run of this grid has finished yet; run the grid first, then confirm its best")
    _check_names(done, metric, per)
    groups: dict[object, list[Candidate]] = defaultdict(list)
    for candidate in _candidates(done, metric):
        groups[candidate.settings.values()[per] if per else None].append(candidate)
    return [
        candidate
        for group in groups.values()
        for candidate in sorted(group, key=lambda c: c.score, reverse=higher_is_better(metric))[:top]
    ]


def runs_of_configurations(history: Iterable[RunStatus], specs: Iterable[RunSpec]) -> list[RunStatus]:
    """The runs of the configurations of `specs`, whatever their seeds: a search may have been given more of them."""
    named = {spec.config_id for spec in specs}
    return [status for status in history if spec_from_json(status.form).config_id in named]


def search_seeds(history: Iterable[RunStatus]) -> set[int]:
    """Seeds that the search has used."""
    return {status.values["seed"] for status in history if status.purpose == "search"}


def fresh_runs(candidates: Sequence[Candidate], seeds: int, used: Container[int] = ()) -> list[RunSpec]:
    """Each candidate with `seeds` seeds that are not among those that a search used; the same call, the same runs."""
    numbers = list(islice((seed for seed in count(FIRST_FRESH_SEED) if seed not in used), seeds))
    return [RunSpec(candidate.task, candidate.settings, seed) for candidate in candidates for seed in numbers]


def _candidates(done: Sequence[RunStatus], metric: str) -> list[Candidate]:
    specs: dict[str, RunSpec] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    for status in done:
        spec = spec_from_json(status.form)
        score = status.result.metrics.get(metric, math.nan) if status.result else math.nan
        if math.isfinite(score):
            specs[spec.config_id] = spec
            scores[spec.config_id].append(score)
    return [
        Candidate(specs[key].task, specs[key].settings, sum(values) / len(values), len(values))
        for key, values in scores.items()
    ]


def _check_names(done: Sequence[RunStatus], metric: str, per: str | None) -> None:
    metrics = sorted({name for status in done if status.result for name in status.result.metrics})
    if metric not in metrics:
        raise SpecError(f"--select: no finished run has the metric {metric!r} (they have: {', '.join(metrics)})")
    if per is not None and per not in done[0].values:
        raise SpecError(f"--per: unknown setting {per!r} (known: {', '.join(sorted(done[0].values))})")
