"""What predictors that learn nothing reach."""

from __future__ import annotations

from torch import Tensor


def majority_share(train: Tensor, test: Tensor) -> float:
    """Accuracy on `test` of always answering the most frequent class of `train`.

    Args:
        train: (N,) classes.
        test: (M,) classes.
    """
    most_frequent = train.bincount().argmax()
    return float((test == most_frequent).double().mean())
