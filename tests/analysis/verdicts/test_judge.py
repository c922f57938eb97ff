from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.data.frames import history_frame
from analysis.data.load import from_disk
from analysis.reporting.verdicts import failure_sentence
from analysis.verdicts.breakdown import build_breakdown
from analysis.verdicts.judge import CONVERGENT, Judged, judge_runs
from analysis.verdicts.pairs import failing_pairs
from analysis.verdicts.render import render_text
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.curves import learned
from tests.support.run_folders import Grid


def judged(grid: Grid, **options: Any) -> Judged:
    records = from_disk(grid.path)
    return judge_runs(grid.frame(), history_frame(records), **options)


def verdicts(found: Judged) -> Mapping[int, str]:
    return dict(zip(found.runs["seed"], found.runs["verdict"], strict=True))


def test_every_run_gets_its_verdict(grid: Grid) -> None:
    grid.add(0.9, seed=0, history=learned(0.9))
    grid.add(0.1, seed=1, history=learned(0.1))
    grid.add(seed=2, outcome=Outcome.DIVERGED, history=learned(0.5, 4))
    grid.add(seed=3, outcome=Outcome.FAILED, history=learned(0.5, 4))
    grid.add(seed=4, outcome=None)
    grid.add(seed=5, outcome=None, history=learned(0.9, 4))
    grid.add(0.9, seed=6)

    found = judged(grid)

    labels = ["converged", "stuck", "diverged", "crashed", "missing", "too short", "missing"]
    assert verdicts(found) == dict(enumerate(labels))
    assert found.runs.set_index("seed")["onset"].to_dict()[2] == 4
    assert set(found.curves) == set(found.runs["run_id"][found.runs["seed"].isin([0, 1, 2, 3, 5])])
    assert len(found.of(CONVERGENT)) == 1


def test_a_live_run_takes_chance_from_its_finished_siblings(grid: Grid) -> None:
    grid.add(0.9, seed=0, history=learned(0.9))
    grid.add(seed=1, outcome=None, history=learned(0.9))

    assert verdicts(judged(grid)) == {0: "converged", 1: "converged"}


def test_without_chance_what_needs_none_is_judged_and_the_rest_is_said(grid: Grid) -> None:
    flat, rising = learned(0.1), learned(0.9)
    falling = [{**line, "val/loss": 1 + e / 10} for e, line in enumerate(learned(0.9))]
    broken = learned(0.9)
    for line in broken[6:]:
        line["train/loss"] = math.nan
    still = [{**line, "val/acc": 0.1 + 0.05 * e} for e, line in enumerate(learned(0.9))]
    for seed, lines in enumerate((rising, flat, falling, broken, still)):
        grid.add(seed=seed, outcome=None, history=lines)

    found = judged(grid)

    labels = ["converged", "converged", "overfit", "diverged", "improving"]
    assert verdicts(found) == dict(enumerate(labels))
    assert found.runs.set_index("seed")["cause"].to_dict()[1] == "flat"
    evidence = found.runs.set_index("seed")["evidence"]
    assert "at chance or good from the start" in evidence[1]
    assert found.without_chance == 5
    assert "5 runs say neither chance level nor size" in render_text(build_breakdown(found))


def test_with_chance_given_everything_is_judged(grid: Grid) -> None:
    grid.add(outcome=None, history=learned(0.9))

    found = judged(grid, level=0.1, samples=500)

    assert (verdicts(found), found.without_chance) == ({0: "converged"}, 0)
    assert "neither chance level" not in render_text(build_breakdown(found))


def test_the_direction_of_a_wrong_rate_comes_from_neighbours_that_learn(grid: Grid) -> None:
    for lr, top in ((1e-4, 0.1), (1e-2, 0.9), (1.0, 0.1)):
        grid.add(top, lr=lr, optimizer="sgd", history=learned(top))
        grid.add(0.1, lr=lr, optimizer="adam", history=learned(0.1))

    said = judged(grid).runs.set_index(["optimizer", "lr"])["evidence"]

    assert said["sgd", 1.0].endswith("; learning rate too large: 0.01 learns")
    assert said["sgd", 1e-4].endswith("; learning rate too small: 0.01 learns")
    assert not said["adam"].str.contains("learning rate").any()


def test_one_answer_to_everything_needs_its_logged_entropy(grid: Grid) -> None:
    for seed, entropy in enumerate((0.0, 2.1)):
        lines = [{**line, "val/prediction_entropy": entropy} for line in learned(0.1)]
        grid.add(0.1, seed=seed, history=lines)
    grid.add(0.1, seed=2, history=learned(0.1))

    causes = judged(grid).runs.set_index("seed")["cause"].to_dict()

    assert causes[0] == "constant"
    assert "constant" not in (causes[1], causes[2])


