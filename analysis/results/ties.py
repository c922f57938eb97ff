"""Mark the best rows of a table and those tied with the best: family, test, and its resolution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.results.plan import TiedOption
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
    # ids of the best configuration and of all that are tied with it, shown or not
    top: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The tests of a family of rows against its best row."""

    best: Row
    places: Mapping[str, int]  # id of a configuration -> its index in the family
    sign: float  # 1 where higher is better, else -1
    tested: TiedSet | None  # parallel to the family; None: nothing was tested


def mark_rows(
    shown: Sequence[Row], pool: Sequence[Row], report: str, option: TiedOption
) -> tuple[list[Row], Ties]:
    """Return the rows with the best and the tied ones marked.

    A configuration that lost seeds is best only where all did: its mean is over the lucky ones.
    Where some rows are confirmed, one of those is the best: the others are optimistic.

    Args:
        shown: the rows of the table, or of a group.
        pool: the rows of all configurations that were candidates, those shown among them: the
            family of the tests.
        report: the metric.
        option: which tests.
    """
    eligible = _eligible(shown)
    if not eligible:
        return list(shown), Ties(None, 0, None, ())
    sign = 1.0 if higher_is_better(report) else -1.0
    best = max(eligible, key=lambda row: sign * (row.mean or 0.0))
    family = [row for row in pool if row.scores and row.purpose == best.purpose]
    tested, ties = _test(family, family.index(best), sign, option)
    places = {row.config_id: place for place, row in enumerate(family)}
    comparison = _Comparison(best, places, sign, tested)
    best_ids = {row.config_id for row in eligible if row.mean == best.mean}
    return [_mark(row, comparison, best_ids) for row in shown], ties


def _eligible(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that may be the best: confirmed ones before others, then complete ones."""
    scored = [row for row in rows if row.mean is not None]
    confirmed = [row for row in scored if row.purpose == "confirm"] or scored
    return [row for row in confirmed if row.is_complete] or confirmed


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


def _mark(row: Row, comparison: _Comparison, best_ids: set[str]) -> Row:
    is_best = row.config_id in best_ids
    best, tested, sign = comparison.best, comparison.tested, comparison.sign
    place = comparison.places.get(row.config_id)
    if row.config_id == best.config_id or tested is None or place is None:
        return replace(row, is_best=is_best)
    return replace(
        row,
        is_best=is_best,
        is_tied=bool(tested.is_tied[place]) and not is_best,
        p=none_if_nan(float(tested.adjusted[place])),
        effect=effect(sign * np.array(best.scores), sign * np.array(row.scores)),
    )


def _by_seed(row: Row) -> Array:
    """Return the scores in the order of their seeds, where those are known."""
    if len(row.seeds) != row.n:
        return np.array(row.scores)
    return np.array([score for _, score in sorted(zip(row.seeds, row.scores, strict=True))])


def render_ties(ties: Sequence[Ties], within: str = "") -> str:
    """Write the sentences under a table.

    Args:
        ties: one, or one per group.
        within: the setting that groups the rows, for "within each model".
    """
    tested = [group for group in ties if group.method]
    sentences = []
    if tested:
        sizes = sorted({group.n_tests for group in tested})
        family = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        names = " or ".join(sorted({TEST_NAMES[group.method] for group in tested if group.method}))
        place = f" within each {within}" if within else ""
        sentences.append(
            f"†: tied with the best{place}; {names}, Holm over {family} at {100 * ALPHA:g} %."
        )
        sentences.append(_pairing(tested))
    sentences += dict.fromkeys(_sentence(note) for group in ties for note in group.notes)
    return " ".join(sentences)


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
