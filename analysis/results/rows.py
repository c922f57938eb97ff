"""Rows of a results table: a configuration over its seeds, failed seeds apart from trained ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.data.baselines import run_chance_level
from analysis.data.frames import SIZE
from analysis.results.configurations import Configuration, Run, has_score
from analysis.results.plan import Plan
from analysis.stats.chance import Chance
from analysis.stats.intervals import BOOTSTRAP_SEEDS, MIN_SEEDS, Interval, mean_interval, wilson
from analysis.stats.multiple_comparisons import Effect
from analysis.text.levels import is_missing, none_if_nan

BASELINE_METRIC = "test/acc"  # that of the baselines `random` and `majority`


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration, or one baseline if it has a `name`."""

    levels: tuple[Any, ...]  # parallel to Table.settings; None or NaN: has no effect there
    scores: tuple[float, ...]  # the reported metric of the trained seeds; of all where none trained
    n_total: int  # seeds asked for
    mean: float | None
    sd: float | None = None
    interval: Interval | None = None  # over seeds, or Wilson's for a single accuracy
    selected_by: float | None = None  # mean of the selection metric over the search runs
    purpose: str = ""  # of the runs reported here
    config_id: str = ""
    name: str = ""
    is_best: bool = False  # selected by the selection metric
    is_tied: bool = False  # not distinguished from the best; a row is never both
    is_equivalent: bool = False  # to the best, within the margin of the table
    seeds: tuple[int, ...] = ()  # parallel to `scores`
    n_failed: int = 0  # seeds that diverged, crashed or ended at chance
    has_survivors: bool = True  # at least one seed trained
    # over all seeds, diverged ones at chance level; None where no seed failed
    plain_mean: float | None = None
    # mean of the reported metric over the search runs of a confirmed configuration
    optimistic: float | None = None
    p: float | None = None  # of "the best is better", adjusted for the family
    effect: Effect | None = None  # of the best over this one
    group: Any = None  # level of the setting that `--by` separates
    seconds: float | None = None  # of all reported runs together
    seconds_of_runs: tuple[float, ...] = ()  # of those that say it
    updates: int | None = None  # per epoch

    @property
    def n(self) -> int:
        """Count the seeds behind the score."""
        return len(self.scores)

    @property
    def n_trained(self) -> int:
        """Count the seeds that trained."""
        return self.n if self.has_survivors else 0

    @property
    def is_complete(self) -> bool:
        """Return whether no seed is missing or has failed."""
        return self.n == self.n_total and not self.n_failed

    @property
    def trained_share(self) -> Interval | None:
        """Return Wilson's interval of the share of seeds that train; None for baselines."""
        if not self.n_total:
            return None
        return wilson(min(self.n_trained, self.n_total), self.n_total)


@dataclass(frozen=True, slots=True)
class _Seeds:
    """The runs that a row reports, by what became of them."""

    runs: Sequence[Run]
    scored: Sequence[Run]  # finished with a score
    survivors: Sequence[Run]  # those of `scored` that are above chance level
    n_lost: int  # diverged or crashed

    @property
    def shown(self) -> Sequence[Run]:
        """Return the runs behind the score: those that trained, or all where none did."""
        return self.survivors or self.scored

    @property
    def n_failed(self) -> int:
        """Count the runs that diverged, crashed or ended at chance level."""
        return self.n_lost + len(self.scored) - len(self.survivors)


