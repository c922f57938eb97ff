from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_mixed import MixedModeRenderer

from analysis import parallel
from analysis.plots.parallel import (
    JITTER,
    draw_parallel,
    importance_order,
    parallel_info,
    size_inches,
)
from analysis.plots.scale import BELOW, make_scale
from analysis.plots.style import new_figure, save, shortened
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.run_folders import Grid


def test_a_rate_is_logarithmic_with_a_tick_per_level() -> None:
    scale = make_scale("lr", [0.1, 1e-5, 1e-3])

    assert scale.kind == "log"
    assert scale.positions == pytest.approx([1, 0, 0.5])
    assert [text for _, text in scale.ticks] == ["1e-05", "0.001", "0.1"]


def test_zero_on_a_logarithmic_axis_and_missing_values_lie_below_it() -> None:
    scale = make_scale("weight_decay", [0.0, 1e-4, 1e-1, None])

    assert scale.positions[[0, 3]].tolist() == [BELOW, BELOW]
    assert scale.ticks[-1] == (BELOW, "0 / –")


def test_numbers_of_one_size_are_linear() -> None:
    scale = make_scale("dropout", [0, 0.1, 0.5])

    assert (scale.kind, [text for _, text in scale.ticks]) == ("linear", ["0", "0.1", "0.5"])
    assert scale.positions == pytest.approx([0, 0.2, 1])


def test_text_and_booleans_are_categories_at_even_distances() -> None:
    assert make_scale("optimizer", ["sgd", "adam", "rmsprop"]).positions.tolist() == [1, 0, 0.5]
    assert [text for _, text in make_scale("nesterov", [True, False]).ticks] == ["false", "true"]


def test_many_values_have_round_ticks_and_both_ends() -> None:
    texts = [
        text
        for _, text in make_scale(
            "val/acc [%]", np.linspace(0.123, 0.987, 50).tolist(), factor=100
        ).ticks
    ]

    assert {"12.3", "98.7", "45", "60"} <= set(texts)
    assert len(texts) < 10


def test_axes_are_the_settings_that_vary_and_the_metric_last(grid: Grid) -> None:
    grid.add(0.9, lr=0.1, model="cnn")
    grid.add(0.8, lr=0.01, model="dense")

    info = parallel_info(grid.frame(), "val/acc")

    assert [scale.name for scale in info.scales] == ["lr", "model", "val/acc [%]"]


def test_the_best_is_drawn_last_in_the_strongest_colour(grid: Grid) -> None:
    for score, lr in [(0.9, 0.1), (0.99, 0.01), (0.5, 0.001)]:
        grid.add(score, lr=lr)

    info = parallel_info(grid.frame(), "val/acc")

    assert info.ranks.tolist() == [0, 0.5, 1]
    assert np.diff(info.lines[:, -1]).min() > 0


def test_a_loss_ranks_the_other_way(grid: Grid) -> None:
    for loss, lr in [(0.9, 0.1), (0.1, 0.01)]:
        grid.add(0.5, metrics={"val/loss": loss}, lr=lr)

    assert parallel_info(grid.frame(), "val/loss").lines[:, -1].tolist() == [1, 0]


def test_a_selection_keeps_the_axes_and_says_how_many_it_shows(grid: Grid) -> None:
    for score, lr in [(0.9, 0.1), (0.99, 0.01), (0.1, 0.001)]:
        grid.add(score, lr=lr)
    grid.add(outcome=Outcome.DIVERGED, lr=1.0)

    every, some = (
        parallel_info(grid.frame(), "val/acc", above=above, grid="study") for above in (None, 0.5)
    )

    assert [scale.ticks for scale in some.scales] == [scale.ticks for scale in every.scales]
    assert len(some.lines) == 2
    assert every.title == "study: 3 of 4 runs"
    assert some.title == "study: 2 of 4 runs, those with val/acc above 50 %"
    assert "left out: 1 diverged" in some.subtitle


@pytest.mark.slow
def test_jitter_is_small_and_the_same_every_time(grid: Grid) -> None:
    for seed in range(20):
        grid.add(0.5 + seed / 100, seed=seed, model=("cnn", "dense")[seed % 2])

    first, again = (parallel_info(grid.frame(), "val/acc").lines for _ in range(2))

    off = first[:, 0] - first[:, 0].round()
    assert np.array_equal(first, again)
    assert 0 < np.abs(off).max() <= JITTER
    assert len(np.unique(off)) > 10


