"""Runs derived from a grid: fresh seeds of the best, starts from other weights, a smoke test."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from pathlib import Path

from anlp.console.verbs import command_name
from anlp.core.errors import SpecError, UserError
from anlp.core.filters import parse_filter
from anlp.core.metrics import higher_is_better
from anlp.core.spec import RUN_ID_LENGTH, RunSpec, Scalar, TaskSettings
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from anlp.tasks import make_spec
from anlp.tasks.user_code import is_user_code
from jobs.runs.queries import best_runs, selection_metric, spec_of
from jobs.runs.status import RunStatus, read_states

FIRST_FRESH_SEED = 1000  # far above search seeds, so that more of these stay disjoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration with the mean of its metric over the seeds of the search."""

    task: str
    settings: TaskSettings
    score: float
    n: int
    is_complete: bool  # every seed of the search has a score


def best_configurations(
    history: Iterable[RunStatus], metric: str, top: int, per: str | None
) -> list[Candidate]:
    """Return the `top` configurations by mean `metric` over search seeds, for each value of `per`.

    Those that lost seeds come after the others, as in tables: their mean is over the lucky ones.

    Raises:
        SpecError: `per` or `metric` is unknown to the finished runs, or none has finished.
    """
    searched = [status for status in history if status.purpose == "search"]
    done = [s for s in searched if s.state is RunState.DONE and s.result]
    if not done:
        raise SpecError(
            "--confirm: no run of this grid has finished yet; "
            "run the grid first, then confirm its best"
        )
    _check_names(done, metric, per)
    groups: dict[object, list[Candidate]] = defaultdict(list)
    for candidate in _candidates(searched, metric):
        groups[candidate.settings.values()[per] if per else None].append(candidate)
    sign = -1 if higher_is_better(metric) else 1
    best: list[Candidate] = []
    for group in groups.values():
        best += sorted(group, key=lambda c: (not c.is_complete, sign * c.score))[:top]
    return best


def runs_of_configurations(
    history: Iterable[RunStatus], specs: Iterable[RunSpec]
) -> list[RunStatus]:
    """Return the runs of the configurations of `specs`, with any seed."""
    named = {spec.config_id for spec in specs}
    found = []
    for status in history:
        spec = spec_of(status)
        if spec is not None and spec.config_id in named:
            found.append(status)
    return found


def search_seeds(history: Iterable[RunStatus]) -> set[int]:
    """Return seeds that the search has used."""
    return {status.values["seed"] for status in history if status.purpose == "search"}


def fresh_runs(
    candidates: Sequence[Candidate], seeds: int, used: Container[int] = ()
) -> list[RunSpec]:
    """Return each candidate with `seeds` seeds that no search used; equal calls give equal runs."""
    numbers = list(islice((seed for seed in count(FIRST_FRESH_SEED) if seed not in used), seeds))
    return [
        RunSpec(candidate.task, candidate.settings, seed)
        for candidate in candidates
        for seed in numbers
    ]


def _candidates(searched: Sequence[RunStatus], metric: str) -> list[Candidate]:
    specs: dict[str, RunSpec] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    runs: Counter[str] = Counter()
    for status in searched:
        spec = spec_of(status)
        if spec is None:
            continue
        runs[spec.config_id] += 1
        score = math.nan
        if status.state is RunState.DONE and status.result:
            score = status.result.metrics.get(metric, math.nan)
        if math.isfinite(score):
            specs[spec.config_id] = spec
            scores[spec.config_id].append(score)
    found = []
    for key, values in scores.items():
        spec, n = specs[key], len(values)
        found.append(Candidate(spec.task, spec.settings, sum(values) / n, n, n == runs[key]))
    return found


def _check_names(done: Sequence[RunStatus], metric: str, per: str | None) -> None:
    metrics = sorted({name for status in done if status.result for name in status.result.metrics})
    if metric not in metrics:
        raise SpecError(
            f"--select: no finished run has the metric {metric!r} (they have: {', '.join(metrics)})"
        )
    if per is not None and per not in done[0].values:
        raise SpecError(
            f"--per: unknown setting {per!r} (known: {', '.join(sorted(done[0].values))})"
        )


SETTING = "init_from"


def resolve_init_from(
    specs: Sequence[RunSpec], root: Path, *, is_dry: bool = False
) -> list[RunSpec]:
    """Return the runs with the ids of what they start from: a repeated run has an equal start.

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
        origin = "" if is_user_code(spec.task) else str(values.get(SETTING, ""))
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
    """Return the id of the run that is meant: given, or the best of `GRID` or of `GRID: FILTER`."""
    run_id = (
        origin if re.fullmatch(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}", origin) else _best(origin, root)
    )
    if not any(root.glob(f"*/{run_id}/weights.pt")):
        raise UserError(
            f"{SETTING}: no weights of run {run_id} in {root}; "
            "finish it first, with `checkpoints: {keep: best}`"
        )
    return run_id


def _best(origin: str, root: Path) -> str:
    name, _, text = origin.partition(":")
    folder = GridFolder(root / name.strip())
    if not folder.journal.exists():
        raise UserError(
            f"{SETTING}: expected a run's id, GRID or GRID: FILTER, got {origin!r}; "
            f"no grid {name!r} in {root}"
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
        raise UserError(
            f"{SETTING}: no finished run fits {origin!r}; "
            f"train that grid first: {command_name('jobs.submit')}"
        )
    return ranking[0][1].run_id


LEAST_RUNS = 2
KINDS = ("model", "method")  # settings that decide which code runs
SUFFIX = "-smoke"


SMALL_NAMES = ("epochs", "max_epochs", "num_epochs", "num_train_epochs", "n_epochs")


def make_small(
    specs: Sequence[RunSpec], smoke: Mapping[str, Scalar] | None = None
) -> list[RunSpec]:
    """Return the first run of each model, two runs at least, with the task's small settings.

    Args:
        specs: runs.
        smoke: what makes a run of the user's own code small; empty: one epoch.

    Raises:
        UserError: the user's own code has no setting that is known to make it small.
    """
    chosen: dict[object, RunSpec] = {}
    for spec in specs:
        chosen.setdefault(_kind(spec), spec)
    rest = (spec for spec in specs if spec not in chosen.values())
    given = smoke or {}
    small = _small(chosen.values(), given)
    for spec in rest:
        if len(small) >= LEAST_RUNS:
            break
        small |= _small([spec], given)
    return list(small.values())


def _kind(spec: RunSpec) -> tuple[object, ...]:
    values = spec.settings.values()
    return (spec.task, *(values.get(name) for name in KINDS))


def _small(specs: Iterable[RunSpec], smoke: Mapping[str, Scalar]) -> dict[str, RunSpec]:
    """Return the runs with small settings, by id: those that become equal are one."""
    made = [
        make_spec(spec.task, {**spec.settings.values(), **(smoke or _smoke_of(spec))}, spec.seed)
        for spec in specs
    ]
    return {spec.run_id: spec for spec in made}


def _smoke_of(spec: RunSpec) -> Mapping[str, Scalar]:
    """Return the settings that make a run small.

    Raises:
        UserError: the user's own code has none that is known.
    """
    if not is_user_code(spec.task):
        return spec.settings.smoke
    values = spec.settings.values()
    for name in SMALL_NAMES:
        if isinstance(values.get(name), int):
            return {name: 1}
    raise UserError(
        f"--smoke: {spec.task} has no setting among {', '.join(SMALL_NAMES)}; say in the grid file "
        "what makes a run small, such as smoke: {steps: 10}"
    )