@pytest.mark.parametrize(
    ("metric", "level", "score", "verdict"),
    [
        ("val/f1", 0.9, 0.5, "converged"),
        ("val/f1", 0.9, 0.17, "stuck"),
        ("val/macro_f1", 0.9, 0.45, "stuck"),
        ("val/balanced_accuracy", 0.9, 0.5, "stuck"),
        ("val/balanced_accuracy", 0.9, 0.75, "converged"),
        ("val/auroc", 0.9, 0.5, "stuck"),
        ("val/auroc", 0.9, 0.8, "converged"),
        ("val/acc", 0.9, 0.9, "stuck"),
    ],
)
def test_every_score_has_its_own_chance_level(
    metric: str, level: float, score: float, verdict: str
) -> None:
    runs, lines = regression("val/spearman")
    rise = lines["val/spearman"] / lines["val/spearman"].max()
    lines = lines.assign(**{metric: score * rise, "train/loss": 0.69, "val/loss": 0.69})

    found = judge_runs(runs, lines, metric, level=level, samples=2000)

    assert verdicts(found) == {0: verdict}


def test_weak_plateaus_are_measured_against_the_best_run(grid: Grid) -> None:
    grid.add(0.9, seed=0, history=learned(0.9))
    grid.add(0.3, seed=1, history=learned(0.3))

    assert judged(grid).runs.set_index("seed")["cause"].to_dict() == {0: "settled", 1: "weak"}


def test_an_epoch_logged_twice_counts_once(grid: Grid) -> None:
    lines = learned(0.9)
    grid.add(0.9, history=[*lines[:6], {**lines[5], "val/acc": 0.7}, *lines[6:]])

    (curve,) = judged(grid).curves.values()

    assert curve.epochs.tolist() == list(range(13))
    assert curve.score[5] == 0.7


def test_regression_is_judged_by_r2_where_no_accuracy_was_logged() -> None:
    lines = [
        {**line, "val/r2": line["val/acc"] - 0.1, "val/loss": 1.1 - line["val/acc"]}
        for line in learned(0.9)
    ]
    runs = pd.DataFrame(
        {
            "run_id": ["a"],
            "config_id": ["c"],
            "task": ["odd"],
            "seed": [0],
            "outcome": ["ok"],
            "size/val": [500],
        }
    )
    table = pd.DataFrame(lines).drop(columns="val/acc").assign(run_id="a")

    found = judge_runs(runs, table)

    assert (found.metric, verdicts(found)) == ("val/r2", {0: "converged"})


