"""Find the cycles of a learning rate with warm restarts in the score alone."""

from __future__ import annotations

import numpy as np

from analysis.stats.intervals import Array
from analysis.verdicts.facts import DROP_ERRORS, Run

DIP = 0.10  # of the learned range: a restart throws the score back by at least that
SHORTEST = 4  # epochs of a cycle
SLACK = 1  # epochs by which cycles may differ from their plan


def cycle_ends(run: Run) -> Array | None:
    """Return the indices of the last epochs of the cycles; None where there are no restarts.

    Restarts are sudden falls, at least two, at equal distances or each twice as far as the one
    before, from which the score rises again until the next.
    """
    steps = np.diff(run.score)
    fall = max(DIP * run.learned, DROP_ERRORS * run.error(run.end))
    falls = np.flatnonzero(steps < -fall)
    if falls.size < 2:
        return None
    lengths = np.diff(np.concatenate([[-1], falls]))
    if lengths.min() < SHORTEST or not (_is_equal(lengths) or _doubles(lengths)):
        return None
    for start, stop in zip(falls[:-1] + 1, falls[1:], strict=True):
        if run.score[stop] - run.score[start] < fall / 2:
            return None
    return np.concatenate([falls, [run.n - 1]])


def _is_equal(lengths: Array) -> bool:
    # the first may have one epoch more or less: epoch 0 comes before the first update
    return bool(np.ptp(lengths) <= SLACK)


def _doubles(lengths: Array) -> bool:
    ratio = lengths[1:] / lengths[:-1]
    return bool((np.abs(ratio - 2) <= 2 * SLACK / lengths[:-1]).all())
