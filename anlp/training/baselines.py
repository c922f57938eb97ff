"""What predictors that learn nothing reach."""

from __future__ import annotations

from torch import Tensor

from anlp.data.samples import DataSet


def classification_baselines(data: DataSet) -> dict[str, float]:
    """Test accuracy of guessing evenly (`random`) and of the most frequent class of the training set (`majority`)."""
    return {
        "random": 1 / data.classes,
        "majority": majority_share(data.train.targets[0], data.test.targets[0]),
    }


def majority_share(train: Tensor, test: Tensor) -> float:
    """Return accuracy on `test` of always answering the most frequent class of `train`.

    Args:
        train: (N,) classes.
        test: (M,) classes.
    """
    most_frequent = train.bincount().argmax()
    return float((test == most_frequent).double().mean())
