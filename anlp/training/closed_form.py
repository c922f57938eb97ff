"""Predictors that are fitted at once, as models; before the fit all classes are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anlp.core.errors import UserError, describe_import
from anlp.workloads.workload import Split

FLOOR = 1e-7  # of a probability, before its logarithm


class Fitted(nn.Module):
    """A classifier of scikit-learn's kind (`fit`, `predict_proba`) on flattened inputs.

    Args:
        classifier: of scikit-learn's kind.
        classes: how many there are; one that the training samples lack is never predicted.
    """

    def __init__(self, classifier: Any, classes: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.classes = classes
        self.seen: Tensor | None = None

    def fit(self, split: Split) -> None:
        """Fit to all samples of a split."""
        samples = split.samples.gather(split.rows)
        seen, places = torch.unique(samples.targets[0], return_inverse=True)
        self.classifier.fit(_flat(samples.inputs[0]), places.cpu().numpy())
        self.seen = seen.cpu()

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities (B, classes) of samples (B, ...)."""
        if self.seen is None:
            return torch.zeros(len(x), self.classes, device=x.device)
        found = torch.from_numpy(
            np.asarray(self.classifier.predict_proba(_flat(x)), dtype=np.float32)
        )
        logits = torch.full((len(x), self.classes), FLOOR).log()
        logits[:, self.seen] = found.clamp(min=FLOOR).log()
        return logits.to(x.device)


def logistic_regression(penalty: float, seed: int) -> Any:
    """Make scikit-learn's, on standardised values; `penalty` is the L2 strength, 1 / C."""
    # imported here: it takes seconds, and only this method needs it
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000, random_state=seed)
    )


def gradient_boosting(trees: int, depth: int, seed: int, device: torch.device) -> Any:
    """Make XGBoost's trees.

    Raises:
        UserError: xgboost is not installed.
    """
    try:
        import xgboost
    except ImportError as error:
        raise UserError(f"method xgboost: {describe_import(error, 'xgboost', 'boost')}") from error
    return xgboost.XGBClassifier(
        n_estimators=trees,
        max_depth=depth,
        random_state=seed,
        n_jobs=1,
        tree_method="hist",
        device=device.type,
    )


def _flat(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return x.flatten(1).float().cpu().numpy()
