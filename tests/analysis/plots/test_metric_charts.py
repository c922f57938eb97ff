"""Charts of metrics and settings: what they show, asserted on their data; that they draw is
`test_chart_command`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from analysis.data.frames import history_frame
from analysis.data.load import Runs, from_disk, load
from analysis.plots.box import FEW, box_chart, box_info
from analysis.plots.chart import HEIGHT, WIDTH, Chart
from analysis.plots.classes import classes_chart, classes_info
from analysis.plots.evp import evp_chart, evp_info
from analysis.plots.gradient_norms import norms_chart, norms_info
from analysis.plots.groups import DASHES, MARKERS, level_colours, looks, split_by
from analysis.plots.heatmap import GLYPHS, heatmap_info
from analysis.plots.seed_variance import luck_chart, luck_info
from analysis.plots.style import new_figure, set_head
from analysis.plots.sweep import draw_sweep, sweep_chart, sweep_info, sweep_table
from analysis.results.plan import Plan
from analysis.results.table import build_table
from analysis.verdicts.facts import Label
from anlp.core.errors import UserError
from anlp.records.files import read_json, write_json
from anlp.records.results import Outcome
from tests.support.run_folders import Grid


def loaded(grid: Grid) -> Runs:
    records = from_disk(grid.path)
    return Runs(grid.path, grid.frame(), history_frame(records), ())


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_groups_of_numbers_darken_in_order_and_differ_without_colour_too() -> None:
    found = [luminance(colour) for colour in level_colours([0.1, 0.2, 0.3, 0.4, 0.5])]

    assert found == sorted(found, reverse=True)
    assert len({(str(look.dash), look.marker) for look in looks(["a", "b", "c", "d", "e"])}) == 5
    assert len(set(map(str, DASHES[:6]))) == 6
    assert len(set(MARKERS)) == len(MARKERS)


def test_missing_values_are_one_group_and_the_last(grid: Grid) -> None:
    grid.add(0.9, model="cnn", filters=8)
    grid.add(0.8, model="dense")
    grid.add(0.8, model="dense", seed=1)

    assert [(name, len(runs)) for name, _, runs in split_by(grid.frame(), "filters")] == [
        ("8", 1),
        ("–", 2),
    ]


@pytest.mark.slow
def test_a_sweep_goes_through_the_best_configuration_with_its_t_interval(grid: Grid) -> None:
    for lr in (0.001, 0.1):
        for dropout, scores in ((0.0, [0.90, 0.91, 0.92]), (0.5, [0.5, 0.6, 0.7])):
            grid.add_seeds(scores, lr=lr, dropout=dropout)

    (line,) = sweep_info(grid.frame(), "lr", "val/acc").lines

    assert line.centre == pytest.approx([91, 91])
    assert line.low == pytest.approx([91 - 4.3027 / math.sqrt(3)] * 2, abs=1e-3)
    assert (line.n, len(line.points)) == ((3, 3), 12)


@pytest.mark.slow
def test_the_median_of_a_sweep_is_over_all_runs(grid: Grid) -> None:
    for dropout, score in ((0.0, 0.9), (0.3, 0.5), (0.5, 0.1)):
        grid.add(score, lr=0.1, dropout=dropout)

    (line,) = sweep_info(grid.frame(), "lr", "val/acc", value="median").lines

    assert [*line.centre, *line.low, *line.high] == pytest.approx([50, 30, 70])


@pytest.mark.slow
def test_a_sweep_of_losses_takes_the_lowest_and_is_logarithmic_over_a_wide_range(
    grid: Grid,
) -> None:
    for dropout, loss in ((0.0, 0.01), (0.5, 90.0)):
        grid.add(0.5, metrics={"val/loss": loss}, lr=0.1, dropout=dropout)

    info = sweep_info(grid.frame(), "lr", "val/loss")

    assert info.lines[0].centre.tolist() == [0.01]
    assert info.is_log_y
    assert info.chance == pytest.approx(math.log(10))


@pytest.mark.slow
def test_zero_has_its_place_on_a_logarithmic_axis(grid: Grid) -> None:
    for weight_decay in (0.0, 1e-4, 1e-2):
        grid.add(0.9, weight_decay=weight_decay)

    info = sweep_info(grid.frame(), "weight_decay", "val/acc")

    assert [text for _, text in info.ticks] == ["0", "0.0001", "0.01"]
    assert [at for at, _ in info.ticks] == pytest.approx([-6, -4, -2])


@pytest.mark.slow
def test_lost_runs_of_a_sweep_are_marked_and_told(grid: Grid) -> None:
    grid.add(0.9, lr=0.1)
    grid.add(outcome=Outcome.DIVERGED, lr=10.0)

    info = sweep_info(grid.frame(), "lr", "val/acc")

    assert [(level, number) for level, _, number in info.lines[0].lost] == [(10.0, 1)]
    assert info.title.endswith("1 run of 2")


@pytest.mark.slow
def test_the_table_of_a_sweep_has_a_row_per_point(grid: Grid) -> None:
    for optimizer in ("adam", "sgd"):
        for lr in (0.1, 0.01):
            grid.add(0.9, lr=lr, optimizer=optimizer)

    table = sweep_table(sweep_info(grid.frame(), "lr", "val/acc", "optimizer"))

    assert table["optimizer"].tolist() == ["adam", "adam", "sgd", "sgd"]
    assert table["lr"].tolist() == [0.01, 0.1, 0.01, 0.1]


def test_few_runs_are_points_and_many_are_boxes(grid: Grid) -> None:
    grid.add_seeds(np.linspace(0.8, 0.9, FEW).tolist(), dropout=0.5)
    frame = grid.frame()

    assert box_info(frame, "val/acc", "dropout").style == "box"
    assert box_info(frame.head(FEW - 1), "val/acc", "dropout").style == "points"


def test_a_box_counts_what_was_lost(grid: Grid) -> None:
    grid.add(0.9, dropout=0.5)
    grid.add(outcome=Outcome.DIVERGED, dropout=0.5, seed=1)
    grid.add(outcome=None, dropout=0.1)

    levels = box_info(grid.frame(), "val/acc", "dropout").levels

    assert [(level.name, level.values.tolist(), level.lost) for level in levels] == [
        ("0.1", [], 1),
        ("0.5", [90], 1),
    ]


@pytest.mark.slow
def test_cells_of_a_heatmap_are_the_best_mean_and_the_most_frequent_verdict(grid: Grid) -> None:
    flat = [{"epoch": e, "val/acc": 0.1, "train/loss": 2.3, "val/loss": 2.3} for e in range(12)]
    rising = [
        {"epoch": e, "val/acc": min(0.1 + e / 5, 0.9), "train/loss": 2.3 / (e + 1)}
        for e in range(12)
    ]
    for seed in range(3):
        grid.add(0.9, lr=0.1, optimizer="adam", seed=seed, history=rising)
        grid.add(0.1, lr=1.0, optimizer="adam", seed=seed, history=flat)
    grid.add(0.5, lr=0.1, optimizer="sgd", history=rising)

    info = heatmap_info(loaded(grid), "lr", "optimizer", "val/acc")

    assert info.x_levels == (0.1, 1.0)
    assert info.values[0] == pytest.approx([90, 10])
    assert np.isnan(info.values[1, 1])
    assert info.verdicts == (("converged", "stuck"), ("converged", ""))
    assert info.edges == ((0, 0), (1, 0))


def test_every_verdict_has_a_glyph_of_its_own() -> None:
    assert list(GLYPHS) != []
    assert set(GLYPHS) == {label.value for label in Label}
    assert len(set(GLYPHS.values())) == len(GLYPHS)


def test_expectations_are_of_configurations_and_cost_what_runs_cost(grid: Grid) -> None:
    for lr, score in ((0.1, 0.9), (0.01, 0.5), (0.001, 0.1)):
        grid.add_seeds([score, score], lr=lr)

    (group,) = evp_info(grid.frame(), "val/acc", against="runs").groups

    assert group.x.tolist() == [2, 4, 6]
    assert group.y == pytest.approx([50, 100 * (0.9 * 2 + 0.5) / 3, 90])


def test_expected_losses_fall(grid: Grid) -> None:
    for lr, loss in ((0.1, 0.9), (0.01, 0.5)):
        grid.add(0.5, metrics={"val/loss": loss}, lr=lr)

    (group,) = evp_info(grid.frame(), "val/loss").groups

    assert group.y == pytest.approx([0.7, 0.5])


def test_two_seeds_show_two_points_and_no_interval(grid: Grid) -> None:
    grid.add_seeds([0.90, 0.92], lr=0.1)
    grid.add_seeds([0.80, 0.82, 0.84], lr=0.01)

    info = sweep_info(grid.frame(), "lr", "val/acc")
    luck = luck_info(grid.frame(), "val/acc")

    (line,) = info.lines
    assert np.isnan(line.low).tolist() == [False, True]
    assert sweep_table(info)["low"].isna().tolist() == [False, True]
    assert [math.isnan(row.low) for row in luck.rows] == [True, False]


def test_the_interval_of_losses_ends_where_it_was_computed(grid: Grid) -> None:
    for lr, scale in ((0.1, 1.0), (0.001, 100.0)):
        for seed, loss in enumerate((0.001, 0.002, 0.009)):
            grid.add(0.5, seed=seed, lr=lr, metrics={"val/loss": scale * loss})

    info = sweep_info(grid.frame(), "lr", "val/loss")

    (line,) = info.lines
    mean, sd = 0.004, np.std([0.001, 0.002, 0.009], ddof=1)
    assert line.low[1] == pytest.approx(mean - 4.3027 * sd / math.sqrt(3), abs=1e-6)
    assert line.low[1] < 0
    assert info.is_log_y
    with new_figure(WIDTH, HEIGHT) as figure:
        ax = draw_sweep(info, figure.add_subplot())
        bottom, _ = ax.get_ylim()
        assert bottom > 0
        ends = [path.get_extents().y0 for path in ax.collections[-1].get_paths()]
        assert ends[1] == pytest.approx(bottom)


def test_a_sweep_of_a_test_metric_shows_what_validation_selects(grid: Grid) -> None:
    for units, val, test in ((32, 0.95, 0.90), (64, 0.94, 0.99)):
        grid.add(test, val=val, lr=0.1, hidden=units)

    chart = sweep_chart(loaded(grid), metric="test/acc", x="lr")

    assert (
        "the best configuration at each lr by val/acc"
        in sweep_info(grid.frame(), "lr", "test/acc").subtitle
    )
    assert "test/acc where val/acc is best, per line: 90.00 at lr=0.1" in chart.alt


def test_a_configuration_that_always_diverged_knows_nothing(grid: Grid) -> None:
    grid.add(0.9, lr=0.1)
    grid.add(outcome=Outcome.DIVERGED, lr=1.0)

    info = evp_info(grid.frame(), "val/acc")

    assert info.groups[0].y[0] == pytest.approx((90 + 11.35) / 2)
    assert info.notes == ("1 configuration diverged with every seed, taken as chance level",)


def test_luck_is_that_of_the_choice_and_one_of_equals_is_the_best(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        grid.add_seeds([0.89, 0.9, 0.91], lr=lr)
    grid.add_seeds([0.19, 0.2, 0.21], lr=1.0)

    info = luck_info(grid.frame(), "val/acc")

    assert [row.is_best for row in info.rows] == [True, False, False]  # of equals
    assert (info.n_tied, info.n_configurations) == (2, 3)
    assert info.rows[1].is_tied
    assert 0.3 < info.luck < 1  # a mean has an error of 0.58 to 0.77 points


@pytest.mark.parametrize("shared", [0.0, 0.05])
def test_the_table_and_the_luck_chart_tie_the_same_configurations(
    grid: Grid, shared: float
) -> None:
    rng = np.random.default_rng(3)
    luck = shared * rng.normal(size=5)  # of seeds: pairing pays where they share it
    for lr, mean in {0.1: 0.9, 0.01: 0.893, 0.001: 0.89, 0.0001: 0.85, 1.0: 0.895}.items():
        grid.add_seeds((mean + luck + rng.normal(0, 0.004, 5)).tolist(), lr=lr)
    if not shared:  # where seeds are missing they cannot be paired
        grid.add(0.1, seed=5, lr=1.0)  # at chance

    table = build_table(grid.frame(), Plan())
    info = luck_info(grid.frame(), "test/acc")

    assert table.ties[0].method == ("paired" if shared else "welch")
    assert {row.config_id for row in info.rows if row.is_tied} == {
        row.config_id for row in table.rows if row.is_tied
    }
    assert info.n_tied == len(table.ties[0].top)
    assert ("paired" in info.subtitle) == bool(shared)
    assert any("5/6 trained" in row.name for row in info.rows) is not bool(shared)
    assert table.optimism is not None
    assert table.optimism.expected is not None
    assert info.luck == pytest.approx(100 * table.optimism.expected)


def test_luck_with_one_seed_is_unknown_and_said(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        grid.add(0.9, lr=lr)

    info = luck_info(grid.frame(), "val/acc")

    assert math.isnan(info.luck)
    assert "cannot be known" in info.subtitle


def test_norms_are_geometric_means_over_seeds(grid: Grid) -> None:
    for seed, norm in enumerate((1.0, 100.0)):
        line = {"epoch": 1, "grad_norm/000": norm, "grad_norm/001": 0.0}
        grid.add(0.9, seed=seed, history=[line, {**line, "epoch": 2, "grad_norm/001": 3.0}])

    info = norms_info(grid.frame(), loaded(grid).history)

    assert info.layers == ("0", "1")
    assert info.norms[0] == pytest.approx([10, 10])
    assert np.isnan(info.norms[1, 0])


def test_norms_that_were_not_logged_are_asked_for(grid: Grid) -> None:
    grid.add(0.9, history=[{"epoch": 1, "val/acc": 0.9}])

    with pytest.raises(UserError, match="train with `layer_norms: true`"):
        norms_chart(loaded(grid))


def describe(path: Path, counts: dict[str, list[int]]) -> None:
    form = read_json(path)
    assert form is not None
    write_json(path, {**form, "provenance": {"data": {"names": ["a", "b"], "counts": counts}}})


def test_classes_are_shares_of_each_split_with_the_baselines(grid: Grid) -> None:
    describe(grid.add(0.9).result, {"train": [1, 3], "test": [2, 2]})

    chart = classes_chart(load(grid.path))

    assert chart.table["train"].tolist() == [1, 3]
    assert "always 'b', the most frequent of the training set, reaches 11.3 %" in chart.alt


def test_an_empty_split_has_no_shares(grid: Grid) -> None:
    from analysis.data.labels import ClassCounts

    info = classes_info(ClassCounts("made", ("a", "b"), {"train": (1, 3), "val": (0, 0)}, {}, "r"))

    assert info.shares("val").tolist() == [0, 0]
    assert info.shares("train").tolist() == [25, 75]


def test_several_data_sets_are_not_mixed(grid: Grid) -> None:
    grid.add(0.9, data="mnist")
    grid.add(0.9, data="digits")

    with pytest.raises(
        UserError, match=r"2 data sets in this grid .*: choose one with --only data=digits"
    ):
        classes_chart(loaded(grid))


@pytest.mark.slow
def test_labels_of_thirty_rates_do_not_touch(grid: Grid) -> None:
    for number in range(30):
        grid.add(0.9, lr=float(f"{10 ** (-5 + 0.17 * number):.3g}"))
    chart = sweep_chart(loaded(grid), metric="val/acc")

    assert _labels_that_touch(chart) == []


def test_many_rates_have_ticks_at_powers_of_ten_and_at_zero() -> None:
    rates = [0.0, *(10 ** (-4 + 0.2 * number) for number in range(20))]
    runs = pd.DataFrame(
        {
            "run_id": list(map(str, rates)),
            "lr": rates,
            "outcome": "ok",
            "purpose": "search",
            "val/acc": 0.9,
        }
    )
    runs["config_id"] = runs["run_id"]

    ticks = sweep_info(runs, "lr", "val/acc").ticks

    assert [text for _, text in ticks] == [
        "0",
        "0.001",
        "0.01",
        "0.1",
    ]  # 0.0001 has no room beside 0


def test_a_title_ends_within_the_picture_for_any_names_of_rows() -> None:
    words = (
        "classification report of the best configuration, lr=0.1 optimizer=adam depth=6, 12 seeds"
    )
    with new_figure(WIDTH, HEIGHT) as figure:
        ax = figure.add_subplot()
        ax.set_yticks([0, 1], ["micro mean (accuracy) (10,000)", "b"])
        set_head(ax, words)
        figure.draw_without_rendering()
        right = max(
            text.get_window_extent().x1
            for text in ax.findobj(Text)
            if text.get_text().startswith("class")
        )

        assert right <= figure.bbox.x1


@pytest.mark.slow
def test_knowing_nothing_is_on_the_axis_only_where_the_runs_keep_half_of_it(grid: Grid) -> None:
    for number in range(6):
        grid.add(0.97 + 0.001 * number, seed=number, dropout=0.1 * (number % 2))
    near = box_chart(loaded(grid))
    grid.add(0.3, seed=9)
    wide = box_chart(loaded(grid))

    assert _span(near) < 2
    assert "chance level: 11.35, not on the axis" in _head(near)
    assert "not on the axis" not in _head(wide)


def test_no_axis_of_shares_has_a_tick_above_a_hundred(grid: Grid) -> None:
    grid.add(0.99, lr=0.1)

    for chart in (evp_chart(loaded(grid)), luck_chart(loaded(grid))):
        with new_figure(*chart.size) as figure:
            ax = figure.add_subplot()
            chart.draw(ax)

            assert (
                max(ax.get_ylim()[1] if "expected" in ax.get_ylabel() else ax.get_xlim()[1], 0)
                < 101
            )


def _labels_that_touch(chart: Chart) -> list[tuple[str, str]]:
    with new_figure(*chart.size) as figure:
        ax = figure.add_subplot()
        chart.draw(ax)
        figure.draw_without_rendering()
        return [
            (left.get_text(), right.get_text())
            for left, right in pairwise(ax.get_xticklabels())
            if left.get_window_extent().overlaps(right.get_window_extent())
        ]


def _span(chart: Chart) -> float:
    with new_figure(*chart.size) as figure:
        ax = figure.add_subplot()
        chart.draw(ax)
        low, high = ax.get_xlim()
        return high - low


def _head(chart: Chart) -> str:
    with new_figure(*chart.size) as figure:
        ax = figure.add_subplot()
        chart.draw(ax)
        return " ".join(ax.get_title(loc="left").split())
