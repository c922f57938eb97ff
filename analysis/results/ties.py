"""Mark the best row of a table, those not distinguished from it, and those equivalent to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.results.margin import Margin, margin_of, render_difference
from analysis.results.plan import Plan, TiedOption
from analysis.results.rows import Row
from analysis.stats.intervals import Array
from analysis.stats.multiple_comparisons import (
    Pairing,
    TiedMethod,
    TiedSet,
    choose_pairing,
    effect,
    tied_set,
)
from analysis.stats.power import ALPHA, resolution_line
from analysis.text.levels import none_if_nan
from anlp.core.metrics import higher_is_better

TEST_NAMES = {
    "welch": "one-sided Welch tests",
    "moderated": "one-sided moderated t tests (variances shrunk, Smyth 2004)",
    "pooled": "one-sided t tests with one pooled variance",
    "paired": "one-sided t tests paired by seed",
}


@dataclass(frozen=True, slots=True)
class Ties:
    """How the daggers of a table, or of one group of its rows, came about."""

    method: TiedMethod | None  # None: nothing was tested
    n_tests: int
    pairing: Pairing | None  # None: configurations do not have the same seeds
    notes: tuple[str, ...]
    # ids of the best configuration and of all that are not distinguished from it, shown or not
    top: tuple[str, ...] = ()
    margin: Margin | None = None  # None: unknown, nothing is called equivalent


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The tests of a family of rows against its best row."""

    best: Row
    places: Mapping[str, int]  # id of a configuration -> its index in the family
    sign: float  # 1 where higher is better, else -1
    tested: TiedSet | None  # parallel to the family; None: nothing was tested
    margin: float  # NaN: nothing is equivalent
    level: float  # of the intervals of all differences together


def mark_rows(
    shown: Sequence[Row], pool: Sequence[Row], samples: int | None, plan: Plan
) -> tuple[list[Row], Ties]:
    """Return the rows with the best one marked, and those that are as good for all that is known.

    The best is the one that the selection metric selects; the reported metric takes no part in
    that. A table sorted by the reported metric has no best.

    Args:
        shown: the rows of the table, or of a group.
        pool: the rows of all configurations that were candidates, those shown among them, in the
            order of the selection metric: the family of the tests.
        samples: of the reported split.
        plan: of the table.
    """
    candidates = eligible(pool)
    if not candidates or plan.is_sorted_by_report:
        return list(shown), Ties(None, 0, None, ())
    best = candidates[0]
    sign = 1.0 if higher_is_better(plan.report) else -1.0
    family = [row for row in pool if row.scores and row.purpose == best.purpose]
    tested, ties = _test(family, family.index(best), sign, plan.tied)
    margin = margin_of(plan, best.mean or 0.0, samples)
    comparison = _Comparison(
        best,
        {row.config_id: place for place, row in enumerate(family)},
        sign,
        tested,
        math.nan if margin is None else margin.value,
        1 - (1 - plan.level) / max(ties.n_tests, 1),
    )
    return [_mark(row, comparison) for row in shown], replace(ties, margin=margin)


