"""Random draws: of the distribution that they are named after, one random number each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from anlp.core.errors import SpecError
from jobs.gridfile.load import load_grid
from jobs.gridfile.sampling import DRAWS, draw_numbers, draw_weighted, stream


def draw(rule: str, *arguments: float, count: int = 2000, whole: bool = False) -> list[Any]:
    assert DRAWS[rule].fault(arguments) is None
    return list(draw_numbers(rule, arguments, count, stream(0, "lr"), whole))


@pytest.mark.parametrize(
    ("rule", "arguments", "distribution"),
    [
        ("uniform", (-1, 3), stats.uniform(-1, 4)),
        ("loguniform", (1e-4, 0.1), stats.loguniform(1e-4, 0.1)),
        ("normal", (2, 0.5), stats.norm(2, 0.5)),
        ("lognormal", (-3, 1), stats.lognorm(s=1, scale=np.exp(-3))),
        ("beta", (2, 5), stats.beta(2, 5)),
    ],
)
def test_draws_have_the_distribution_of_their_name(
    rule: str, arguments: Sequence[float], distribution: Any
) -> None:
    assert stats.kstest(draw(rule, *arguments), distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("quniform", (0.05, 1, 0.1)),
        ("qloguniform", (8, 1000, 8)),
        ("qnormal", (0, 1, 0.25)),
        ("qlognormal", (3, 1, 16)),
        ("qbeta", (2, 2, 0.1)),
    ],
)
def test_quantised_draws_are_the_plain_ones_rounded_to_multiples(
    rule: str, arguments: Sequence[float]
) -> None:
    plain, step = draw(rule.removeprefix("q"), *arguments[:2]), arguments[2]
    found = draw(rule, *arguments)

    assert max(abs(a - b) for a, b in zip(plain, found, strict=True)) <= step * 0.51
    assert all(abs(value / step - round(value / step)) < 1e-9 for value in found)
    assert all(isinstance(value, type(step)) for value in found)
    if rule in ("quniform", "qloguniform"):
        assert min(found) >= arguments[0]
        assert max(found) <= arguments[1]
    if rule == "quniform":
        assert set(found) == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


@pytest.mark.parametrize("rule", DRAWS)
def test_more_samples_begin_with_the_same_ones(rule: str) -> None:
    arguments = (1, 8, 2)[: DRAWS[rule].counts[0]]

    assert draw(rule, *arguments, count=20)[:5] == draw(rule, *arguments, count=5)


def test_draws_of_whole_settings_are_whole() -> None:
    assert {type(value) for value in draw("normal", 100, 10, count=20, whole=True)} == {int}


def test_weighted_draws_come_in_proportion() -> None:
    counts = Counter(draw_weighted(["a", "b", "c"], [6, 0, 2], 2000, stream(0, "x")))

    assert counts["b"] == 0
    assert 1400 < counts["a"] < 1600


def load(tmp_path: Path, drawn: str) -> list[Any]:
    path = tmp_path / "study.yaml"
    path.write_text(f"task: mnist\nrandom: {{samples: 40, {drawn}}}\n")
    return [spec.settings.values() for spec in load_grid(path).expand().runs]


def test_new_ways_to_draw_are_read_from_a_grid_file(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "lr: {lognormal: [-4, 0.5]}, hidden: {quniform: [32, 256, 32]}, "
        "dropout: {qbeta: [2, 5, 0.05]}, optimizer: {choice: [sgd, adam], weights: [0.9, 0.1]}",
    )

    assert len({values["lr"] for values in found}) == 40
    assert {values["hidden"] for values in found} <= set(range(32, 257, 32))
    assert Counter(values["optimizer"] for values in found)["sgd"] > 30


@pytest.mark.parametrize(
    ("drawn", "fault"),
    [
        ("lr: {normal: [0, 0]}", "random.lr.normal: expected a standard deviation > 0, got 0"),
        ("lr: {normal: [1]}", "random.lr.normal: expected numbers [mean, std], got 1 values"),
        (
            "lr: {lognormal: [0, 100]}",
            "random.lr.lognormal: expected the mean and deviation of ln(x), got 0 and 100",
        ),
        ("lr: {beta: [0, 1]}", "random.lr.beta: expected a > 0 and b > 0, got 0 and 1"),
        ("lr: {quniform: [0, 1, 0]}", "random.lr.quniform: expected q > 0, got 0"),
        (
            "lr: {quniform: [0.1, 0.2, 3]}",
            "random.lr.quniform: expected a multiple of q = 3 between 0.1 and 0.2",
        ),
        ("lr: {qloguniform: [0, 1, 1]}", "random.lr.qloguniform: expected bounds > 0"),
        (
            "model: {choice: [cnn, dense], weights: [1]}",
            "random.model.weights: expected a weight for each of the 2 values, got 1",
        ),
        (
            "model: {choice: [cnn, dense], weights: [0, 0]}",
            "random.model.weights: expected weights >= 0, at least one of them > 0",
        ),
        (
            "model: {choice: [cnn, dense], weights: [a, 1]}",
            "random.model.weights: expected numbers [one for each value], got 'a'",
        ),
        ("model: {choice: [cnn], weights: [1], x: 1}", "random.model: unknown key 'x'"),
        ("lr: {normalx: [0, 1]}", "did you mean 'normal'?"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path: Path, drawn: str, fault: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(tmp_path, drawn)

    assert fault in str(refused.value)
    assert len(refused.value.faults) == 1
