from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.results.caption import render_caption
from analysis.results.plan import Plan
from analysis.results.render import render_csv, render_json, render_latex, render_text
from analysis.results.rows import Row
from analysis.results.table import Table, build_table
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.run_folders import Grid

CLOSE = {0.1: 0.95, 0.01: 0.951, 0.001: 0.70}  # mean accuracy by learning rate: two are tied


def rows_of(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.name]


def marks(table: Table) -> dict[object, str]:
    return {
        row.levels[0]: "best" if row.is_best else "tied" if row.is_tied else ""
        for row in rows_of(table)
    }


def study(
    grid: Grid,
    means: dict[float, float] = CLOSE,
    seeds: int = 5,
    shared: float = 0.0,
    **settings: object,
) -> Grid:
    rng = np.random.default_rng(0)
    luck = shared * rng.normal(size=seeds)
    for lr, mean in means.items():
        scores = mean + 0.004 * rng.normal(size=seeds) + luck
        for seed, score in enumerate(scores.tolist()):
            grid.add(score, seed=seed, lr=lr, **settings)  # type: ignore[arg-type] # settings of any type
    return grid


@pytest.mark.parametrize("tied", ["welch", "moderated", "pooled"])
def test_what_cannot_be_told_from_the_best_is_tied(grid: Grid, tied: str) -> None:
    table = build_table(study(grid).frame(), Plan(tied=tied))  # type: ignore[arg-type] # a parameter is any text

    found = marks(table)
    assert found[0.001] == ""
    assert sorted([found[0.1], found[0.01]]) == ["best", "tied"]
    assert "Holm over 2 at 5 %" in render_caption(table)


def test_none_marks_the_best_only(grid: Grid) -> None:
    table = build_table(study(grid).frame(), Plan(tied="none"))

    assert sorted(marks(table).values()) == ["", "", "best"]
    assert "†" not in render_text(table)


def test_losses_are_tied_from_below(grid: Grid) -> None:
    for lr, loss in CLOSE.items():
        for seed in range(4):
            grid.add(
                0.5,
                seed=seed,
                lr=lr,
                metrics={"val/loss": loss + seed / 500, "test/loss": loss + seed / 500},
            )

    table = build_table(grid.frame(), Plan(select="val/loss", report="test/loss"))

    assert marks(table) == {0.001: "best", 0.1: "", 0.01: ""}
    (row,) = [row for row in rows_of(table) if row.levels[0] == 0.1]
    form = json.loads(render_json(table))["rows"][1]
    assert row.effect is not None
    assert form["best_minus_this"] == pytest.approx(-0.25, abs=0.01)
    assert form["difference_lo"] < form["best_minus_this"] < form["difference_hi"]


@pytest.mark.slow
def test_the_caption_has_the_resolution_and_the_rule_of_pairing(grid: Grid) -> None:
    table = build_table(study(grid, {0.1 / (i + 1): 0.9 for i in range(14)}).frame(), Plan())

    caption = render_caption(table)
    assert (
        "With 5 seeds and 14 configurations a permutation test can never reject; 6 are needed."
        in caption
    )
    assert "Not paired: the correlation of seeds across configurations" in caption


@pytest.mark.slow
def test_seeds_that_share_their_luck_are_paired(grid: Grid) -> None:
    table = build_table(study(grid, shared=0.03).frame(), Plan())

    assert "one-sided t tests paired by seed" in render_caption(table)
    assert "Paired by seed: the correlation" in render_caption(table)
    assert table.ties[0].pairing is not None


@pytest.mark.slow
def test_pairs_are_not_made_where_seeds_are_missing(grid: Grid) -> None:
    study(grid, shared=0.03)
    grid.add(0.9, seed=0, lr=0.5)
    grid.add(0.9, seed=1, lr=0.5)

    assert "Not paired, though" in render_caption(build_table(grid.frame(), Plan()))


@pytest.mark.slow
def test_groups_have_their_own_best(grid: Grid) -> None:
    study(grid, model="cnn")
    study(grid, {0.1: 0.5, 0.01: 0.8}, model="dense")

    table = build_table(grid.frame(), Plan(by="model"))

    best = [row.group for row in rows_of(table) if row.is_best]
    assert best == ["cnn", "dense"]
    assert [row.group for row in rows_of(table)] == ["cnn"] * 3 + ["dense"] * 2
    assert "not distinguished from the best within each model" in render_caption(table)
    rules = [line for line in render_text(table).splitlines() if set(line) == {"─"}]
    assert len(rules) == 3


