"""Count confusion matrices, and derive precision, recall and F1 of each class and over all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.intervals import Array

Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one run.

    Arrays are (n_classes,), NaN where a class has no samples and was never answered.
    """

    precision: Array
    recall: Array
    f1: Array
    support: Array
    accuracy: float  # also micro precision, recall and F1: each sample has one class and one answer

    def macro(self, name: str) -> float:
        """Average `precision`, `recall` or `f1` over the classes that have one."""
        return _mean(getattr(self, name), np.ones(self.support.size))

    def weighted(self, name: str) -> float:
        """Average `precision`, `recall` or `f1`, each class with the weight of its samples."""
        return _mean(getattr(self, name), self.support)


def confusion(targets: Classes, answers: Classes, classes: int) -> Array:
    """Count the samples of each class (rows) that got each answer (columns).

    Args:
        targets: (N,) in [0, classes).
        answers: (N,) likewise.
        classes: how many there are.
    """
    counts = np.bincount(targets * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def row_shares(counts: Array) -> Array:
    """Return the share of each class that got each answer; NaN for a class without samples."""
    totals = counts.sum(axis=-1, keepdims=True)
    shares: Array = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return shares


def scores(counts: Array) -> Scores:
    """Derive the scores of a confusion matrix.

    Args:
        counts: (n_classes, n_classes), classes in rows, answers in columns; at least one sample.
    """
    hits, support, answered = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    is_there = support + answered > 0
    # 0 where a class was never answered, or answered without having a sample: as scikit-learn
    precision = np.where(is_there, _ratio(hits, answered), np.nan)
    recall = np.where(is_there, _ratio(hits, support), np.nan)
    f1 = np.where(is_there, _ratio(2 * hits, support + answered), np.nan)
    return Scores(precision, recall, f1, support, float(hits.sum() / counts.sum()))


def _ratio(above: Array, below: Array) -> Array:
    ratio: Array = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return ratio


def _mean(values: Array, weights: Array) -> float:
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
