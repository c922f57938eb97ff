from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from analysis.data.baselines import chance_level, chance_levels, fill_baselines, run_chance_level
from analysis.data.frames import history_frame
from analysis.data.load import from_disk
from analysis.effects.design import build_design
from analysis.plots.box import box_info
from analysis.results.plan import Plan
from analysis.results.table import build_table
from analysis.stats.chance import Chance
from analysis.verdicts.facts import Label
from analysis.verdicts.judge import judge_runs
from anlp.records.results import Outcome
from tests.support.curves import learned
from tests.support.run_folders import Grid

MAJORITY, RANDOM = 0.1135, 0.1  # of `run_folders`
LEVELS: Mapping[str, float | None] = {
    "test/acc": MAJORITY,
    "val/acc": MAJORITY,
    "test/r2": 0.0,
    "val/spearman": 0.0,
    "val/loss": -math.log(RANDOM),
    "test/mae": None,
    "val/f1": None,
}


@pytest.mark.parametrize(("metric", "level"), LEVELS.items())
def test_the_kind_of_score_decides_the_chance_level(
    grid: Grid, metric: str, level: float | None
) -> None:
    grid.add(0.9)

    assert chance_level(grid.frame(), metric) == level


def test_without_baselines_only_r2_and_correlations_have_a_chance_level() -> None:
    runs = pd.DataFrame({"task": ["mnist"], "test/acc": [0.9]})

    assert [chance_level(runs, metric) for metric in ("test/acc", "val/loss")] == [None, None]
    assert chance_level(runs, "test/r2") == 0.0


def test_runs_on_different_data_have_their_own_chance_level() -> None:
    runs = pd.DataFrame(
        {
            "task": "images",
            "data": ["easy", "easy", "hard", "unknown"],
            "baseline/random": [0.5, math.nan, 0.1, math.nan],
            "baseline/majority": [0.6, math.nan, 0.2, math.nan],
        }
    )

    assert chance_levels(runs, "test/acc").tolist()[:3] == [0.6, 0.6, 0.2]
    assert chance_levels(runs, "test/acc").isna().tolist() == [False, False, False, True]
    assert chance_level(runs, "test/acc") == 0.6
    assert chance_level(runs, "test/loss") == pytest.approx(math.log(2))


def study(grid: Grid) -> pd.DataFrame:
    """Two learning rates, each with a seed that diverged, and a live run."""
    for lr in (0.01, 0.1):
        for seed in range(3):
            scores = {"test/loss": 0.5, "val/loss": 0.5}
            grid.add(0.9 - lr, seed=seed, lr=lr, metrics=scores, history=learned(0.9))
        grid.add(seed=3, outcome=Outcome.DIVERGED, lr=lr)
    grid.add(seed=4, outcome=None, lr=0.1, history=learned(0.9))
    return grid.frame()


def test_table_chart_importance_and_verdicts_agree(grid: Grid) -> None:
    runs = study(grid)
    table = build_table(runs, Plan())
    row = table.rows[0]
    chart = box_info(runs, "test/acc", "lr")
    design = build_design(runs, "test/acc")
    grid.add(0.1, seed=5, lr=0.1, history=learned(0.1))
    judged = judge_runs(grid.frame(), history_frame(from_disk(grid.path)))

    assert row.plain_mean == pytest.approx((3 * row.scores[0] + MAJORITY) / 4)
    assert max(other.mean or 0 for other in table.rows if other.name) == MAJORITY
    assert chart.chance == 100 * MAJORITY
    assert any(f"taken as {100 * MAJORITY:.3f} %" in note for note in design.notes)
    bounds = [v.numbers["bound"] for v in judged.verdicts.values() if v.label is Label.STUCK]
    assert bounds == [Chance(MAJORITY, 6_000, math.nan).bound(13)]


def test_a_diverged_seed_is_at_chance_level_in_table_and_importance(grid: Grid) -> None:
    runs = study(grid)

    table = build_table(runs, Plan())
    design = build_design(runs, "test/acc")

    shown = [row.plain_mean or 0.0 for row in table.rows if not row.name]
    assert sorted(map(float, design.means)) == pytest.approx(sorted(shown))
    assert shown[0] == pytest.approx((3 * table.rows[0].scores[0] + MAJORITY) / 4)


def test_importance_clips_each_run_at_the_level_of_its_own_data() -> None:
    rows: list[dict[str, Any]] = [
        {"data": data, "lr": lr, "config_id": f"{data}{lr}", "test/acc": score}
        | {"baseline/random": level, "baseline/majority": level}
        for data, level, scores in (("two", 0.5, (0.4, 0.9)), ("ten", 0.1, (0.3, 0.9)))
        for lr, score in zip((0.1, 0.01), scores, strict=True)
    ]
    runs = pd.DataFrame(rows).assign(task="images", outcome="ok", purpose="search", seed=0)

    design = build_design(runs, "test/acc")

    assert sorted(design.means.tolist()) == [0.3, 0.5, 0.9, 0.9]
    assert "1 run below the baseline, taken as the baseline: 50.000 %" in design.notes


def test_filling_changes_no_baseline_that_is_known(grid: Grid) -> None:
    grid.add(0.9)
    grid.add(outcome=None, seed=1)
    runs = grid.frame()

    filled = fill_baselines(runs, "size/val")

    assert filled["baseline/random"].tolist() == [RANDOM, RANDOM]
    assert filled["size/val"].tolist() == [6_000, 6_000]
    assert fill_baselines(runs)["size/val"].isna().sum() == 1
    assert run_chance_level(runs.iloc[1].to_dict(), "test/acc") in (None, MAJORITY)
