"""One row of a results table: a configuration over its seeds, those that failed apart from those that trained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.data.frames import BASELINE, SIZE
from analysis.results.configurations import Configuration, Run, has_score
from analysis.stats.chance import Chance
from analysis.stats.intervals import BOOTSTRAP_SEEDS, Interval, Method, mean_interval, wilson
from analysis.stats.multiple_comparisons import Effect

MIN_SEEDS = 3  # with two seeds the values themselves say more than an interval six times as wide
BASELINE_METRIC = "test/acc"  # the metric that the baselines of a result are in


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration, or one baseline if it has a `name`."""

    levels: tuple[Any, ...]  # parallel to Table.settings; None or NaN: has no effect there
    scores: tuple[
        float, ...
    ]  # the reported metric of the seeds that trained; of all where none did
    n_total: int  # seeds asked for
    mean: float | None
    sd: float | None = None
    interval: Interval | None = None  # over seeds, or Wilson's for a single accuracy
    selected_by: float | None = None  # mean of the selection metric over the search runs
    purpose: str = ""  # of the runs reported here
    config_id: str = ""
    name: str = ""
    is_best: bool = False
    is_tied: bool = False  # with the best; a row is never both
    seeds: tuple[int, ...] = ()  # parallel to `scores`
    n_failed: int = 0  # seeds that diverged, crashed or ended at chance
    has_survivors: bool = True  # at least one seed trained
    plain_mean: float | None = (
        None  # over all seeds, diverged ones at the baseline; None where none failed
    )
    optimistic: float | None = (
        None  # mean of the reported metric over the search runs of a confirmed configuration
    )
    p: float | None = None  # of "the best is better", adjusted for the family
    effect: Effect | None = None  # of the best over this one
    group: Any = None  # level of the setting that `--by` separates
    seconds: float | None = None  # of all reported runs together
    updates: int | None = None  # per epoch

    @property
    def n(self) -> int:
        """Seeds behind the score."""
        return len(self.scores)

    @property
    def n_trained(self) -> int:
        """Seeds that trained."""
        return self.n if self.has_survivors else 0

    @property
    def is_complete(self) -> bool:
        """Whether no seed is missing or has failed."""
        return self.n == self.n_total and not self.n_failed

    @property
    def trained_share(self) -> Interval | None:
        """Wilson's interval of the share of seeds that train; None for baselines."""
        return wilson(min(self.n_trained, self.n_total), self.n_total) if self.n_total else None


def make_row(
    configuration: Configuration,
    settings: Sequence[str],
    report: str,
    method: Method,
    level: float,
    by: str | None,
) -> Row:
    """The row of a configuration.

    Args:
        configuration: with all its runs.
        settings: the columns.
        report: the metric that the row shows.
        method: of its interval.
        level: nominal coverage.
        by: the setting that separates groups of rows.
    """
    runs = configuration.reported_runs(report)
    scored = [run for run in runs if has_score(run, report)]
    survivors = [run for run in scored if has_trained(run, report)]
    trained = survivors or scored
    scores = tuple(float(run[report]) for run in trained)
    lost = [run for run in runs if run["outcome"] in ("diverged", "failed")]
    at_chance = [run for run in scored if not has_trained(run, report)]
    first = configuration.runs[0]
    return Row(
        levels=tuple(first[name] for name in settings),
        scores=scores,
        n_total=len(runs),
        mean=statistics.fmean(scores) if scores else None,
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        interval=_interval(scores, trained, report, method, level),
        selected_by=None
        if configuration.selected_by != configuration.selected_by
        else configuration.selected_by,
        purpose=runs[0]["purpose"],
        config_id=configuration.config_id,
        seeds=tuple(int(run["seed"]) for run in trained),
        n_failed=len(lost) + len(at_chance),
        has_survivors=bool(survivors) or not at_chance,
        plain_mean=_plain_mean(runs, report) if lost or at_chance else None,
        optimistic=_search_mean(configuration, report) if runs[0]["purpose"] == "confirm" else None,
        group=None if by is None else first[by],
        seconds=_seconds(runs),
        updates=_updates(runs),
    )


def has_trained(run: Run, metric: str) -> bool:
    """Whether an accuracy is above what knowing nothing reaches in one of 1,000 runs; True where that is unknown."""
    chance = chance_of(run, metric)
    return chance is None or float(run[metric]) > chance.bound(1)


def chance_of(run: Run, metric: str) -> Chance | None:
    """What knowing nothing reaches in an accuracy of a run, None for other metrics and unknown sizes."""
    level, samples = _best_baseline(run), run.get(f"{SIZE}{metric.partition('/')[0]}")
    if not metric.endswith("/acc") or level is None or samples is None or samples != samples:
        return None
    return Chance(level, int(samples), math.nan)


def _best_baseline(run: Run) -> float | None:
    values = [run.get(f"{BASELINE}{name}") for name in ("random", "majority")]
    return max(
        (float(value) for value in values if value is not None and value == value), default=None
    )


def _interval(
    scores: Sequence[float], runs: Sequence[Run], report: str, method: Method, level: float
) -> Interval | None:
    if len(scores) >= MIN_SEEDS:
        is_few = method == "bootstrap-t" and len(scores) < BOOTSTRAP_SEEDS
        return mean_interval(scores, level, "t" if is_few else method)
    chance = chance_of(runs[0], report) if len(scores) == 1 and 0 <= scores[0] <= 1 else None
    return wilson(round(scores[0] * chance.samples), chance.samples, level) if chance else None


def _plain_mean(runs: Sequence[Run], report: str) -> float | None:
    """Over every seed that says something: a diverged one knows nothing, a crashed one is not known."""
    scores = [float(run[report]) for run in runs if has_score(run, report)]
    if report == BASELINE_METRIC:
        known = next((level for run in runs if (level := _best_baseline(run)) is not None), None)
        diverged = sum(run["outcome"] == "diverged" for run in runs)
        scores += [] if known is None else [known] * diverged
    return statistics.fmean(scores) if scores else None


def _search_mean(configuration: Configuration, report: str) -> float | None:
    scores = [
        float(run[report])
        for run in configuration.runs
        if run["purpose"] != "confirm" and has_score(run, report)
    ]
    return statistics.fmean(scores) if scores else None


def _updates(runs: Sequence[Run]) -> int | None:
    """Of an epoch, the last and smaller batch included; None for what is not trained in batches."""
    known = [
        math.ceil(run[f"{SIZE}train"] / run["batch_size"])
        for run in runs
        if all(
            value is not None and value == value
            for value in (run.get(f"{SIZE}train"), run.get("batch_size"))
        )
    ]
    return max(known, default=None)


def _seconds(runs: Sequence[Mapping[str, Any]]) -> float | None:
    known = [
        float(run["seconds"])
        for run in runs
        if run.get("seconds") is not None and run["seconds"] == run["seconds"]
    ]
    return sum(known) if known else None