def eligible(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that may be the best, in their order: those without lost seeds.

    A configuration that lost seeds is best only where all did: its mean is over the lucky ones.
    """
    scored = [row for row in rows if row.mean is not None]
    selectable = [row for row in scored if row.selected_by is not None] or scored
    return [row for row in selectable if row.is_complete] or selectable


def _test(
    family: Sequence[Row], reference: int, sign: float, option: TiedOption
) -> tuple[TiedSet | None, Ties]:
    """Test every row of the family against the one at index `reference`."""
    if len(family) < 2 or option == "none":
        return None, Ties(None, 0, None, (), tuple(row.config_id for row in family))
    pairing, can_pair = _pairing_of(family, family[reference], sign)
    method: TiedMethod = option
    if option == "welch" and can_pair and pairing is not None and pairing.is_paired:
        method = "paired"
    groups = [sign * _by_seed(row) for row in family]
    complete = [row.is_complete for row in family]
    tested = tied_set(groups, method, reference=reference, in_prior=complete)
    used = tested.method if tested.n_tests else None
    notes = (*tested.notes, *_resolution(family, method))
    return tested, Ties(used, tested.n_tests, pairing, notes, _top(family, tested))


def _top(family: Sequence[Row], tested: TiedSet) -> tuple[str, ...]:
    """Return the ids of tied rows, and of untested ones: those may be as good, as the best is."""
    is_top = tested.is_tied | np.isnan(tested.p)
    return tuple(row.config_id for row, flag in zip(family, is_top, strict=True) if flag)


def _resolution(family: Sequence[Row], method: TiedMethod) -> list[str]:
    """Return the sentence on what the usual number of seeds cannot decide, if there is one."""
    seeds = Counter(row.n for row in family).most_common(1)[0][0]
    line = resolution_line(seeds, len(family), paired=method == "paired")
    return [line] if line else []


def _pairing_of(family: Sequence[Row], best: Row, sign: float) -> tuple[Pairing | None, bool]:
    """Return whether seeds share their luck, and whether every row has all seeds of the best.

    Rows without all those seeds take no part in the first answer.
    """
    seeds = sorted(best.seeds)
    whole = [row for row in family if sorted(row.seeds) == seeds and row.is_complete]
    if len(seeds) < 2 or len(whole) < 2:
        return None, False
    pairing = choose_pairing(sign * np.array([_by_seed(row) for row in whole]))
    return pairing, len(whole) == len(family)


def _mark(row: Row, comparison: _Comparison) -> Row:
    best, tested, sign = comparison.best, comparison.tested, comparison.sign
    place = comparison.places.get(row.config_id)
    if row.config_id == best.config_id:
        return replace(row, is_best=True)
    if tested is None or place is None:
        return row
    sides = sign * np.array(best.scores), sign * np.array(row.scores)
    together = effect(*sides, level=comparison.level)
    lies_within = -comparison.margin <= together.low and together.high <= comparison.margin
    return replace(
        row,
        is_tied=bool(tested.is_tied[place]),
        is_equivalent=bool(lies_within) and row.is_complete,
        p=none_if_nan(float(tested.adjusted[place])),
        effect=effect(*sides),
    )


def _by_seed(row: Row) -> Array:
    """Return the scores in the order of their seeds, where those are known."""
    if len(row.seeds) != row.n:
        return np.array(row.scores)
    return np.array([score for _, score in sorted(zip(row.seeds, row.scores, strict=True))])


def render_ties(ties: Sequence[Ties], rows: Sequence[Row], plan: Plan) -> str:
    """Write the sentences under a table.

    Args:
        ties: one, or one per group.
        rows: of the table.
        plan: of the table.
    """
    tested = [group for group in ties if group.method]
    sentences = []
    if tested:
        sizes = sorted({group.n_tests for group in tested})
        family = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        names = " or ".join(sorted({TEST_NAMES[group.method] for group in tested if group.method}))
        place = f" within each {plan.by}" if plan.by else ""
        sentences.append(
            f"†: not distinguished from the best{place}; {names}, Holm over {family} "
            f"at {100 * ALPHA:g} %."
        )
        sentences += _equivalence(tested, rows, plan)
        sentences.append(_pairing(tested))
    sentences += dict.fromkeys(_sentence(note) for group in ties for note in group.notes)
    return " ".join(sentences)


def _equivalence(tested: Sequence[Ties], rows: Sequence[Row], plan: Plan) -> list[str]:
    """Say what equivalent means, where a row is, and that the daggers do not mean it."""
    margins = [group.margin for group in tested if group.margin is not None]
    if not margins:
        return []
    largest = max(margins, key=lambda margin: margin.value)
    width = f"{render_difference(plan.report, largest.value)} ({largest.reason})"
    if any(row.is_equivalent for row in rows):
        return [
            f"‡: equivalent to the best within {width}: the {100 * plan.level:g} % intervals of "
            "all differences together lie inside."
        ]
    if any(row.is_tied for row in rows):
        return [f"No row is shown to be equivalent to the best within {width}."]
    return []


def _pairing(tested: Sequence[Ties]) -> str:
    pairings = [group.pairing for group in tested if group.pairing is not None]
    if not pairings:
        return "Not paired: the configurations do not share their seeds."
    strongest = max(pairings, key=lambda pairing: pairing.correlation - pairing.break_even)
    is_paired = any(group.method == "paired" for group in tested)
    is_above = is_paired or strongest.is_paired
    correlation = (
        f"the correlation of seeds across configurations, {strongest.correlation:.2f}, is "
        f"{'above' if is_above else 'not above'} {strongest.break_even:.2f} where pairing breaks "
        "even"
    )
    if is_paired:
        return f"Paired by seed: {correlation}."
    if strongest.is_paired:
        return f"Not paired, though {correlation}: not asked for, or seeds are missing."
    return f"Not paired: {correlation}."


def _sentence(note: str) -> str:
    return note if note.endswith(".") else f"{note[0].upper()}{note[1:]}."
