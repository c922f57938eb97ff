"""`python -m benchmarks.truth [REPLICATES]`: what is said about a winner, against simulated truth.

Searches of 20 configurations with five seeds, in units of one seed's standard deviation: the bias
of the best by each way of selecting, the coverage of its interval, the optimism that is estimated
beside the true one, and how often the true best is among those not distinguished. Each number has
its Monte-Carlo standard error. 1,000 replicates take half a minute.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.stats.intervals import Array, mean_interval
from analysis.stats.multiple_comparisons import moments, tied_set
from analysis.stats.selection_bias import selection_optimism
from analysis.stats.shrinkage import moderated_errors

K, SEEDS = 20, 5
Draw = Callable[[np.random.Generator], Array]


def _spread(sd: float) -> Draw:
    return lambda rng: sd * rng.normal(size=K)


def _two_ahead(by: float) -> Draw:
    return lambda _: np.array([by, by, *[0.0] * (K - 2)])


TRUTHS: Mapping[str, Draw] = {
    "all equal": _spread(0),
    "normal, sd 0.5": _spread(0.5),
    "normal, sd 1": _spread(1),
    "normal, sd 3": _spread(3),
    "two at +3": _two_ahead(3),
    "two at +6": _two_ahead(6),
}


@dataclass(frozen=True, slots=True)
class Search:
    """What one simulated search found; all in standard deviations of a seed."""

    by_test: float  # bias of the test score of the best by the test set
    by_validation: float  # likewise, of the best by an independent validation set
    estimated: float  # optimism of the first
    covers: float  # 1 where the interval of the second holds its true mean
    keeps: float  # 1 where the true best is not distinguished from the selected one


def search(draw: Draw, rng: np.random.Generator) -> Search:
    """Simulate a search, with luck on the validation set independent of that on the test set."""
    truth = draw(rng)
    test = truth[:, None] + rng.normal(size=(K, SEEDS))
    validation = truth[:, None] + rng.normal(size=(K, SEEDS))
    found = moments(test)
    first, selected = int(found.mean.argmax()), int(validation.mean(axis=1).argmax())
    interval = mean_interval(test[selected])
    tested = tied_set(test, reference=selected)
    best = int(truth.argmax())
    return Search(
        float(found.mean[first] - truth[first]),
        float(found.mean[selected] - truth[selected]),
        selection_optimism(found.mean, moderated_errors(found.variance, found.n), first).value,
        float(interval.low <= truth[selected] <= interval.high),
        float(tested.is_tied[best] or best == selected),
    )


def main(replicates: int) -> None:
    """Print a line per distribution of the true means."""
    heads = ("best by test: bias", "estimated", "by validation: bias", "coverage", "true best kept")
    print(f"{'true means':<16}" + "".join(f"{head:>22}" for head in heads))
    for name, draw in TRUTHS.items():
        rng = np.random.default_rng(0)
        found = [search(draw, rng) for _ in range(replicates)]
        columns = (
            [one.by_test for one in found],
            [one.estimated for one in found],
            [one.by_validation for one in found],
            [one.covers for one in found],
            [one.keeps for one in found],
        )
        print(f"{name:<16}" + "".join(f"{_mean(column):>22}" for column in columns))


def _mean(values: Sequence[float]) -> str:
    """Return the mean with its Monte-Carlo standard error."""
    error = float(np.std(values)) / math.sqrt(len(values))
    return f"{float(np.mean(values)):.3f} ± {error:.3f}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