def regression(metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One run that learns, as the task of emotions logs it: no accuracy and no R²."""
    lines = [
        {**line, metric: line["val/acc"] - 0.1, "val/loss": 1.1 - line["val/acc"]}
        for line in learned(0.9)
    ]
    runs = pd.DataFrame(
        {
            "run_id": ["a"],
            "config_id": ["c"],
            "task": ["odd"],
            "seed": [0],
            "outcome": ["ok"],
            "size/val": [500],
        }
    )
    return runs, pd.DataFrame(lines).drop(columns="val/acc").assign(run_id="a")


def test_regression_is_judged_by_its_rank_correlation_where_nothing_else_was_logged() -> None:
    found = judge_runs(*regression("val/spearman"))

    assert (found.metric, verdicts(found)) == ("val/spearman", {0: "converged"})


@pytest.mark.parametrize("metric", ["val/loss", "val/mae", "lr"])
def test_there_is_no_verdict_by_what_has_no_chance(metric: str) -> None:
    with pytest.raises(UserError, match=f"no verdict by '{metric}': expected an accuracy"):
        judge_runs(*regression("val/spearman"), metric)


def study(grid: Grid, failing: Sequence[float], seeds: int = 3) -> Judged:
    """Two optimizers and five learning rates, of which adam fails at some."""
    for optimizer in ("sgd", "adam"):
        for lr in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            for units in (16, 32, 64):
                for seed in range(seeds):
                    top = 0.1 if lr in failing else 0.9
                    lines = learned(top)
                    grid.add(
                        top,
                        seed=seed,
                        history=lines,
                        optimizer=optimizer,
                        lr=lr,
                        units=units,
                        model="cnn",
                    )
    return judged(grid)


@pytest.mark.slow
def test_the_setting_that_explains_failure_is_found(grid: Grid) -> None:
    found = build_breakdown(study(grid, (1e-1, 1.0)), "study")

    (one,) = found.explanations
    assert one.condition == "lr >= 0.1"
    assert (one.failed_with, one.n_with, one.failed_without, one.n_without) == (12, 12, 0, 18)
    assert one.odds.low > 1


def paired_failures(grid: Grid, seeds: int, units: Sequence[int]) -> Judged:
    """sgd fails at 0.001 and learns elsewhere; adam learns at 0.001."""
    for optimizer in ("sgd", "adam"):
        for lr in (1e-3, 1e-2, 1e-1):
            for hidden in units:
                for seed in range(seeds):
                    top = 0.1 if (optimizer, lr) == ("sgd", 1e-3) else 0.9
                    settings = {"optimizer": optimizer, "lr": lr, "hidden": hidden}
                    grid.add(top, seed=seed, history=learned(top), **settings)  # type: ignore[arg-type] # settings of any type
    return judged(grid)


def test_a_pair_of_settings_that_always_fails_is_found_by_its_seeds(grid: Grid) -> None:
    found = build_breakdown(paired_failures(grid, 10, (64,)))

    (one,) = found.explanations
    assert one.condition == "lr = 0.001 and optimizer = sgd"
    assert (one.failed_with, one.n_with, one.failed_without, one.n_without) == (10, 10, 0, 50)
    assert (one.unit, one.odds.low > 1) == ("runs", True)
    assert failure_sentence(one).startswith(
        "Runs with lr = 0.001 and optimizer = sgd fail more often: 10 of 10, else 0 of 50"
    )


def test_a_pair_is_counted_by_configurations_where_more_settings_vary(grid: Grid) -> None:
    found = build_breakdown(paired_failures(grid, 1, tuple(range(16, 96, 8))))

    (one,) = found.explanations
    assert one.condition == "lr = 0.001 and optimizer = sgd"
    assert (one.failed_with, one.n_with, one.unit) == (10, 10, "configurations")


def test_pairs_of_failures_by_chance_are_not_told() -> None:
    """Of 100 searches with failures anywhere, at most 5 % and some luck tell a pair."""
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(100):
        levels = {name: rng.integers(0, 4, 80) for name in ("lr", "width", "depth")}
        failed = rng.random(80) < 0.2
        told += bool(failing_pairs(pd.DataFrame(levels), failed, list(levels), 0.025, 12))

    assert told <= 6


@pytest.mark.slow
def test_nothing_explains_what_did_not_happen(grid: Grid) -> None:
    assert not build_breakdown(study(grid, (), 1)).explanations


def test_shares_count_runs_by_level(grid: Grid) -> None:
    shares = {(s.setting, s.level): s for s in build_breakdown(study(grid, (1.0,), 1)).shares}

    assert shares["lr", "1"].counts == {"converged": 0, "stuck": 6}
    assert shares["optimizer", "sgd"].counts == {"converged": 12, "stuck": 3}
    assert shares["lr", "0.1"].n == 6
    assert [level for setting, level in shares if setting == "lr"] == [
        "0.0001",
        "0.001",
        "0.01",
        "0.1",
        "1",
    ]


@pytest.mark.slow
def test_the_edge_of_stability_is_the_largest_rate_that_trains(grid: Grid) -> None:
    edges = {edge.by: edge for edge in build_breakdown(study(grid, (1e-1, 1.0), 1)).edges}

    assert edges["optimizer=adam"].value == 0.01
    assert not edges["optimizer=adam"].is_largest


def test_random_designs_are_shown_by_quarters() -> None:
    n = 40
    rates = np.geomspace(1e-5, 1, n)
    runs = pd.DataFrame(
        {
            **{name: [f"{name}{i}" for i in range(n)] for name in ("run_id", "config_id")},
            "task": "odd",
            "seed": 0,
            "outcome": "ok",
            "lr": rates,
            "baseline/random": 0.1,
            "size/val": 500,
        }
    )
    lines = [
        {**line, "run_id": f"run_id{i}"}
        for i, rate in enumerate(rates)
        for line in learned(0.9 if 1e-4 < rate < 0.1 else 0.1)
    ]

    found = build_breakdown(judge_runs(runs, pd.DataFrame(lines)))

    assert [share.n for share in found.shares] == [10, 10, 10, 10]
    assert found.explanations[0].condition.startswith("lr ")


def test_one_run_and_no_setting_break_down_to_nothing(grid: Grid) -> None:
    grid.add(0.9, history=learned(0.9))

    found = build_breakdown(judged(grid))

    assert (found.settings, found.shares, found.explanations) == ((), (), ())
    assert [edge.value for edge in found.edges] == [0.001]


def test_a_missing_onset_is_nan(grid: Grid) -> None:
    grid.add(outcome=None)

    assert math.isnan(judged(grid).runs["onset"].iloc[0])