def make_row(configuration: Configuration, settings: Sequence[str], plan: Plan) -> Row:
    """Make the row of a configuration.

    Args:
        configuration: with all its runs.
        settings: the columns.
        plan: of the table.
    """
    seeds = _seeds(configuration.reported_runs(plan.report), plan.report)
    scores = tuple(float(run[plan.report]) for run in seeds.shown)
    first, purpose = configuration.runs[0], seeds.runs[0]["purpose"]
    is_confirmed, has_failures = purpose == "confirm", seeds.n_failed > 0
    measured = _seconds(seeds.runs)
    return Row(
        levels=tuple(first[name] for name in settings),
        scores=scores,
        n_total=len(seeds.runs),
        mean=_mean(scores),
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        interval=_interval(scores, seeds.shown, plan),
        selected_by=none_if_nan(configuration.selected_by),
        purpose=purpose,
        config_id=configuration.config_id,
        seeds=tuple(int(run["seed"]) for run in seeds.shown),
        n_failed=seeds.n_failed,
        has_survivors=bool(seeds.survivors) or not seeds.scored,
        plain_mean=_plain_mean(seeds, plan.report) if has_failures else None,
        optimistic=_search_mean(configuration, plan.report) if is_confirmed else None,
        group=first[plan.by] if plan.by is not None else None,
        seconds=sum(measured) if measured else None,
        seconds_of_runs=measured,
        updates=_updates(seeds.runs),
    )


def _seeds(runs: Sequence[Run], report: str) -> _Seeds:
    scored = [run for run in runs if has_score(run, report)]
    survivors = [run for run in scored if has_trained(run, report)]
    lost = [run for run in runs if run["outcome"] in ("diverged", "failed")]
    return _Seeds(runs, scored, survivors, len(lost))


def has_trained(run: Run, metric: str) -> bool:
    """Return whether an accuracy is above what chance reaches in one of 1,000 runs.

    True for other metrics, and where chance is unknown.
    """
    chance = chance_of(run, metric)
    return chance is None or float(run[metric]) > chance.bound(1)


def chance_of(run: Run, metric: str) -> Chance | None:
    """Return the chance of an accuracy of a run; None for other metrics and unknown sizes."""
    if not metric.endswith("/acc"):
        return None
    level = run_chance_level(run, metric)
    samples: Any = run.get(f"{SIZE}{metric.partition('/')[0]}")
    if level is None or is_missing(samples):
        return None
    return Chance(level, int(samples), math.nan)


def _interval(scores: Sequence[float], runs: Sequence[Run], plan: Plan) -> Interval | None:
    if len(scores) >= MIN_SEEDS:
        is_few = plan.method == "bootstrap-t" and len(scores) < BOOTSTRAP_SEEDS
        return mean_interval(scores, plan.level, "t" if is_few else plan.method)
    if len(scores) != 1 or not 0 <= scores[0] <= 1:
        return None
    chance = chance_of(runs[0], plan.report)
    if chance is None:
        return None
    return wilson(round(scores[0] * chance.samples), chance.samples, plan.level)


def _plain_mean(seeds: _Seeds, report: str) -> float | None:
    """Average every known seed: diverged ones are at chance level, crashed ones are unknown.

    In other metrics than the one of the baselines, diverged seeds are left out.
    """
    scores = [float(run[report]) for run in seeds.scored]
    for run in seeds.runs:
        if run["outcome"] == "diverged" and report == BASELINE_METRIC:
            level = run_chance_level(run, report)
            scores += [] if level is None else [level]
    return _mean(scores)


def _search_mean(configuration: Configuration, report: str) -> float | None:
    searched = [run for run in configuration.runs if run["purpose"] != "confirm"]
    return _mean([float(run[report]) for run in searched if has_score(run, report)])


def _mean(scores: Sequence[float]) -> float | None:
    return statistics.fmean(scores) if scores else None


def _updates(runs: Sequence[Run]) -> int | None:
    """Count the updates of an epoch, its last and smaller batch included.

    None for methods that are not trained in batches.
    """
    counts = []
    samples: Any
    batch_size: Any
    for run in runs:
        samples, batch_size = run.get(f"{SIZE}train"), run.get("batch_size")
        if not is_missing(samples) and not is_missing(batch_size):
            counts.append(math.ceil(samples / batch_size))
    return max(counts, default=None)


def _seconds(runs: Sequence[Run]) -> tuple[float, ...]:
    return tuple(float(run["seconds"]) for run in runs if not is_missing(run.get("seconds")))
