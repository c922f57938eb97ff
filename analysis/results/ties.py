"""Which rows of a table are best, and which are tied with the best: the family, the test and what it can decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

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
from anlp.core.metrics import higher_is_better

TiedOption = Literal["welch", "moderated", "pooled", "none"]
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
    top: tuple[
        str, ...
    ] = ()  # ids of the best configuration and of all that are tied with it, shown or not


def mark_rows(
    shown: Sequence[Row], pool: Sequence[Row], report: str, option: TiedOption
) -> tuple[list[Row], Ties]:
    """The rows with the best and the tied ones marked.

    A configuration that lost seeds is best only where all did: its mean is over the lucky ones. Where some rows are
    confirmed, one of those is the best: the others are optimistic.

    Args:
        shown: the rows of the table, or of a group.
        pool: the rows of all configurations that were candidates, those shown among them: the family of the tests.
        report: the metric.
        option: which tests.
    """
    sign = 1.0 if higher_is_better(report) else -1.0
    scored = [row for row in shown if row.mean is not None]
    confirmed = [row for row in scored if row.purpose == "confirm"] or scored
    eligible = [row for row in confirmed if row.is_complete] or confirmed
    if not eligible:
        return list(shown), Ties(None, 0, None, ())
    best = max(eligible, key=lambda row: sign * (row.mean or 0.0))
    family = [row for row in pool if row.scores and row.purpose == best.purpose]
    found, ties = _test(family, family.index(best), sign, option)
    place = {row.config_id: index for index, row in enumerate(family)}
    is_best = {row.config_id for row in eligible if row.mean == best.mean}
    return [
        _mark(row, best, row.config_id in is_best, found, place.get(row.config_id), sign)
        for row in shown
    ], ties


def _test(
    family: Sequence[Row], reference: int, sign: float, option: TiedOption
) -> tuple[TiedSet | None, Ties]:
    if len(family) < 2 or option == "none":
        return None, Ties(None, 0, None, (), tuple(row.config_id for row in family))
    pairing, can_pair = _pairing_of(family, family[reference], sign)
    method: TiedMethod = (
        "paired" if option == "welch" and can_pair and pairing and pairing.is_paired else option
    )
    groups, complete = [sign * _by_seed(row) for row in family], [row.is_complete for row in family]
    found = tied_set(groups, method, reference=reference, in_prior=complete)
    seeds = Counter(row.n for row in family).most_common(1)[0][0]
    line = resolution_line(seeds, len(family), paired=method == "paired")
    is_top = found.is_tied | np.isnan(
        found.p
    )  # untested ones may be as good, and so is the reference
    top = tuple(row.config_id for row, flag in zip(family, is_top, strict=True) if flag)
    notes = (*found.notes, *([line] if line else []))
    return found, Ties(found.method if found.n_tests else None, found.n_tests, pairing, notes, top)


def _pairing_of(family: Sequence[Row], best: Row, sign: float) -> tuple[Pairing | None, bool]:
    """Whether seeds share their luck, told by the rows that have all seeds of the best, and whether all rows have."""
    seeds = sorted(best.seeds)
    whole = [row for row in family if sorted(row.seeds) == seeds and row.is_complete]
    if len(seeds) < 2 or len(whole) < 2:
        return None, False
    pairing = choose_pairing(sign * np.array([_by_seed(row) for row in whole]))
    return pairing, len(whole) == len(family)


def _mark(
    row: Row, best: Row, is_best: bool, found: TiedSet | None, place: int | None, sign: float
) -> Row:
    if row.config_id == best.config_id or found is None or place is None:
        return replace(row, is_best=is_best)
    p = float(found.adjusted[place])
    return replace(
        row,
        is_best=is_best,
        is_tied=bool(found.is_tied[place]) and not is_best,
        p=None if np.isnan(p) else p,
        effect=effect(sign * np.array(best.scores), sign * np.array(row.scores)),
    )


def _by_seed(row: Row) -> Array:
    """The scores in the order of their seeds, where those are known."""
    if len(row.seeds) != row.n:
        return np.array(row.scores)
    return np.array([score for _, score in sorted(zip(row.seeds, row.scores, strict=True))])


def render_ties(ties: Sequence[Ties], within: str = "") -> str:
    """The sentences under a table.

    Args:
        ties: one, or one per group.
        within: the setting that groups the rows, for "within each model".
    """
    tested = [one for one in ties if one.method]
    sentences = []
    if tested:
        sizes = sorted({one.n_tests for one in tested})
        family = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        names = " or ".join(sorted({TEST_NAMES[one.method] for one in tested if one.method}))
        place = f" within each {within}" if within else ""
        sentences.append(
            f"†: tied with the best{place}; {names}, Holm over {family} at {100 * ALPHA:g} %."
        )
        sentences += _pairing(tested)
    sentences += dict.fromkeys(_sentence(note) for one in ties for note in one.notes)
    return " ".join(sentences)


def _pairing(tested: Sequence[Ties]) -> list[str]:
    found = [one.pairing for one in tested if one.pairing is not None]
    if not found:
        return ["Not paired: the configurations do not share their seeds."]
    strongest = max(found, key=lambda one: one.correlation - one.break_even)
    numbers = (
        f"{strongest.correlation:.2f}, is {{}} {strongest.break_even:.2f} where pairing breaks even"
    )
    correlation = f"the correlation of seeds across configurations, {numbers}"
    if any(one.method == "paired" for one in tested):
        return [f"Paired by seed: {correlation.format('above')}."]
    if strongest.is_paired:
        return [
            f"Not paired, though {correlation.format('above')}: not asked for, or seeds are missing."
        ]
    return [f"Not paired: {correlation.format('not above')}."]


def _sentence(note: str) -> str:
    return note if note.endswith(".") else f"{note[0].upper()}{note[1:]}."
