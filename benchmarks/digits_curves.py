"""`python -m benchmarks.digits_curves`: learning curves of a real model, to test verdicts on.

scikit-learn's MLP on its digits (64 hidden units, 1,200 samples to train, 597 to validate), 40
epochs, 3 seeds, at learning rates from far too small to far too large. Writes JSON lines; takes
about 80 s.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

EPOCHS, TRAINING, SEEDS = 40, 1200, 3
RATES = {
    "sgd": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
    "adam": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
}


def curves() -> Iterator[dict[str, Any]]:
    """Yield one form per run; numbers that are not finite are null."""
    for solver, rates in RATES.items():
        for rate in rates:
            for seed in range(SEEDS):
                yield {"solver": solver, "lr": rate, "seed": seed, **_train(solver, rate, seed)}


def _train(solver: str, rate: float, seed: int) -> dict[str, list[float | None]]:
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(classes))
    train, held_out = order[:TRAINING], order[TRAINING:]
    model = MLPClassifier(
        (64,), solver=solver, learning_rate_init=rate, random_state=seed, batch_size=64
    )
    found: dict[str, list[float | None]] = {"val/acc": [], "train/loss": [], "val/loss": []}
    for _ in range(EPOCHS):
        model.partial_fit(images[train] / 16, classes[train], classes=np.arange(10))
        shares = model.predict_proba(images[held_out] / 16)
        accuracy = float((shares.argmax(axis=1) == classes[held_out]).mean())
        loss = log_loss(classes[held_out], shares.clip(1e-15, 1), labels=np.arange(10))
        for name, value in (("val/acc", accuracy), ("train/loss", model.loss_), ("val/loss", loss)):
            found[name].append(float(f"{value:.5g}") if np.isfinite(value) else None)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for form in curves():
        sys.stdout.write(json.dumps(form) + "\n")
