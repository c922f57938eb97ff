"""Values at the end of stdout."""

from __future__ import annotations

import math
import time

import pytest

from anlp.programs.sources.stdout_values import values_in


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"acc": 0.9, "n": 3, "name": "x", "ok": true}\n', {"acc": 0.9, "n": 3}),
        ('{"acc": 0.5}\nbye\n', {}),
        ('{"acc": 0.9}\n\nwandb: Find logs at: wandb/run\n', {"acc": 0.9}),
        ("{'acc': 0.9}\n", {}),
        ("test_acc: 0.91, test_loss: 0.33\n", {"test_acc": 0.91, "test_loss": 0.33}),
        ("test/acc=0.91 test/loss=.3\n", {"test/acc": 0.91, "test/loss": 0.3}),
        ("epoch 1\nAccuracy: 91.2%\nF1 score: 0.5\n", {"Accuracy": 91.2, "F1 score": 0.5}),
        ("[INFO] 12:01:02 done (acc=0.9; loss=1e-3)\n", {"acc": 0.9, "loss": 0.001}),
        ("2026-01-01 12:01:02 finished\n", {}),
        ("Test set: Average loss: 0.0264, Accuracy: 9917/10000 (99%)\n", {}),
        ("done\n", {}),
        ("", {}),
        ("acc: 0.1\nacc: 0.2\n", {"acc": 0.2}),
    ],
)
def test_values_are_found_only_where_they_are_meant(text: str, values: dict[str, float]) -> None:
    assert values_in(text) == values


def test_nan_and_infinity_are_values() -> None:
    found = values_in("loss: nan, bound: -inf\n")

    assert math.isnan(found["loss"])
    assert found["bound"] == -math.inf
    assert math.isnan(values_in('{"loss": NaN}')["loss"])


@pytest.mark.parametrize(
    "line", ["a " * 16_000, "a=" * 16_000, "1" * 30_000, "{" * 60_000, " " * 60_000 + "x"]
)
def test_strange_lines_take_no_time(line: str) -> None:
    began = time.process_time()

    assert values_in(line) == {}
    assert time.process_time() - began < 2
