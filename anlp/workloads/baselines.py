"""Scores of predictors that learn nothing."""

from __future__ import annotations

from torch import Tensor

from anlp.data.samples import DataSet


def classification_baselines(data: DataSet) -> dict[str, float]:
    """Return the test accuracy of chance (`random`) and of the majority class (`majority`).

    The majority is that of the training set.
    """
    return {
        "random": 1 / data.classes,
        "majority": majority_share(data.train.targets[0], data.test.targets[0]),
    }


def majority_share(train: Tensor, test: Tensor) -> float:
    """Return the accuracy on `test` of always answering the most frequent class of `train`.

    Args:
        train: (N,) classes.
        test: (M,) classes.
    """
    most_frequent = train.bincount().argmax()
    return float((test == most_frequent).double().mean())
