from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SpecError
from jobs.gridfile import GridSpec, load_grid

Load = Callable[..., GridSpec]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *overrides: str, **options: Any) -> GridSpec:
        path = Path("study.yaml")
        path.write_text("task: mnist\n" + text)
        return load_grid(path, overrides=overrides, **options)

    return load_text


def rows(grid: GridSpec, *names: str) -> list[tuple[Any, ...]]:
    return [
        tuple({**run.settings.values(), "seed": run.seed}[name] for name in names)
        for run in grid.runs()
    ]


@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        ("grid: {lr: [0.1, 0.2], model: [dense, cnn]}", "lr=0.5", [(0.5, "dense"), (0.5, "cnn")]),
        ("grid: {lr: [0.1], model: [cnn]}", "lr=1e-3, 2", [(0.001, "cnn"), (2.0, "cnn")]),
        ("grid: {model: [dense, cnn]}", "model=cnn", [(0.001, "cnn")]),
        ("fixed: {lr: 0.1}\ngrid: {model: [dense, cnn]}", "lr=0.5", [(0.5, "dense"), (0.5, "cnn")]),
        ("fixed: {lr: 0.1, model: cnn}", "lr=0.5,0.6", [(0.5, "cnn"), (0.6, "cnn")]),
        (
            "grid: {model: [dense, cnn]}",
            "lr=1,2",
            [(1, "dense"), (2, "dense"), (1, "cnn"), (2, "cnn")],
        ),
        ("zip: {lr: [1, 2], model: [dense, cnn]}", "lr=8,9", [(8, "dense"), (9, "cnn")]),
        ("zip: {lr: [1, 2]}", "lr=5", [(5, "dense")]),
        (
            "random: {samples: 2, lr: {uniform: [1, 2]}, model: {choice: [cnn]}}",
            "lr=5",
            [(5, "cnn")],
        ),
        ("random: {samples: 9, lr: {uniform: [1, 2]}}", "lr=5,6", [(5, "dense"), (6, "dense")]),
        (
            "grid: {lr: [1]}",
            "lr=logspace(1e-2,1,3)",
            [(0.01, "dense"), (0.1, "dense"), (1, "dense")],
        ),
        ("include: [{model: cnn}, {lr: 3}]", "lr=5", [(5, "dense"), (5, "cnn")]),
        (
            "union: [{fixed: {lr: 1}}, {grid: {lr: [2]}, fixed: {model: cnn}}]",
            "lr=5",
            [(5, "dense"), (5, "cnn")],
        ),
        ("fixed: {lr: 9}\nunion: [{}, {fixed: {model: cnn}}]", "lr=5", [(5, "dense"), (5, "cnn")]),
    ],
)
def test_a_setting_is_replaced_wherever_it_stands(
    load: Load, text: str, override: str, expected: Sequence[tuple[Any, ...]]
) -> None:
    assert rows(load(text, override), "lr", "model") == expected


def test_a_conditional_setting_stays_conditional(load: Load) -> None:
    text = "grid: {optimizer: [sgd, adam]}\nwhen: [{if: {optimizer: sgd}, grid: {lr: [0.1, 0.2]}}]"

    assert rows(load(text, "lr=0.5"), "optimizer", "lr") == [("sgd", 0.5), ("adam", 0.001)]


def test_a_setting_that_is_fixed_and_conditional_is_replaced_in_both_places(load: Load) -> None:
    text = (
        "fixed: {lr: 1}\ngrid: {optimizer: [sgd, adam]}\nwhen: "
        "[{if: {optimizer: sgd}, fixed: {lr: 2}}]\n"
        "include: [{model: cnn}]"
    )

    assert rows(load(text, "lr=5,6"), "optimizer", "lr", "model") == [
        ("sgd", 5, "dense"),
        ("sgd", 6, "dense"),
        ("adam", 5, "dense"),
        ("adam", 6, "dense"),
        ("adam", 5, "cnn"),
        ("adam", 6, "cnn"),
    ]


