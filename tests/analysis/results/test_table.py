from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.results.caption import render_caption
from analysis.results.plan import Plan
from analysis.results.render import render_text
from analysis.results.rows import Row
from analysis.results.table import Table, build_table
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.run_folders import Grid


def rows_of(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.name]


def scores_with(mean: float, sd: float, n: int) -> list[float]:
    """`n` different numbers of exactly this mean and sample standard deviation."""
    ramp = np.arange(n) - (n - 1) / 2
    return [float(score) for score in mean + sd * ramp / ramp.std(ddof=1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "sd", "n", "printed"),
    [
        (98.027, 1.359, 7, "98.027 ± 1.007"),
        (98.360, 0.719, 9, "98.360 ± 0.470"),
        (93.512, 2.035, 8, "93.512 ± 1.410"),
        (95.646, 0.6406, 7, "95.646 ± 0.475"),
    ],
)
def test_z_reproduces_published_rows_from_run_folders_to_text(
    grid: Grid, mean: float, sd: float, n: int, printed: str
) -> None:
    grid.add_seeds(scores_with(mean / 100, sd / 100, n))

    assert printed in render_text(build_table(grid.frame(), Plan(method="z")))


@pytest.mark.slow
def test_t_is_the_default(grid: Grid) -> None:
    grid.add_seeds(scores_with(0.98027, 0.01359, 7))

    assert "98.027 ± 1.257" in render_text(build_table(grid.frame(), Plan()))


def test_a_row_has_the_settings_that_vary_and_no_others(grid: Grid) -> None:
    grid.add_seeds([0.9, 0.91], lr=0.1, hidden=64)
    grid.add_seeds([0.8, 0.81], lr=0.01, hidden=64)

    table = build_table(grid.frame(), Plan())

    assert table.settings == ("lr",)
    assert [row.levels for row in rows_of(table)] == [(0.1,), (0.01,)]


def test_rows_are_ranked_by_validation_and_its_first_is_the_best(grid: Grid) -> None:
    grid.add(0.90, val=0.95, lr=0.1)
    grid.add(0.92, val=0.94, lr=0.01)

    found = rows_of(build_table(grid.frame(), Plan()))

    assert [row.levels for row in found] == [(0.1,), (0.01,)]
    assert [row.is_best for row in found] == [True, False]


def test_a_table_sorted_by_what_is_reported_marks_no_best_and_says_so(grid: Grid) -> None:
    grid.add_seeds([0.90, 0.91, 0.92], lr=0.1)
    grid.add_seeds([0.92, 0.93, 0.94], lr=0.01)

    table = build_table(grid.frame(), Plan(select="val/acc", sort=("test/acc",)))
    by_setting = build_table(grid.frame(), Plan(sort=("lr",)))

    assert not any(row.is_best or row.is_tied or row.is_equivalent for row in table.rows)
    assert table.optimism is None
    assert (
        "Sorted by test/acc: test/acc is reported and takes no part in the selection, so no row is "
        "marked as the best." in render_caption(table)
    )
    assert [row.is_best for row in rows_of(by_setting)] == [True, False]
    assert "Sorted by lr." in render_caption(by_setting)
    assert "*: best." in render_text(by_setting)
    assert "*: best." not in render_text(table)


def test_the_selected_row_is_first_and_shown_though_rows_above_it_lost_seeds(grid: Grid) -> None:
    for lr in (0.1, 0.2, 0.3):
        grid.add_seeds([0.99, 0.98], lr=lr)
        grid.add(seed=2, lr=lr, outcome=Outcome.FAILED)
    grid.add_seeds([0.97, 0.96, 0.95], lr=0.01)

    for plan in (Plan(), Plan(top=2), Plan(top=1)):
        found = rows_of(build_table(grid.frame(), plan))
        assert (found[0].levels, found[0].is_best) == ((0.01,), True)


def test_a_loss_is_better_when_lower(grid: Grid) -> None:
    grid.add(0.9, metrics={"val/loss": 0.5, "test/loss": 0.6}, lr=0.1)
    grid.add(0.8, metrics={"val/loss": 0.3, "test/loss": 0.4}, lr=0.01)

    found = rows_of(build_table(grid.frame(), Plan(select="val/loss", report="test/loss")))

    assert [row.levels for row in found] == [(0.01,), (0.1,)]
    assert found[0].is_best


@pytest.mark.slow
def test_top_per_setting_takes_the_best_of_each_level(grid: Grid) -> None:
    for score, model, lr in [
        (0.9, "cnn", 0.1),
        (0.8, "cnn", 0.01),
        (0.7, "dense", 0.1),
        (0.6, "dense", 0.01),
    ]:
        grid.add(score, model=model, lr=lr)

    table = build_table(grid.frame(), Plan(top=1, per="model"))

    assert table.settings[0] == "model"
    assert [row.levels for row in rows_of(table)] == [("cnn", 0.1), ("dense", 0.1)]
    assert "The best per model of 4 configurations searched" in render_caption(table)


