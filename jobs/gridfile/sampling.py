"""Computes the values of an axis: even and geometric rows of numbers, and random draws."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from anlp.core.spec import Scalar

Number = int | float
MAX_VALUES = 100_000  # of one axis
FARTHEST = 9.0  # standard deviations from the mean: no draw is farther
LARGEST_EXPONENT = 300.0  # exp of it is a number
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


def _normal_fault(row: Sequence[Number]) -> str | None:
    if row[1] > 0:
        return None
    return f"expected a standard deviation > 0, got {row[1]:g}"


def _lognormal_fault(row: Sequence[Number]) -> str | None:
    if abs(row[0]) + FARTHEST * abs(row[1]) > LARGEST_EXPONENT:
        return f"expected the mean and deviation of ln(x), got {row[0]:g} and {row[1]:g}"
    return _normal_fault(row)


def _beta_fault(row: Sequence[Number]) -> str | None:
    if row[0] > 0 and row[1] > 0:
        return None
    return f"expected a > 0 and b > 0, got {row[0]:g} and {row[1]:g}"


def _in_steps(fault: Callable[[Sequence[Number]], str | None]) -> Callable[..., str | None]:
    """Return the check of a rule whose values are multiples of its last argument."""

    def check(row: Sequence[Number]) -> str | None:
        if row[2] <= 0:
            return f"expected q > 0, got {row[2]:g}"
        return fault(row[:2])

    return check


def _q_bounds_fault(row: Sequence[Number]) -> str | None:
    fault = _in_steps(_bounds_fault)(row)
    if fault is None and _multiples(row)[0] > _multiples(row)[1]:
        return f"expected a multiple of q = {row[2]:g} between {row[0]:g} and {row[1]:g}"
    return fault


def _q_log_bounds_fault(row: Sequence[Number]) -> str | None:
    return _log_bounds_fault(row[:2]) or _q_bounds_fault(row)


def _multiples(row: Sequence[Number]) -> tuple[int, int]:
    """Return the lowest and highest multiple of q within bounds; 1e-9 as in `_range_count`."""
    lo, hi, q = row
    return math.ceil(lo / q - 1e-9), math.floor(hi / q + 1e-9)


ROWS: Mapping[str, Rule] = {
    "logspace": Rule("lo, hi, n", (3,), _log_fault),
    "linspace": Rule("lo, hi, n", (3,), _row_fault),
    "range": Rule("start, stop or start, stop, step", (2, 3), _range_fault),
}
DRAWS: Mapping[str, Rule] = {
    "uniform": Rule("lo, hi", (2,), _bounds_fault),
    "loguniform": Rule("lo, hi", (2,), _log_bounds_fault),
    "int": Rule("lo, hi", (2,), _int_bounds_fault),
    "normal": Rule("mean, std", (2,), _normal_fault),
    "lognormal": Rule("mean and std of ln(x)", (2,), _lognormal_fault),
    "beta": Rule("a, b", (2,), _beta_fault),
    # the same, rounded to multiples of q
    "quniform": Rule("lo, hi, q", (3,), _q_bounds_fault),
    "qloguniform": Rule("lo, hi, q", (3,), _q_log_bounds_fault),
    "qnormal": Rule("mean, std, q", (3,), _in_steps(_normal_fault)),
    "qlognormal": Rule("mean and std of ln(x), q", (3,), _in_steps(_lognormal_fault)),
    "qbeta": Rule("a, b, q", (3,), _in_steps(_beta_fault)),
}
CHOICE = "choice"  # the one way to draw that takes values instead of bounds
WEIGHTS = "weights"  # beside it: how likely each value is, in proportion
_BOUNDED = ("uniform", "loguniform")


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
    """Return draws of one of `DRAWS`; bounds are included.

    Each draw takes one random number, so that a longer row begins with a shorter one.

    Args:
        rule: one of `DRAWS`.
        bounds: its arguments, for which the rule has no fault.
        count: how many.
        rng: where they come from.
        whole: whether to round to whole numbers.
    """
    lo, hi = bounds[:2]
    if rule == "int":
        return [int(lo) + int(rng.random() * (int(hi) - int(lo) + 1)) for _ in range(count)]
    plain = rule.removeprefix("q")
    found: list[Number] = [rounded(_quantile(plain, lo, hi, rng.random())) for _ in range(count)]
    if plain != rule:
        found = [_in_multiples(value, bounds, is_bounded=plain in _BOUNDED) for value in found]
    elif plain in _BOUNDED:
        found = [min(max(value, lo), hi) for value in found]
    return [round(value) for value in found] if whole else found


def _quantile(rule: str, first: Number, second: Number, part: float) -> float:
    """Return the value below which `part` of the draws are; `part` is in [0, 1)."""
    if rule == "uniform":
        return first + (second - first) * part
    if rule == "loguniform":
        return math.exp(math.log(first) + (math.log(second) - math.log(first)) * part)
    if rule == "beta":
        from scipy.special import betaincinv  # a tenth of a second, for those who ask for it

        return float(betaincinv(first, second, part))
    value = NormalDist(first, second).inv_cdf(max(part, 2.0**-54))
    return math.exp(value) if rule == "lognormal" else value


def _in_multiples(value: Number, row: Sequence[Number], *, is_bounded: bool) -> Number:
    """Return the nearest multiple of q, within the bounds; a whole one where q is whole."""
    steps = round(value / row[2])
    if is_bounded:
        lowest, highest = _multiples(row)
        steps = min(max(steps, lowest), highest)
    return rounded(steps * row[2])


def draw_choices(values: Sequence[Scalar], count: int, rng: random.Random) -> list[Scalar]:
    """Return `count` draws among `values`, all equally likely."""
    return [values[int(rng.random() * len(values))] for _ in range(count)]


def draw_weighted(
    values: Sequence[Scalar], weights: Sequence[Number], count: int, rng: random.Random
) -> list[Scalar]:
    """Return `count` draws among `values`, each as likely as its weight is of their sum."""
    limits = list(itertools.accumulate(weights))
    parts = [rng.random() * limits[-1] for _ in range(count)]
    return [values[min(bisect.bisect_right(limits, part), len(values) - 1)] for part in parts]


def weights_fault(weights: Sequence[Number], count: int) -> str | None:
    """Return what is wrong with the weights of `count` values; None: nothing."""
    if len(weights) != count:
        return f"expected a weight for each of the {count} values, got {len(weights)}"
    if min(weights) < 0 or max(weights) == 0:
        return "expected weights >= 0, at least one of them > 0"
    return None
