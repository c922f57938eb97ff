from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.effects.design import build_design
from analysis.effects.explain import explain
from anlp.core.errors import UserError

RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def runs_of(settings: list[dict[str, Any]], seeds: int = 2, noise: float = 0.01) -> pd.DataFrame:
    """Runs whose accuracy depends on lr and optimizer together; all other settings do nothing."""
    rng, rows = np.random.default_rng(0), []
    for number, levels in enumerate(settings):
        for seed in range(seeds):
            distance = abs(np.log10(levels["lr"]) + (2 if levels.get("optimizer") == "adam" else 1))
            row: dict[str, Any] = {
                "run_id": f"r{number}-{seed}",
                "config_id": f"c{number}",
                "task": "mnist",
                "purpose": "search",
            }
            row |= {
                "seed": seed,
                "outcome": "ok",
                "baseline/random": 0.1,
                "baseline/majority": 0.11,
                **levels,
            }
            rows.append({**row, "val/acc": max(0.95 - 0.2 * distance + noise * rng.normal(), 0.1)})
    return pd.DataFrame(rows)


def grid(**axes: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(axes, levels, strict=True)) for levels in product(*axes.values())]


FULL = grid(lr=RATES, optimizer=("sgd", "adam"), dropout=(0.0, 0.3, 0.5), units=(32, 64))


def test_a_full_factorial_is_decomposed_exactly() -> None:
    found = explain(build_design(runs_of(FULL), "val/acc"), with_forest=False)

    assert found.method == "exact"
    assert found.decomposition is not None
    names = [factor.name for factor in found.design.factors]
    assert [names[index] for index in found.order][:2] == ["lr", "optimizer"]
    assert found.decomposition.interactions()[0][0] == (names.index("lr"), names.index("optimizer"))
    assert found.notes == ()


@pytest.mark.slow
def test_a_few_missing_cells_make_it_approximate() -> None:
    exact = explain(build_design(runs_of(FULL), "val/acc"), with_forest=False)

    found = explain(build_design(runs_of(FULL[:-2]), "val/acc"), with_forest=False)

    assert found.method == "approximate"
    assert found.decomposition is not None
    assert exact.decomposition is not None
    assert found.decomposition.joint == pytest.approx(exact.decomposition.joint, abs=0.05)
    assert "4.2% of the factorial is missing" in found.notes[0]


@pytest.mark.slow
def test_a_random_design_gets_permutation_importance() -> None:
    rng = np.random.default_rng(0)
    draws = [
        {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "dropout": float(rng.uniform()),
            "units": int(rng.integers(8, 512)),
        }
        for _ in range(150)
    ]

    found = explain(build_design(runs_of(draws), "val/acc"))

    assert found.method == "forest"
    assert found.decomposition is None
    assert found.forest is not None
    assert found.design.factors[found.order[0]].name == "lr"
    assert found.forest.permutation[found.order[1]] < 0.05


@pytest.mark.slow
def test_permutation_importance_of_noise_is_refused() -> None:
    runs = runs_of([{"lr": 10 ** (-4 + i / 10), "dropout": (i * 7 % 31) / 31} for i in range(31)])
    runs["val/acc"] = np.random.default_rng(1).normal(0.5, 0.1, len(runs))

    found = explain(build_design(runs, "val/acc"))

    assert "permutation importance is refused" in found.notes[-1]
    assert "there is no other measure" in found.notes[-1]


def test_settings_that_follow_from_another_are_left_out() -> None:
    settings = [{**levels, "warmup": 10 * levels["lr"]} for levels in FULL]

    design = build_design(runs_of(settings), "val/acc")

    assert "warmup" in " ".join(design.notes) or "lr follows from warmup" in " ".join(design.notes)
    assert len(design.factors) == 4


def test_a_setting_with_effect_in_one_model_only_is_joined_with_what_decides() -> None:
    settings = [
        {**levels, "momentum": momentum}
        for levels in FULL
        for momentum in ((0.0, 0.9) if levels["optimizer"] == "sgd" else (None,))
    ]

    found = explain(build_design(runs_of(settings), "val/acc"), with_forest=False)

    assert found.method == "exact"
    (joint,) = [factor for factor in found.design.factors if "+" in factor.name]
    assert (joint.name, joint.levels) == (
        "optimizer+momentum",
        (("adam", None), ("sgd", 0.0), ("sgd", 0.9)),
    )


def test_failed_runs_count_as_the_baseline_and_crashed_ones_are_left_out() -> None:
    runs = runs_of(FULL)
    runs.loc[0, "outcome"] = "diverged"
    runs.loc[2, "outcome"] = "failed"
    runs.loc[[4, 5], "val/acc"] = 0.02

    design = build_design(runs, "val/acc")

    assert design.notes[:3] == (
        "2 runs below the baseline, taken as the baseline: 11.000 %",
        "1 run diverged, taken as 11.000 %",
        "1 run without val/acc, left out",
    )
    assert design.missing_share == 0
    assert design.means.min() == pytest.approx(0.11)
    assert build_design(runs, "val/acc", clip=False).means.min() < 0.1


def test_a_best_value_at_the_end_of_its_range_is_flagged_unless_nothing_lies_beyond() -> None:
    found = build_design(
        runs_of(grid(lr=RATES, optimizer=("sgd",), dropout=(0.0, 0.5)), noise=0), "val/acc"
    )

    assert found.best_at_edge == (
        "lr: the best configuration has the largest value tried, 0.1; try larger ones",
    )


def test_ranks_are_not_moved_by_how_badly_a_run_failed() -> None:
    runs = runs_of(FULL)
    worse = runs.assign(**{"val/acc": runs["val/acc"].where(runs["val/acc"] > 0.11, 0.0)})

    first, second = (
        build_design(frame, "val/acc", ranks=True, clip=False).means for frame in (runs, worse)
    )

    assert first == pytest.approx(second)


def test_confirm_runs_take_no_part() -> None:
    runs = runs_of(FULL)
    confirm = runs.iloc[:2].assign(purpose="confirm", run_id=["x", "y"])

    design = build_design(pd.concat([runs, confirm], ignore_index=True), "val/acc")

    assert set(design.counts.tolist()) == {2.0}


def test_one_seed_per_configuration_is_said() -> None:
    found = explain(build_design(runs_of(FULL, seeds=1), "val/acc"), with_forest=False)

    assert "one seed per configuration" in found.notes[-1]


def test_equal_scores_have_nothing_to_explain() -> None:
    found = explain(build_design(runs_of(FULL).assign(**{"val/acc": 0.5}), "val/acc"))

    assert found.notes == (
        "val/acc is the same in all configurations: there is nothing to explain",
    )


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(UserError, match="no setting varies over the 2 runs"):
        build_design(runs_of(FULL[:1]), "val/acc")
    with pytest.raises(UserError, match="no finished run has val/acc"):
        build_design(runs_of(FULL[:1]).assign(outcome="failed"), "val/acc")


def test_losses_are_clipped_at_the_loss_of_knowing_nothing() -> None:
    runs = runs_of(FULL).rename(columns={"val/acc": "val/loss"})
    runs["val/loss"] = 1 / runs["val/loss"]

    assert build_design(runs, "val/loss").means.max() == pytest.approx(-np.log(0.1))