@pytest.mark.slow
def test_the_worst_of_all_stands_below_the_best_of_each(grid: Grid) -> None:
    for model, scores in {"dense": (0.9, 0.5, 0.7), "cnn": (0.8, 0.6)}.items():
        for lr, score in zip((0.1, 0.01, 0.001), scores, strict=False):
            grid.add_seeds([score, score], model=model, lr=lr)

    table = build_table(grid.frame(), Plan(top=1, per="model", worst=True))

    assert [row.mean for row in rows_of(table)] == [0.9, 0.8, 0.5]
    assert "The best per model, and the worst of all, of 5 configurations" in render_caption(table)


def test_where_batch_sizes_differ_the_updates_of_an_epoch_are_told(grid: Grid) -> None:
    for size in (1, 100):
        grid.add_seeds([0.9, 0.8], batch_size=size)

    text = render_text(build_table(grid.frame(), Plan()))

    train = int(grid.frame()["size/train"].iloc[0])
    assert "updates/epoch" in text
    assert [row.updates for row in rows_of(build_table(grid.frame(), Plan()))] == [
        train,
        -(-train // 100),
    ]


def test_runs_without_the_grouping_setting_are_one_group(grid: Grid) -> None:
    grid.add(0.9, model="cnn", filters=8)
    grid.add(0.8, model="dense", lr=0.1)
    grid.add(0.7, model="dense", lr=0.01)

    assert [row.mean for row in rows_of(build_table(grid.frame(), Plan(per="filters")))] == [
        0.9,
        0.8,
    ]


def test_fresh_seeds_replace_the_search_runs_of_a_confirmed_configuration(grid: Grid) -> None:
    grid.add(0.99, lr=0.1)
    grid.add_seeds([0.95, 0.96, 0.97], first_seed=1000, purpose="confirm", lr=0.1)
    grid.add(0.90, lr=0.01)

    (row,) = rows_of(table := build_table(grid.frame(), Plan(top=1)))

    assert sorted(row.scores) == [0.95, 0.96, 0.97]
    assert row.selected_by == 0.99
    assert row.optimistic == 0.99
    assert "Confirmed: confirm runs only, fresh seeds" in render_caption(table)


def test_rows_say_what_they_rest_on_where_only_some_are_confirmed(grid: Grid) -> None:
    grid.add(0.99, lr=0.1)
    grid.add_seeds([0.95, 0.96, 0.97], first_seed=1000, purpose="confirm", lr=0.1)
    grid.add(0.90, lr=0.01)

    table = build_table(grid.frame(), Plan())

    assert [row.purpose for row in rows_of(table)] == ["confirm", "search"]
    assert [row.is_best for row in rows_of(table)] == [True, False]
    assert "Confirmed: fresh seeds only, the best is among those." in render_caption(table)
    head, _, first, second, *_ = render_text(table).splitlines()
    assert head.split()[-6:] == ["selected", "test/acc", "[%]", "confirmed", "test/acc", "[%]"]
    assert first.split() == ["0.1", "3", "99.000", "99.000", "96.000", "±", "2.484", "*"]
    assert second.split()[-2:] == ["90.000", "–"] or "90.000 [" in second


def test_confirm_runs_do_not_choose(grid: Grid) -> None:
    grid.add(0.90, lr=0.1)
    grid.add(0.99, seed=1000, purpose="confirm", lr=0.1)
    grid.add(0.95, lr=0.01)

    (row,) = rows_of(build_table(grid.frame(), Plan(top=1)))

    assert row.levels == (0.01,)


def test_confirm_runs_choose_where_they_are_the_only_runs(grid: Grid) -> None:
    for index, rate in enumerate((0.1, 0.01, 0.001)):  # in an order that ids do not have
        grid.add_seeds([0.5 + 0.1 * index] * 3, first_seed=1000, purpose="confirm", lr=rate)

    table = build_table(grid.frame(), Plan(only="purpose=confirm"))

    assert [row.levels for row in rows_of(table)] == [(0.001,), (0.01,), (0.1,)]
    assert [row.selected_by for row in rows_of(table)] == pytest.approx([0.7, 0.6, 0.5])
    assert (
        "ranked by mean val/acc over the confirm runs among runs with purpose=confirm."
        in render_caption(table)
    )
    assert "Confirm runs only: the search that chose" in render_caption(table)


def test_the_caption_calls_selection_and_report_on_the_same_runs_optimistic(grid: Grid) -> None:
    grid.add(0.9, lr=0.1)
    grid.add(0.8, lr=0.01)

    assert "same runs, so the best of them are optimistic" in render_caption(
        build_table(grid.frame(), Plan(top=1))
    )


def test_lost_seeds_are_counted_and_the_interval_is_over_the_others(grid: Grid) -> None:
    grid.add_seeds([0.97, 0.98, 0.99, 0.98])
    grid.add(0.11, seed=4, outcome=Outcome.DIVERGED)

    (row,) = rows_of(table := build_table(grid.frame(), Plan()))

    assert (row.n, row.n_total) == (4, 5)
    assert row.mean == pytest.approx(0.98)
    assert "4/5 trained" in render_text(table)
    assert "(all: 80.670)" in render_text(
        table
    )  # the diverged seed knows as much as the majority class
    assert (
        "1 of 5 runs left out: 1 diverged. 4/5 trained: the score is over the seeds that"
        in render_caption(table)
    )


def test_a_configuration_that_lost_seeds_is_not_marked_best(grid: Grid) -> None:
    grid.add(0.99, lr=0.1)
    grid.add(seed=1, lr=0.1, outcome=Outcome.FAILED)
    grid.add_seeds([0.98, 0.97], lr=0.01)

    found = rows_of(table := build_table(grid.frame(), Plan()))

    assert [row.levels for row in found if row.is_best] == [(0.01,)]
    assert "Rows that lost seeds are not marked best." in render_caption(table)


def test_one_seed_gives_no_interval_and_says_so(grid: Grid) -> None:
    grid.add(0.98)

    text = render_text(table := build_table(grid.frame(), Plan()))

    assert "98.000 [97.707, 98.257] *" in text
    assert "±" not in text
    assert "Wilson interval in brackets, test sampling only, no seed variance" in render_caption(
        table
    )


def test_two_seeds_show_both_values_and_no_interval(grid: Grid) -> None:
    grid.add_seeds([0.98, 0.97])

    text = render_text(build_table(grid.frame(), Plan()))

    assert "98.000, 97.000" in text or "97.000, 98.000" in text
    assert "±" not in text


def test_baselines_stand_below_with_their_exact_values(grid: Grid) -> None:
    grid.add(0.05)

    table = build_table(grid.frame(), Plan())

    assert [(row.name, row.mean) for row in table.rows[1:]] == [
        ("random", 0.1),
        ("majority class", 0.1135),
    ]
    lines = render_text(table).splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("random", "majority"))] == [
        "10.000",
        "11.350",
    ]


