"""Computes the values of an axis: even and geometric rows of numbers, and random draws."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anlp.core.spec import Scalar

Number = int | float
MAX_VALUES = 100_000  # of one axis
DIGITS = 12  # significant digits of a computed value: 0.001, not 0.0010000000000000002


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to compute values.

    Args:
        arguments: their names.
        counts: how many there may be.
        fault: what is wrong with given ones; None: nothing.
    """

    arguments: str
    counts: tuple[int, ...]
    fault: Callable[[Sequence[Number]], str | None]


def _row_fault(row: Sequence[Number]) -> str | None:
    if not isinstance(row[2], int) or not 1 <= row[2] <= MAX_VALUES:
        return f"expected a number of values from 1 to {MAX_VALUES:,}, got {row[2]:g}"
    return None


def _log_fault(row: Sequence[Number]) -> str | None:
    if row[0] <= 0 or row[1] <= 0:
        return (
            f"expected bounds > 0 (they are values, not exponents), got {row[0]:g} and {row[1]:g}"
        )
    return _row_fault(row)


def _range_fault(row: Sequence[Number]) -> str | None:
    step = row[2] if len(row) == 3 else 1
    if step == 0:
        return "expected a step other than 0"
    count = _range_count(row)
    if count < 1:
        return "empty axis: the step leads away from stop (stop itself is left out)"
    if count > MAX_VALUES:
        return f"expected at most {MAX_VALUES:,} values, got {count:,.0f}"
    return None


def _bounds_fault(bounds: Sequence[Number]) -> str | None:
    if bounds[0] < bounds[1]:
        return None
    return f"expected lo < hi, got {bounds[0]:g} and {bounds[1]:g}"


def _log_bounds_fault(bounds: Sequence[Number]) -> str | None:
    return _log_fault([*bounds, 1]) or _bounds_fault(bounds)


def _int_bounds_fault(bounds: Sequence[Number]) -> str | None:
    if not all(isinstance(bound, int) for bound in bounds):
        return f"expected whole bounds, got {bounds[0]:g} and {bounds[1]:g}"
    return _bounds_fault(bounds)


ROWS: Mapping[str, Rule] = {
    "logspace": Rule("lo, hi, n", (3,), _log_fault),
    "linspace": Rule("lo, hi, n", (3,), _row_fault),
    "range": Rule("start, stop or start, stop, step", (2, 3), _range_fault),
}
DRAWS: Mapping[str, Rule] = {
    "uniform": Rule("lo, hi", (2,), _bounds_fault),
    "loguniform": Rule("lo, hi", (2,), _log_bounds_fault),
    "int": Rule("lo, hi", (2,), _int_bounds_fault),
}
CHOICE = "choice"  # the one way to draw that takes values instead of bounds


def row_values(rule: str, row: Sequence[Number]) -> list[Number]:
    """Return the values of `logspace`, `linspace` or `range`; the arguments have no `Rule.fault`.

    `logspace` and `linspace` hold both ends, `range` leaves stop out. Values have 12 significant
    digits; a range of whole numbers stays whole.

    >>> row_values("logspace", [0.001, 0.1, 3])
    [0.001, 0.01, 0.1]
    >>> row_values("range", [1, 7, 2])
    [1, 3, 5]
    """
    if rule == "range":
        step = row[2] if len(row) == 3 else 1
        return [rounded(row[0] + index * step) for index in range(int(_range_count(row)))]
    lo, hi, count = row[0], row[1], int(row[2])
    parts = [index / (count - 1) for index in range(count)] if count > 1 else [0.0]
    if rule == "linspace":
        return [rounded(lo + (hi - lo) * part) for part in parts]
    return [
        rounded(math.exp(math.log(lo) + (math.log(hi) - math.log(lo)) * part)) for part in parts
    ]


def rounded(value: Number) -> Number:
    """Return a computed number without its last, accidental digits; whole numbers stay."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _range_count(row: Sequence[Number]) -> float:
    """Return how many values a range has; 1e-9 allows for (1 - 0) / 0.1 not being exactly 10."""
    step = row[2] if len(row) == 3 else 1
    return math.ceil((row[1] - row[0]) / step - 1e-9)


def stream(sampling_seed: int, name: str) -> random.Random:
    """Return the generator of one axis, whose draws do not depend on other axes."""
    return random.Random(f"{sampling_seed}/{name}")


def draw_numbers(
    rule: str, bounds: Sequence[Number], count: int, rng: random.Random, whole: bool
) -> list[Number]:
    """Return draws of `uniform`, `loguniform` or `int` (both ends included).

    Args:
        rule: one of `DRAWS`.
        bounds: the lowest and the highest value.
        count: how many.
        rng: where they come from.
        whole: whether to round to whole numbers.
    """
    lo, hi = bounds
    if rule == "int":
        return [int(lo) + int(rng.random() * (int(hi) - int(lo) + 1)) for _ in range(count)]
    if rule == "uniform":
        found = [lo + (hi - lo) * rng.random() for _ in range(count)]
    else:
        found = [
            math.exp(math.log(lo) + (math.log(hi) - math.log(lo)) * rng.random())
            for _ in range(count)
        ]
    within = [min(max(rounded(value), lo), hi) for value in found]
    return [round(value) for value in within] if whole else within


def draw_choices(values: Sequence[Scalar], count: int, rng: random.Random) -> list[Scalar]:
    """Return `count` draws among `values`, all equally likely."""
    return [values[int(rng.random() * len(values))] for _ in range(count)]
