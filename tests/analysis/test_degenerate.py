"""Every command on grids that are hardly grids: a picture, a table or one sentence, never a
traceback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from analysis import convergence, curves, importance, parallel, plot, report, tables
from analysis.data.load import Runs
from analysis.plots.catalogue import KINDS
from analysis.plots.chart import save_chart
from analysis.plots.curves import curves_info, draw_curves
from analysis.plots.parallel import draw_parallel, parallel_info, size_inches
from analysis.plots.style import new_figure, save
from analysis.results.plan import Plan
from analysis.results.render import RENDERERS
from analysis.results.table import build_table
from anlp.console.command import run_command
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from tests.support.run_folders import Grid

HISTORY = [{"epoch": 0, "val/acc": 0.1}, {"epoch": 1, "val/acc": 0.9}]
ODD_NAMES = ["数据集", "x" * 300, "$a_1$ % & # \\ {", r"$\frac{$", "a\nb", "", "🙂", "<script>"]


def no_runs(grid: Grid) -> None:
    pass


def one_run(grid: Grid) -> None:
    grid.add(0.9, history=HISTORY)


def one_seed(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        grid.add(0.9, lr=lr, history=HISTORY)


def equal_values(grid: Grid) -> None:
    for seed in range(4):
        grid.add(0.9, seed=seed, lr=10.0 ** -(seed % 2), history=HISTORY)


def nan_metric(grid: Grid) -> None:
    for seed in range(3):
        grid.add(math.nan, seed=seed, history=[{"epoch": 0, "val/acc": math.nan}])


def missing_cells(grid: Grid) -> None:
    grid.add(0.9, model="cnn", filters=8, history=HISTORY)
    grid.add(0.8, model="cnn", filters=16, lr=0.1, history=HISTORY[:1])
    grid.add(0.7, model="dense")


def one_epoch(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        grid.add(0.9, lr=lr, history=HISTORY[:1])


def only_failed(grid: Grid) -> None:
    for seed in range(3):
        grid.add(seed=seed, outcome=Outcome.FAILED)


def only_unfinished(grid: Grid) -> None:
    grid.add(outcome=None, history=HISTORY)


def only_confirmed(grid: Grid) -> None:
    grid.add_seeds([0.9, 0.91, 0.92], first_seed=1000, purpose="confirm", history=HISTORY)


def extreme_values(grid: Grid) -> None:
    for seed, value in enumerate([1e300, -1e-300, 0.0, 1.0]):
        grid.add(
            value,
            seed=seed,
            weight_decay=10.0 ** (-8 * seed),
            history=[{"epoch": 0, "val/acc": value}],
        )


def only_some_metrics(grid: Grid) -> None:
    grid.add(metrics={"val/acc": 0.5, "test/acc": math.nan}, history=HISTORY)


def explain(argv: Sequence[str]) -> int:
    return importance.main([*argv, "--no-forest"])


GRIDS = [
    *(no_runs, one_run, one_seed, equal_values, nan_metric, missing_cells, one_epoch, only_failed),
    *(only_unfinished, only_confirmed, extreme_values, only_some_metrics),
]


@pytest.mark.parametrize(
    "main",
    [
        *(tables.main, parallel.main, curves.main, convergence.main, explain, report.main),
        lambda argv: tables.main([*argv, "--by", "lr", "--tied", "moderated"]),
        lambda argv: tables.main([*argv, "--pivot", "lr", "optimizer", "--ci", "bootstrap-t"]),
    ],
)
@pytest.mark.parametrize("build", GRIDS)
def test_commands_answer_or_say_why_not(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[Sequence[str]], int],
    build: Callable[[Grid], None],
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    build(grid)

    code = run_command(lambda: main(["study"]))

    printed = capsys.readouterr()
    assert (code == 0 and printed.out.strip()) or (
        code == 2 and len(printed.err.strip().splitlines()) == 1
    )


def odd_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """No settings class takes such values today; another task's will."""
    rows = [
        {
            "run_id": f"r{i}",
            "config_id": f"c{i}",
            "task": "odd",
            "purpose": "search",
            "seed": 0,
            "outcome": "ok",
            "name": name,
            name or "empty": i,
            "val/acc": i / 10,
            "test/acc": i / 10,
        }
        for i, name in enumerate(ODD_NAMES)
    ]
    history = [
        {"run_id": f"r{i}", "epoch": e, "val/acc": e / 2}
        for i in range(len(ODD_NAMES))
        for e in range(2)
    ]
    return pd.DataFrame(rows), pd.DataFrame(history)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("build", GRIDS)
def test_charts_answer_or_say_why_not(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    build: Callable[[Grid], None],
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    build(grid)

    code = run_command(lambda: plot.main([kind, "study", "--format", "svg"]))

    printed = capsys.readouterr()
    assert (code == 0 and printed.out.strip()) or (
        code == 2 and len(printed.err.strip().splitlines()) == 1
    )
    drawn = [path for path in Path.cwd().rglob("*.svg") if "<path" in path.read_text()]
    assert bool(drawn) == (code == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("box", {"by": "name"}),
        ("sweep", {"x": "empty"}),
        ("evp", {"by": "name"}),
        ("luck", {}),
        ("heatmap", {"x": "empty", "y": "name"}),
    ],
)
def test_charts_of_odd_names_draw(tmp_path: Path, kind: str, options: dict[str, str]) -> None:
    runs, history = odd_frames()

    chart = KINDS[kind].build(Runs(tmp_path / "数据 $", runs, history, ()), **options)

    save_chart(chart, tmp_path / "chart.png")

    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", RENDERERS)
def test_odd_names_render(form: str) -> None:
    text = RENDERERS[form](build_table(odd_frames()[0], Plan(), "数据 $"))

    assert "0.5" in text or "50" in text


@pytest.mark.slow
def test_a_bound_that_no_run_passes_is_one_sentence(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    one_run(grid)

    with pytest.raises(
        UserError, match="nothing to draw: study: 0 of 1 runs, those with val/acc above 95 %"
    ):
        parallel.main(["study", "--above", "0.95"])


@pytest.mark.slow
def test_odd_names_draw(tmp_path: Path) -> None:
    runs, history = odd_frames()
    parallels = parallel_info(runs, "val/acc", grid="数据 $")
    with new_figure(*size_inches(parallels)) as figure:
        draw_parallel(parallels, figure.add_subplot())
        save(figure, tmp_path / "parallel.svg")
    with new_figure(5, 4) as figure:
        draw_curves(
            curves_info(runs, history, "val/acc", "name", grid="数据 $"), figure.add_subplot()
        )
        save(figure, tmp_path / "curves.png")

    assert "<path" in (tmp_path / "parallel.svg").read_text()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
