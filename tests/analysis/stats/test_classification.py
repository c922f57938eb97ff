from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats.classification import confusion, row_shares, scores


def test_confusion_has_classes_in_rows_and_answers_in_columns() -> None:
    found = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)

    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert row_shares(found)[0].tolist() == [0.5, 0.5, 0]


def test_a_class_without_samples_has_no_shares() -> None:
    assert np.isnan(row_shares(np.array([[0.0, 0.0], [1.0, 1.0]]))[0]).all()


def test_scores_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip(
        "sklearn.metrics", reason="needs scikit-learn: pip install .[analysis]"
    )
    rng = np.random.default_rng(0)
    targets, answers = rng.integers(0, 5, 400), rng.integers(0, 5, 400)

    found = scores(confusion(targets, answers, 5))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(targets, answers)

    assert found.precision == pytest.approx(precision)
    assert found.recall == pytest.approx(recall)
    assert found.f1 == pytest.approx(f1)
    assert found.support.tolist() == support.tolist()
    assert found.macro("f1") == pytest.approx(metrics.f1_score(targets, answers, average="macro"))
    assert found.weighted("f1") == pytest.approx(
        metrics.f1_score(targets, answers, average="weighted")
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(targets, answers))


def test_a_class_that_is_never_answered_has_precision_zero_and_one_that_is_not_there_none() -> None:
    found = scores(confusion(np.array([0, 1]), np.array([0, 0]), 3))

    assert found.precision[1] == 0
    assert math.isnan(found.precision[2])
    assert found.macro("recall") == 0.5


def test_a_class_that_is_answered_and_has_no_samples_counts_as_in_scikit_learn() -> None:
    metrics = pytest.importorskip(
        "sklearn.metrics", reason="needs scikit-learn: pip install .[analysis]"
    )
    targets, answers = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])

    found = scores(confusion(targets, answers, 4))

    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        expected = score(targets, answers, average="macro", zero_division=0)
        assert found.macro(name) == pytest.approx(expected)
        weighted = score(targets, answers, average="weighted", zero_division=0)
        assert found.weighted(name) == pytest.approx(weighted)
    assert found.recall[2] == 0
    assert math.isnan(found.recall[3])