@pytest.mark.slow
def test_groups_take_the_top_of_each(grid: Grid) -> None:
    study(grid, {0.1: 0.7, 0.01: 0.9}, model="cnn")
    study(grid, {0.1: 0.5, 0.01: 0.8}, model="dense")

    table = build_table(grid.frame(), Plan(by="model", top=1))

    assert [row.levels for row in rows_of(table)] == [("cnn", 0.01), ("dense", 0.01)]


def pivoted(grid: Grid) -> Table:
    for optimizer, more in (("sgd", 0.0), ("adam", 0.02)):
        for units in (32, 64):
            for lr, mean in CLOSE.items():
                if (optimizer, lr) != ("adam", 0.1):
                    scores = [mean + more - 0.1 * (units == 32) + s / 1000 for s in range(3)]
                    grid.add_seeds(scores, optimizer=optimizer, units=units, lr=lr, model="cnn")
    return build_table(grid.frame(), Plan(pivot=("lr", "optimizer")))


@pytest.mark.slow
def test_a_pivot_has_the_best_of_each_cell(grid: Grid) -> None:
    lines = render_text(pivoted(grid)).splitlines()

    assert lines[0].split() == ["lr", "\\", "optimizer", "adam", "sgd"]
    assert lines[2].split() == ["0.001", "72.100", "±", "0.248", "70.100", "±", "0.248"]
    assert lines[3].split() == ["0.01", "97.200", "±", "0.248", "*", "95.200", "±", "0.248"]
    assert lines[4].split() == ["0.1", "–", "95.100", "±", "0.248"]
    assert "Each cell is the best per lr and optimizer of 10 configurations searched" in " ".join(
        lines
    )


@pytest.mark.slow
def test_a_pivot_renders_everywhere_and_stays_tidy_as_csv(grid: Grid) -> None:
    table = pivoted(grid)

    assert r"lr \textbackslash{} optimizer & adam & sgd" in render_latex(table)
    assert len(render_csv(table).splitlines()) == 1 + 5 + 2


def test_optimism_is_that_of_the_choice_among_the_configurations(grid: Grid) -> None:
    table = build_table(study(grid).frame(), Plan(select="val/acc", report="val/acc"))

    assert table.optimism is not None
    assert table.optimism.expected is not None
    assert (table.optimism.k, table.optimism.n) == (3, 5)
    assert 0 < table.optimism.expected < 2 * 0.004 * 0.564 / 5**0.5
    assert 0 < table.optimism.error < 0.1 * table.optimism.expected
    assert (
        "as expected from its choice among 3 configurations (parametric bootstrap with the seed "
        "luck of each; Monte-Carlo error 0.00" in render_caption(table)
    )


def test_a_row_far_below_that_scatters_much_says_nothing_about_the_luck_of_the_best(
    grid: Grid,
) -> None:
    grid.add_seeds([0.970, 0.974, 0.966, 0.972, 0.968], lr=0.1)
    grid.add_seeds([0.98, 0.75, 0.97, 0.78, 0.92], lr=0.01)

    table = build_table(grid.frame(), Plan(select="val/acc", report="val/acc"))

    assert table.optimism is not None
    assert table.optimism.expected is not None
    assert table.optimism.expected < 0.0015
    assert marks(table) == {0.1: "best", 0.01: "tied"}
    assert "†: not distinguished from the best" in render_caption(table)
    assert "No row is shown to be equivalent to the best within" in render_caption(table)


def test_rows_are_equivalent_where_the_interval_of_the_difference_lies_inside_the_margin(
    grid: Grid,
) -> None:
    means = {0.1: 0.95, 0.01: 0.949, 0.001: 0.94}
    for lr, mean in means.items():
        grid.add_seeds([mean + luck / 5000 for luck in range(5)], lr=lr)
    frame = grid.frame()

    wide = {
        row.levels[0]: row.is_equivalent for row in rows_of(build_table(frame, Plan(margin=0.002)))
    }
    narrow = build_table(frame, Plan(margin=0.001))
    usual = build_table(frame, Plan())

    assert wide == {0.1: False, 0.01: True, 0.001: False}
    assert not any(row.is_equivalent for row in rows_of(narrow))
    assert usual.ties[0].margin is not None
    assert usual.ties[0].margin.value == pytest.approx((0.95 * 0.05 / 10_000) ** 0.5, rel=0.01)
    table = build_table(frame, Plan(margin=0.002))
    assert "‡: equivalent to the best within 0.2 points (--margin)" in render_caption(table)
    assert "‡" in render_text(table).splitlines()[3]
    assert r"$^\ddagger$" in render_latex(table)
    assert json.loads(render_json(table))["rows"][1]["is_equivalent"] is True