def test_shares_are_never_on_a_logarithmic_axis() -> None:
    low = [0.001, 0.5, 0.9]

    assert (make_scale("val/acc [%]", low, factor=100).kind, make_scale("val/loss", low).kind) == (
        "linear",
        "log",
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_it_draws_the_same_bytes_twice(grid: Grid, tmp_path: Path, suffix: str) -> None:
    for seed in range(3):
        grid.add(0.9, seed=seed, lr=10.0**-seed)
    info = parallel_info(grid.frame(), "val/acc")

    for name in ("a", "b"):
        with new_figure(*size_inches(info)) as figure:
            draw_parallel(info, figure.add_subplot())
            save(figure, tmp_path / f"{name}.{suffix}")

    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.slow
def test_the_command_writes_beside_the_runs_and_says_where(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9, lr=0.1)

    assert parallel.main(["study", "--above", "baseline"]) == 0
    assert capsys.readouterr().out == "runs/study/parallel.png\nruns/study/parallel.csv\n"
    assert (grid.path / "parallel.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--above", "high"], "--above: expected a number such as 0.95, or baseline, got 'high'"),
        (["--above", "baseline", "--metric", "val/mae"], "there is no baseline in val/mae"),
        (["--metric", "val/lss"], "--metric 'val/lss' is unknown (did you mean 'val/loss'?"),
        (["-o", "chart.gif"], "chart.gif: expected a file that ends in .png, .svg, .pdf"),
    ],
)
def test_mistakes_are_one_sentence(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9, metrics={"val/loss": 0.1, "val/mae": 0.1})

    with pytest.raises(UserError, match=re.escape(message)):
        parallel.main(["study", *argv])


def test_long_names_keep_both_ends() -> None:
    assert shortened("a" * 30 + "b" * 30, 9) == "aaaa…bbbb"[:5] + "bbbb"
    assert shortened("short") == "short"


def test_axes_are_ordered_by_importance_the_most_important_beside_the_metric(grid: Grid) -> None:
    for lr, base in ((0.1, 0.9), (0.01, 0.2)):
        for dropout, more in ((0.0, 0.0), (0.5, 0.05)):
            grid.add_seeds([base + more, base + more + 0.001], lr=lr, dropout=dropout)

    order = importance_order(grid.frame(), "val/acc")

    assert order == ["dropout", "lr"]
    info = parallel_info(grid.frame(), "val/acc", order=["lr", "dropout"])
    assert [scale.name for scale in info.scales] == ["lr", "dropout", "val/acc [%]"]


@pytest.mark.slow
def test_both_pictures_are_written_with_their_tables(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9, lr=0.1)
    grid.add(0.05, lr=1.0)

    assert parallel.main(["study", "--both", "--format", "svg"]) == 0

    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["parallel.svg", "parallel.csv", "parallel-better.svg", "parallel-better.csv"]
    assert len((grid.path / "parallel-better.csv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_ten_thousand_lines_fit_into_two_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    runs = pd.DataFrame(
        {
            "run_id": [f"{i:012x}" for i in range(n)],
            "outcome": "ok",
            "lr": rng.choice([0.1, 0.01, 0.001, 1e-4], n),
            "dropout": rng.choice([0.0, 0.3, 0.5], n),
            "optimizer": rng.choice(["adam", "sgd", "rmsprop"], n),
            "model": rng.choice(["cnn", "dense"], n),
            "width": rng.choice([16, 32, 64], n),
            "val/acc": rng.random(n),
        }
    )
    info = parallel_info(runs, "val/acc")

    with new_figure(*size_inches(info)) as figure:
        draw_parallel(info, figure.add_subplot())
        save(figure, tmp_path / "a.svg")
        save(figure, tmp_path / "a.png")

    assert len(info.lines) == n
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 2_000_000


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_what_is_a_picture_within_lines_is_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    started: list[str] = []
    start: Any = MixedModeRenderer.start_rasterizing

    def counted(renderer: Any) -> None:
        started.append(suffix)
        start(renderer)

    monkeypatch.setattr(MixedModeRenderer, "start_rasterizing", counted)
    with new_figure(3, 2) as figure:
        figure.add_subplot().plot([0, 1])[0].set_rasterized(True)
        save(figure, tmp_path / f"once{suffix}")

    assert started == [suffix]