def test_included_points_keep_out_of_a_conditional_setting_they_do_not_name(load: Load) -> None:
    text = (
        "grid: {optimizer: [sgd]}\nwhen: [{if: {optimizer: sgd}, fixed: {lr: 2}}]\n"
        "include: [{model: cnn}, {model: cnn, lr: 3}]"
    )

    assert rows(load(text, "lr=5"), "model", "lr") == [("dense", 5), ("cnn", 0.001), ("cnn", 5)]


@pytest.mark.parametrize("value", ["0.1", "1e-1", "0.10", ".1"])
def test_overrides_are_typed_like_the_file(load: Load, value: str) -> None:
    assert (
        next(load("", f"lr={value}").runs()).run_id == next(load("fixed: {lr: 0.1}").runs()).run_id
    )


@pytest.mark.parametrize(("seeds", "expected"), [("3", [0, 1, 2]), ("5,1", [5, 1]), ("7,", [7])])
def test_seeds_are_replaced_in_every_block(load: Load, seeds: str, expected: list[int]) -> None:
    grid = load("union: [{seeds: 9}, {fixed: {model: cnn}}]", seeds=seeds)

    assert rows(grid, "seed") == [(seed,) for seed in expected * 2]


def test_the_fallback_data_set_is_part_of_the_identity(load: Load) -> None:
    assert rows(load("grid: {lr: [1, 2]}", data="digits"), "data") == [("digits",)] * 2
    assert (
        next(load("", data="digits").runs()).run_id
        == next(load("fixed: {data: digits}").runs()).run_id
        != next(load("").runs()).run_id
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr=fast", "--set lr=fast: expected a number > 0, got 'fast'"),
        ("lr=0.1,,2", "--set lr=0.1,,2: expected a number > 0, got nothing"),
        ("lr=", "--set lr=: expected a number > 0, got nothing"),
        ("lr", "--set lr: expected NAME=VALUE or NAME=VALUE,VALUE, such as lr=0.01,0.001"),
        ("=3", "--set =3: expected NAME=VALUE or NAME=VALUE,VALUE, such as lr=0.01,0.001"),
        ("seed=3", "--set seed=3: seeds are given with --seeds 5 or --seeds 1,2,3"),
        (
            "lr=logspace(0,1,3)",
            "--set lr=logspace(0,1,3): expected bounds > 0 (they are values, not exponents), got",
        ),
        ("lr=logspace(1)", "--set lr=logspace(1): expected numbers [lo, hi, n], got 1 values"),
        (
            "optimizer=sdg",
            "--set optimizer=sdg: expected one of sgd, adam, "
            "adamw, rmsprop, got 'sdg' (did you mean",
        ),
        (
            "optimiser=sgd",
            "--set optimiser=sgd: unknown setting 'optimiser' (did you mean 'optimizer'? known: ",
        ),
        ("epochs=" + "9" * 5000, "--set epochs=9999"),
    ],
)
def test_a_faulty_override_is_one_sentence(load: Load, override: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("", override)

    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("seeds", ["x", "", "0", "1,x", "1,1", "-1,2", "1.5"])
def test_faulty_seeds_are_one_sentence(load: Load, seeds: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("", seeds=seeds)

    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(f"--seeds {seeds}: expected ")


def test_a_setting_that_moves_with_others_needs_as_many_values(load: Load) -> None:
    with pytest.raises(SpecError) as caught:
        load("zip: {lr: [1, 2], hidden: [3, 4]}", "lr=5")

    assert str(caught.value) == (
        "--set lr=5: expected 2 values, as lr moves together with hidden (study.yaml:2), got 1"
    )


def test_a_setting_given_twice_is_a_fault(load: Load) -> None:
    with pytest.raises(
        SpecError, match="--set lr=2: lr is given twice; write one list such as lr=A,B"
    ):
        load("", "lr=1", "lr=2")


def test_faults_of_the_file_and_of_the_command_line_come_together(load: Load) -> None:
    with pytest.raises(SpecError) as caught:
        load("fixed: {lr: x}", "lr=y", seeds="z")

    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "study.yaml:2",
        "--set lr=y",
        "--seeds z",
    ]
