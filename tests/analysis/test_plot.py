"""`python -m analysis.plot`: every kind draws, twice the same, and says in one sentence what it
cannot do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import plot
from analysis.data.load import load
from analysis.plots.catalogue import KINDS
from analysis.plots.chart import Chart, save_chart
from analysis.text.frames import render_frame
from anlp.core.errors import UserError
from anlp.records.files import read_json, write_json
from tests.support.paths import ROOT
from tests.support.run_folders import Grid

ORIGINS = [
    {"label": "a", "becomes": "a_1", "train": 2, "test": 1},
    {"label": "b", "becomes": "b", "train": 1, "test": 1},
    {"label": "c", "becomes": "", "train": 4, "test": 0},
]
OF_QUANTITIES = ("scatter", "correlations")


@pytest.fixture
def study(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """Everything that a kind may want: two settings, seeds, curves, norms, classes, predictions,
    pictures, a plane.
    """
    monkeypatch.chdir(grid.path.parent.parent)
    rng = np.random.default_rng(0)
    plane = np.array([[x, y] for y in range(3) for x in range(3)], dtype=float)
    targets = rng.integers(0, 2, 30)
    for lr in (0.1, 0.01):
        for optimizer in ("adam", "sgd"):
            for seed in range(2):
                score = float(rng.uniform(0.5, 0.9))
                history = [
                    {"epoch": e, "val/acc": score, "train/acc": 1.0, "grad_norm/000": e + 1}
                    for e in range(9)
                ]
                folder = grid.add(
                    score,
                    metrics={"val/loss": 1 - score},
                    lr=lr,
                    optimizer=optimizer,
                    seed=seed,
                    history=history,
                )
                form = read_json(folder.result) or {}
                counts = {
                    "names": ["a_1", "b"],
                    "counts": {"train": [3, 1], "test": [1, 1]},
                    "origins": ORIGINS,
                }
                write_json(folder.result, {**form, "seconds": 60.0, "provenance": {"data": counts}})
                arrays: dict[str, Any] = {
                    "outputs": rng.normal(size=(30, 2)), "targets": targets,
                    "names": np.array(["a_1", "b"]),
                    "noted": np.arange(5), "noted_inputs": rng.random((5, 1, 4, 4)),
                    "pieces": [3, 5], "piece_inputs": rng.integers(0, 256, (2, 7, 140), np.uint8),
                    "piece_lengths": [7, 4], "piece_low": np.zeros(140), "piece_high": np.ones(140),
                    "probe": plane, "probe_outputs": rng.normal(size=(9, 2)),
                    "points": rng.random((30, 2)),
                }  # fmt: skip
                np.savez(folder.predictions, **arrays)
    return grid


def chart_of(study: Grid, kind: str) -> Chart:
    return KINDS[kind].build(load(study.path))


def test_every_kind_has_a_row_in_the_page_of_charts() -> None:
    table = [line for line in (ROOT / "docs/charts.md").read_text().splitlines() if "| " in line]
    named = {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}

    assert set(KINDS) - named == set()


CLASSES = sorted(set(KINDS) - set(OF_QUANTITIES))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASSES)
def test_every_kind_draws_the_same_bytes_twice_with_a_table_and_words(
    study: Grid, tmp_path: Path, kind: str
) -> None:
    for name in ("a", "b"):
        save_chart(chart_of(study, kind), tmp_path / f"{name}.svg")

    chart = chart_of(study, kind)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert len(chart.table)
    assert chart.title.startswith("study: ")
    assert len(chart.alt) > len(chart.title)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_pictures_have_no_dates(study: Grid, tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        save_chart(chart_of(study, "box"), tmp_path / f"{name}.{suffix}")

    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", OF_QUANTITIES)
def test_quantities_are_drawn(grid: Grid, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    true = rng.random(12)
    for seed in range(2):
        arrays: dict[str, Any] = {
            "outputs": true[:, None] + rng.normal(0, 0.1, (12, 1)),
            "targets": true,
            "names": ["energy"],
        }
        np.savez(grid.add(0.9, seed=seed).predictions, **arrays)

    save_chart(chart_of(grid, kind), tmp_path / "chart.png")

    assert (tmp_path / "chart.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_picture_lies_in_the_grids_folder_with_its_table(
    study: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["box", "study", "--by", "lr"]) == 0

    assert capsys.readouterr().out.splitlines() == ["runs/study/box.png", "runs/study/box.csv"]
    assert (study.path / "box.csv").read_text().startswith("run_id,lr,")


@pytest.mark.slow
def test_several_formats_are_written_at_once(
    study: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["sweep", "study", "--format", "svg,pdf", "-o", "out/sweep.svg"]) == 0

    assert {path.name for path in Path("out").iterdir()} == {"sweep.svg", "sweep.pdf", "sweep.csv"}


@pytest.mark.slow
def test_a_report_is_a_table_on_the_screen(study: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert plot.main(["report", "study", "--format", "latex"]) == 0
    assert r"a\_1 & " in capsys.readouterr().out
    assert plot.main(["report", "study"]) == 0
    assert "macro mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["box", "study", "--by", "dropuot"],
            "--by: setting 'dropuot' is unknown (did you mean 'dropout'?",
        ),
        (
            ["sweep", "study", "--x", "optimizer"],
            "--x optimizer: expected a setting whose values are numbers",
        ),
        (["heatmap", "study", "--x", "lr", "--y", "lr"], "--x and --y are both lr"),
        (
            ["lines", "study", "--metric", "val/lss"],
            "--metric 'val/lss' is unknown (did you mean 'val/loss'?",
        ),
        (
            ["box", "study", "--format", "gif"],
            "--format: expected one of png, svg, pdf, text, md, csv, latex, got 'gif'",
        ),
        (["box", "study", "-o", "a.gif"], "--out a.gif: expected one of png,"),
        (["box", "study", "--only", "lr=7"], "leaves none of 8 runs"),
        (
            ["evp", "study", "--only", "seed=0", "--by", "nothing"],
            "--by: setting 'nothing' is unknown",
        ),
    ],
)
def test_mistakes_at_a_chart_are_one_sentence(study: Grid, argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        plot.main(argv)


def test_help_has_an_example_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plot.main(["--help"])

    printed = capsys.readouterr().out
    assert all(f"python -m analysis.plot {kind} " in printed for kind in KINDS)


def test_a_frame_in_words_keeps_odd_names() -> None:
    import pandas as pd

    frame = pd.DataFrame({"class": ["a|b", "数据"], "share": [0.5, float("nan")]})

    assert render_frame(frame, "md").splitlines()[2] == r"| a\|b | 0.5 |"
    assert render_frame(frame, "text").splitlines()[2] == "数据       –"