def shared_of_the_best(grid: Grid, select: str, top: int | None) -> float:
    """By how much the luck of the selecting metric is taken for that of the reported one: four
    equal configurations.
    """
    rng = np.random.default_rng(0)
    for lr in (0.1, 0.01, 0.001, 0.0001):
        for seed, luck in enumerate(rng.normal(0, 0.004, 5).tolist()):
            losses = {"val/loss": 0.2 - luck, "test/loss": 0.2 - luck}
            grid.add(
                0.9 + luck, val=float(0.9 + rng.normal(0, 0.004)), metrics=losses, seed=seed, lr=lr
            )
    table = build_table(grid.frame(), Plan(select=select, top=top))
    assert table.optimism is not None
    return table.optimism.shared


def test_a_loss_that_falls_where_the_accuracy_rises_shares_its_luck(grid: Grid) -> None:
    assert shared_of_the_best(grid, "val/loss", 1) == pytest.approx(1)


def test_a_metric_with_luck_of_its_own_shares_little(grid: Grid) -> None:
    assert shared_of_the_best(grid, "val/acc", 1) < 0.5


def test_the_best_of_all_rows_shares_no_more_luck_than_a_single_one(grid: Grid) -> None:
    assert shared_of_the_best(grid, "val/acc", None) < 0.5


def test_optimism_of_single_seeds_is_unknown(grid: Grid) -> None:
    caption = render_caption(build_table(study(grid, seeds=1).frame(), Plan()))

    assert "by an unknown amount, since one seed does not show how much seeds vary" in caption


def test_a_confirmed_best_is_not_optimistic(grid: Grid) -> None:
    study(grid)
    grid.add_seeds([0.94, 0.945, 0.95], first_seed=1000, purpose="confirm", lr=0.1)

    table = build_table(grid.frame(), Plan())

    assert table.optimism is None
    assert marks(table)[0.1] == "best"
    (row,) = [row for row in rows_of(table) if row.is_best]
    assert row.optimistic == pytest.approx(0.95, abs=0.01)


def test_a_seed_at_chance_is_a_failure_and_kept_apart(grid: Grid) -> None:
    grid.add_seeds([0.97, 0.98, 0.99, 0.98, 0.1])

    (row,) = rows_of(table := build_table(grid.frame(), Plan()))

    assert (row.n_trained, row.n_total, row.n_failed) == (4, 5, 1)
    assert row.mean == pytest.approx(0.98)
    assert row.plain_mean == pytest.approx(0.804)
    assert row.trained_share is not None
    assert row.trained_share.low == pytest.approx(0.376, abs=0.001)
    assert "4/5 trained  " in render_text(table)


def test_a_configuration_that_never_trains_shows_what_it_reached(grid: Grid) -> None:
    grid.add_seeds([0.1, 0.11, 0.1])

    (row,) = rows_of(table := build_table(grid.frame(), Plan()))

    assert row.n_trained == 0
    assert row.interval is not None
    assert "0/3 trained" in render_text(table)


def test_a_seed_that_is_not_done_yet_is_no_failure(grid: Grid) -> None:
    grid.add_seeds([0.97, 0.98, 0.99])
    grid.add(seed=3, outcome=None)
    grid.add(0.97, lr=0.1)
    grid.add(seed=1, lr=0.1, outcome=Outcome.FAILED)

    text = render_text(build_table(grid.frame(), Plan()))

    assert "3/4 seeds" in text
    assert "1/2 trained" in text


@pytest.mark.slow
def test_bootstrap_t_is_for_rows_of_twenty_seeds(grid: Grid) -> None:
    rng = np.random.default_rng(0)
    grid.add_seeds((1 - 0.02 * rng.exponential(size=20)).tolist(), lr=0.1)
    grid.add_seeds([0.9, 0.91, 0.92], lr=0.01)

    table = build_table(grid.frame(), Plan(method="bootstrap-t"))

    methods = {row.levels[0]: row.interval.method for row in rows_of(table) if row.interval}
    assert methods == {0.1: "bootstrap-t", 0.01: "t"}
    assert "bootstrap-t takes at least 20 seeds" in render_caption(table)


@pytest.mark.parametrize("plan", [Plan(by="modle"), Plan(pivot=("lr", "modle"))])
def test_unknown_settings_are_named(grid: Grid, plan: Plan) -> None:
    with pytest.raises(UserError, match=r"setting 'modle' is unknown \(did you mean 'model'"):
        build_table(study(grid).frame(), plan)
