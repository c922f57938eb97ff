"""The words of a plan about where its runs come from."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from jobs.gridfile import GridSpec, load_grid
from jobs.runs.plan import make_plan
from jobs.views.plan import print_runs, render_product


def load(tmp_path: Path, text: str) -> GridSpec:
    path = tmp_path / "study.yaml"
    path.write_text(f"task: mnist\n{text}")
    return load_grid(path)


@pytest.mark.parametrize(
    ("text", "runs", "product"),
    [
        ("grid: {lr: [0.1, 0.2], model: [dense, cnn]}\nseeds: 3", 12, "2 lr x 2 model x 3 seed"),
        ("grid: {lr: [0.1]}", 1, ""),
        (
            "random: {samples: 3, lr: {loguniform: [0.01, 1]}, dropout: {uniform: [0, 0.5]}}\n"
            "grid: {model: [dense, cnn]}\nseeds: 3\nexclude: ['model=cnn seed>0']",
            12,
            "3 random x 2 model x 3 seed, 6 excluded",
        ),
        (
            "zip: {lr: [0.1, 0.2, 0.3], epochs: [1, 2, 3]}\nseeds: 2",
            6,
            "3 zip of lr, epochs x 2 seed",
        ),
        (
            "grid: {lr: [0.1, 0.2]}\ninclude: [{lr: 0.5}]\nseeds: 2",
            6,
            "(2 lr + 1 included) x 2 seed",
        ),
        (
            "grid: {model: [dense, cnn], filters: [8, 16]}",
            3,
            "2 model x 2 filters, 1 equal to others",
        ),
        (
            "union:\n  - {grid: {lr: [0.1, 0.2]}}\n"
            "  - {fixed: {model: cnn}, grid: {filters: [8, 16, 32]}}",
            5,
            "2 lr + 3 filters",
        ),
        (
            "grid: {model: [dense, cnn]}\nwhen: [{if: {model: cnn}, grid: {filters: [8, 16]}}]",
            3,
            "3 combinations, some by when",
        ),
    ],
)
def test_the_product_says_where_the_runs_come_from(
    tmp_path: Path, text: str, runs: int, product: str
) -> None:
    grid = load(tmp_path, text)
    expansion = grid.expand()

    assert len(expansion.runs) == runs
    assert render_product(grid, expansion) == product


HUGE = "grid: {lr: {range: [1, 3001]}, epochs: {range: [1, 3001]}, batch_size: {range: [1, 3001]}}"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", r"more than 200,000 runs: .* \(the lists have 27,000,000,000 combinations\)"),
        (
            "exclude: ['lr>5']",
            "27,000,000,000 combinations or more, .* at most 2,000,000 are tried",
        ),
    ],
)
def test_the_size_of_a_product_is_known_without_expanding_it(
    tmp_path: Path, more: str, said: str
) -> None:
    grid = load(tmp_path, f"{HUGE}\n{more}")
    begun = time.process_time()

    with pytest.raises(SpecError, match=said):
        grid.expand(200_000)

    assert time.process_time() - begun < 0.5
    assert grid.size_hint == math.prod([3000] * 3)


def test_of_very_many_runs_the_first_and_the_last_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = load(tmp_path, "grid: {lr: {logspace: [0.001, 0.1, 1200]}}\nseeds: 2").expand().runs

    print_runs(make_plan(specs, {}, "none"))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22
    assert lines[11] == "… and 2,380 more: --json lists all, --only FILTER some"
    assert [line.split()[0] for line in (lines[1], lines[-1])] == [
        specs[0].run_id,
        specs[-1].run_id,
    ]


def test_drawn_numbers_are_shown_with_as_many_digits_as_tell_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = load(tmp_path, "grid: {lr: [0.000575651277252, 0.1], dropout: [0.123456, 0.123457]}")

    print_runs(make_plan(specs.expand().runs, {}, "none"))

    assert capsys.readouterr().out.splitlines()[1].split()[2:] == ["0.000575651", "0.123456"]
