from __future__ import annotations

import math
from typing import Any

import pytest

from anlp.training.early_stopping import best_epoch, should_stop
from anlp.training.schedules import Schedule, count_plateaus


def lrs(kind: str, steps: int = 100, **given: Any) -> list[float]:
    schedule = Schedule(kind, 1.0, steps=steps, steps_per_epoch=10, **given)
    return [schedule.lr_at(step) for step in range(steps)]


def test_none_is_constant() -> None:
    assert set(lrs("none")) == {1.0}


def test_warmup_rises_in_a_line_to_the_peak_and_moves_at_once() -> None:
    assert lrs("none", warmup_steps=4)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_from_the_peak_towards_zero() -> None:
    found = lrs("cosine")

    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.001


def test_cosine_begins_after_the_warmup() -> None:
    found = lrs("cosine", warmup_steps=20)

    assert found[19] == found[20] == 1.0
    assert found[60] == pytest.approx(0.5)


def test_step_decays_every_so_many_epochs() -> None:
    found = lrs("step", decay_every=3, decay_factor=0.5)

    assert [found[step] for step in (0, 29, 30, 59, 60, 99)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]


def test_onecycle_rises_to_the_peak_and_falls_to_almost_nothing() -> None:
    found = lrs("onecycle")

    assert found[0] == pytest.approx(1 / 25)
    assert found[30] == max(found) == 1.0
    assert found[-1] == pytest.approx(1e-4 / 25)
    assert max(lrs("onecycle", warmup_steps=10)) == lrs("onecycle", warmup_steps=10)[10] == 1.0


@pytest.mark.parametrize("kind", ["none", "cosine", "step", "plateau", "onecycle"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_schedule_is_finite_on_the_shortest_trainings(kind: str, steps: int) -> None:
    assert all(math.isfinite(lr) and lr >= 0 for lr in lrs(kind, steps, warmup_steps=5))
    assert all(math.isfinite(lr) and lr >= 0 for lr in lrs(kind, steps))


@pytest.mark.parametrize(
    ("values", "plateaus"),
    [
        ([], 0),
        ([0.5, 0.6, 0.7], 0),
        ([0.5, 0.5, 0.5], 1),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2),
        ([0.5, 0.4, 0.6, 0.5, 0.5], 1),
    ],
)
def test_plateaus_are_counted_anew_after_each_decay(values: list[float], plateaus: int) -> None:
    assert count_plateaus(values, patience=2, higher_is_better=True) == plateaus
    assert (
        count_plateaus([-value for value in values], patience=2, higher_is_better=False) == plateaus
    )


def test_plateau_decays_by_its_history() -> None:
    schedule = Schedule(
        "plateau", 1.0, steps=100, steps_per_epoch=10, decay_patience=2, decay_factor=0.1
    )

    assert schedule.lr_at(50, [0.5, 0.4, 0.4]) == pytest.approx(0.1)


def test_best_epoch_is_the_earliest_of_equals() -> None:
    assert best_epoch([], True) == 0
    assert best_epoch([0.1, 0.3, 0.3], True) == 2
    assert best_epoch([0.1, 0.3, 0.1], False) == 1


def test_stopping_waits_for_its_patience() -> None:
    assert not should_stop([0.3, 0.2], patience=2, higher_is_better=True)
    assert should_stop([0.3, 0.2, 0.3], patience=2, higher_is_better=True)
    assert not should_stop([0.3, 0.2, 0.3], patience=0, higher_is_better=True)