def test_baselines_in_test_accuracy_are_not_shown_beside_another_metric(grid: Grid) -> None:
    grid.add(0.98)

    assert all(not row.name for row in build_table(grid.frame(), Plan(report="val/acc")).rows)


def test_rows_sort_by_settings_and_metrics(grid: Grid) -> None:
    for score, lr, model in [(0.9, 0.1, "dense"), (0.8, 0.01, "cnn"), (0.7, 0.1, "cnn")]:
        grid.add(score, lr=lr, model=model)

    table = build_table(grid.frame(), Plan(sort=("lr", "test/acc")))

    assert [row.mean for row in rows_of(table)] == [0.8, 0.9, 0.7]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            Plan(select="val/ac"),
            r"--select: metric 'val/ac' is unknown \(did you mean 'val/acc'\? known: ",
        ),
        (
            Plan(report="test/f1"),
            r"--report: metric 'test/f1' is unknown .*known: test/acc, val/acc\)",
        ),
        (Plan(per="modle"), r"--per: setting 'modle' is unknown \(did you mean 'model'\? known: "),
        (Plan(sort=("lrr",)), r"--sort: column 'lrr' is unknown \(did you mean 'lr'\?"),
    ],
)
def test_unknown_names_are_errors_with_the_nearest_and_all_known(
    grid: Grid, plan: Plan, message: str
) -> None:
    grid.add(0.98)

    with pytest.raises(UserError, match=message):
        build_table(grid.frame(), plan)


def test_no_finished_run_is_an_error_that_counts(grid: Grid) -> None:
    grid.add(outcome=None)
    grid.add(seed=1, outcome=Outcome.FAILED)

    with pytest.raises(UserError, match=r"no run has finished yet.*\(.*1 unfinished.*\)"):
        build_table(grid.frame(), Plan())


def test_a_metric_that_is_nan_leaves_the_run_out_by_name(grid: Grid) -> None:
    grid.add(0.98)
    grid.add(math.nan, seed=1)

    table = build_table(grid.frame(), Plan())

    assert table.left_out == {"without test/acc": 1}
    assert rows_of(table)[0].scores == (0.98,)
