"""Selection is by validation: in 500 made grids no place that names a best favours test luck."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.data.load import Runs
from analysis.data.selection import selected_configuration
from analysis.effects.design import build_design
from analysis.plots.evp import evp_info
from analysis.plots.gradient_norms import best_runs
from analysis.plots.heatmap import heatmap_info
from analysis.plots.seed_variance import luck_info
from analysis.plots.sweep import sweep_info
from analysis.reporting.discussion import best_lines, row_name, time_lines
from analysis.reporting.next_runs import _best
from analysis.results.configurations import configurations
from analysis.results.plan import Plan
from analysis.results.table import build_table

GRIDS = 500
LEVELS = tuple(10.0**-k for k in range(10))
SEEDS = 3
SD = 0.01  # of one seed
TRUTH = 0.5  # of every configuration: what exceeds it is luck


def made_grid(rng: np.random.Generator, shared: float = 0.0) -> pd.DataFrame:
    """Ten equal configurations; validation and test luck are independent unless `shared`."""
    n = len(LEVELS) * SEEDS
    val = rng.normal(size=n)
    test = shared * val + math.sqrt(1 - shared**2) * rng.normal(size=n)
    rates = np.repeat(LEVELS, SEEDS)
    return pd.DataFrame(
        {
            "run_id": [f"{k:012d}" for k in range(n)],
            "config_id": [f"c{rate:g}" for rate in rates],
            "task": "mnist",
            "purpose": "search",
            "seed": np.tile(np.arange(SEEDS), len(LEVELS)),
            "outcome": "ok",
            "seconds": 1.0,
            "lr": rates,
            "optimizer": "sgd",
            "val/acc": TRUTH + SD * val,
            "test/acc": TRUTH + SD * test,
        }
    )


def findings_of(runs: pd.DataFrame) -> Any:
    return SimpleNamespace(
        best=build_table(runs, Plan()),
        report="test/acc",
        select="val/acc",
        runs=runs,
        ranked=tuple(configurations(runs, "val/acc")),
    )


def named_bests(runs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield each place that names a best, with the test score of what it names."""
    score = runs.groupby("config_id")["test/acc"].mean()
    findings = findings_of(runs)
    table = findings.best
    (marked,) = [row for row in table.rows if row.is_best]
    yield "marked row", float(marked.mean or 0)
    yield "first row", float(table.rows[0].mean or 0)
    yield "first of a short table", float(build_table(runs, Plan(top=3)).rows[0].mean or 0)
    (headline, *_) = best_lines(findings)
    named = [row for row in table.rows if f" {row_name(row, table)}:" in headline]
    yield "headline of the report", float(named[0].mean or 0)
    yield "next runs", float(score[_best(findings, findings.ranked).config_id])
    yield "luck chart", luck_info(runs, "test/acc").rows[0].mean / 100
    line = sweep_info(runs, "optimizer_code", "test/acc").lines[0]
    yield "sweep", float(line.centre[0]) / 100
    loaded = Runs(Path(), runs, pd.DataFrame({"run_id": [], "epoch": []}), ())
    cells = heatmap_info(loaded, "optimizer", "optimizer", "test/acc", judged=None)
    yield "heatmap", float(cells.values[0, 0]) / 100
    yield "end of the search curve", float(evp_info(runs, "test/acc").groups[0].y[-1]) / 100
    yield "charts of mistakes", float(best_runs(runs, "test/acc")[0]["test/acc"].mean())


@pytest.mark.slow
def test_no_place_that_names_a_best_favours_luck_on_the_test_set() -> None:
    rng = np.random.default_rng(0)
    errors = defaultdict(list)
    for _ in range(GRIDS):
        runs = made_grid(rng)
        runs["optimizer_code"] = 1.0
        for place, score in named_bests(runs):
            errors[place].append((score - TRUTH) / SD)

    bias = {place: float(np.mean(found)) for place, found in errors.items()}
    noise = 1 / math.sqrt(SEEDS * GRIDS)
    assert len(bias) == 10
    assert {place: value for place, value in bias.items() if abs(value) > 4 * noise} == {}


def test_all_places_name_the_same_configuration() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        runs = made_grid(rng)
        runs["optimizer_code"] = 1.0
        chosen = selected_configuration(runs, "val/acc")
        score = float(runs[runs["config_id"] == chosen]["test/acc"].mean())
        assert {
            place: round(found - score, 12) for place, found in named_bests(runs)
        } == dict.fromkeys(dict(named_bests(runs)), 0)


def test_the_edge_that_importance_warns_of_is_that_of_the_selected_configuration() -> None:
    runs = made_grid(np.random.default_rng(2))
    runs.loc[runs["lr"] == max(LEVELS), "val/acc"] = 0.6
    runs.loc[runs["lr"] == LEVELS[4], "test/acc"] = 0.7

    (edge,) = build_design(runs, "test/acc").best_at_edge

    assert edge == "lr: the best configuration has the largest value tried, 1; try larger ones"


@pytest.mark.slow
def test_the_printed_optimism_is_the_true_one_where_validation_shares_half_of_its_luck() -> None:
    rng = np.random.default_rng(4)
    true, printed = [], []
    for _ in range(200):
        table = build_table(made_grid(rng, shared=0.5), Plan())
        true.append((float(table.rows[0].mean or 0) - TRUTH) / SD)
        assert table.optimism is not None
        printed.append(float(table.optimism.expected or 0) / SD)

    expected = 0.5 * 1.5388 / math.sqrt(SEEDS)  # E[max of 10]
    assert np.mean(true) == pytest.approx(expected, abs=0.15)
    assert np.mean(printed) == pytest.approx(expected, rel=0.2)


def test_the_report_says_in_words_what_has_the_best_test_score() -> None:
    runs = made_grid(np.random.default_rng(3))
    runs.loc[runs["lr"] == 1.0, "val/acc"] = 0.60
    runs.loc[runs["lr"] == 0.1, "test/acc"] = 0.70

    lines = best_lines(findings_of(runs))

    assert lines[0].startswith("The best configuration is lr=1: test/acc ")
    assert (
        "lr=0.1 has a better test/acc (70.000 %), but val/acc does not select it, and choosing it "
        "by test/acc would favour luck." in lines
    )


def timed(rng: np.random.Generator, difference: float, seconds: float, sd: float) -> Any:
    runs = made_grid(rng)
    runs = runs[runs["lr"] >= 0.1].copy()
    luck = np.tile([-1.0, 0.0, 1.0], 2)
    is_slow = runs["lr"] == 1.0
    runs["val/acc"] = np.where(is_slow, 0.9, 0.89)
    runs["test/acc"] = 0.9 + sd * luck - np.where(is_slow, 0.0, difference)
    runs["seconds"] = np.where(is_slow, 3.0, seconds) + 0.01 * luck
    findings = findings_of(runs)
    findings.best = build_table(runs, Plan(margin=0.01))
    return findings


def test_cheaper_and_as_good_takes_equivalence_and_an_interval_on_the_cost() -> None:
    rng = np.random.default_rng(5)

    (said,) = time_lines(timed(rng, 0.0, 2.0, 0.001))

    assert said.startswith("lr=0.1 is equivalent to the best within 1 points and takes 2 s a run ")
    assert "instead of 3 s: 0.977 to 1.02 s less." in said
    assert time_lines(timed(rng, 0.0, 2.995, 0.001)) == []  # no faster, for all that is known
    assert time_lines(timed(rng, 0.0, 2.0, 0.05)) == []  # not distinguished is not equivalent
    assert time_lines(timed(rng, 0.02, 2.0, 0.001)) == []
