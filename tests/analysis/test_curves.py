from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import curves
from analysis.data.frames import history_frame
from analysis.data.load import from_disk
from analysis.plots.curves import CurvesInfo, curves_info
from anlp.core.errors import UserError
from tests.support.run_folders import Grid


def info_of(grid: Grid, metric: str = "val/acc", by: str = "") -> CurvesInfo:
    return curves_info(grid.frame(), history_frame(from_disk(grid.path)), metric, by)


def lines(*values: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "val/acc": value} for epoch, value in enumerate(values)]


def test_accuracies_are_in_percent_by_epoch(grid: Grid) -> None:
    grid.add(0.9, history=lines(0.1, 0.9))

    (group,) = info_of(grid).groups

    assert np.array_equal(group.curves, [[[0, 10], [1, 90]]])
    assert info_of(grid).y_label == "val/acc [%]"


def test_runs_are_grouped_by_the_levels_of_a_setting_in_order(grid: Grid) -> None:
    for lr in (0.1, 0.001, 0.01):
        grid.add(0.9, lr=lr, history=lines(0.1, lr))

    groups = info_of(grid, by="lr").groups

    assert [group.name for group in groups] == ["0.001", "0.01", "0.1"]
    assert [group.curves[0][-1, 1] for group in groups] == pytest.approx([0.1, 1, 10])


def test_live_runs_are_shown_and_runs_without_an_epoch_are_counted(grid: Grid) -> None:
    grid.add(outcome=None, history=lines(0.1, 0.5))
    grid.add(outcome=None, seed=1)

    assert info_of(grid).title == "val/acc of 1 of 2 runs, a line each"


def test_epochs_that_are_not_finite_are_left_out(grid: Grid) -> None:
    grid.add(0.9, history=lines(0.1, math.nan, 0.3))

    assert info_of(grid).groups[0].curves[0][:, 0].tolist() == [0, 2]


@pytest.mark.parametrize("history", [lines(0.1), lines(0.1, 0.2)])
def test_the_command_draws_by_lr_where_it_varies(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    history: list[dict[str, float]],
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    for lr in (0.1, 0.01):
        grid.add(0.9, lr=lr, history=history)

    assert curves.main(["study"]) == 0
    assert capsys.readouterr().out == "runs/study/curves.png\nruns/study/curves.csv\n"
    assert (grid.path / "curves.png").exists()


def test_no_epoch_yet_is_one_sentence(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(outcome=None)

    with pytest.raises(UserError, match="no run of study has logged an epoch yet"):
        curves.main(["study"])


def test_bands_are_medians_with_the_middle_half_over_seeds(grid: Grid) -> None:
    for seed, end in enumerate((0.1, 0.2, 0.3, 0.4, 0.5)):
        grid.add(0.9, seed=seed, history=lines(0.1, end))

    (group,) = info_of(grid).groups

    assert group.band is not None
    assert group.band[1] == pytest.approx([1, 30, 20, 40])
    assert info_of(grid).style == "both"


def test_a_band_of_few_seeds_is_their_range_and_ends_where_most_runs_do(grid: Grid) -> None:
    for seed, curve in enumerate(((0.1, 0.2), (0.1, 0.3), (0.1, 0.4, 0.9))):
        grid.add(0.9, seed=seed, history=lines(*curve))

    (group,) = info_of(grid).groups

    assert group.band is not None
    assert group.band.tolist() == [[0, 10, 10, 10], [1, 30, 20, 40]]


def test_smoothing_is_a_running_mean_and_says_so(grid: Grid) -> None:
    grid.add(0.9, history=lines(0.0, 0.3, 0.0))

    info = curves_info(grid.frame(), history_frame(from_disk(grid.path)), "val/acc", smooth=3)

    assert info.groups[0].curves[0][:, 1] == pytest.approx([15, 10, 15])
    assert info.subtitle == "smoothed: running mean over 3 epochs"


def test_a_logarithmic_axis_leaves_out_what_is_not_positive(grid: Grid) -> None:
    grid.add(0.9, history=lines(0.0, 0.5))

    info = curves_info(grid.frame(), history_frame(from_disk(grid.path)), "val/acc", is_log=True)

    assert info.groups[0].curves[0].tolist() == [[1, 50]]


def test_groups_can_be_configurations(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        for seed in range(3):
            grid.add(0.9, lr=lr, seed=seed, history=lines(0.1, lr))

    groups = info_of(grid, by="configuration").groups

    assert [(group.name, len(group.curves)) for group in groups] == [("lr=0.01", 3), ("lr=0.1", 3)]
