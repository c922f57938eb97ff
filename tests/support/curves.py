"""Learning curves of known kinds, for the tests of the verdicts: random shapes, noise as
evaluations have it.
"""

from __future__ import annotations

import numpy as np

from analysis.stats.chance import Chance
from analysis.stats.intervals import Array
from analysis.verdicts.facts import Curve, Label

KINDS = (
    *(Label.DIVERGED, Label.STUCK, Label.COLLAPSED, Label.UNSTABLE),
    *(Label.OVERFIT, Label.IMPROVING, Label.CONVERGED),
)


def learned(top: float, epochs: int = 13, loss: float = 2.3) -> list[dict[str, float]]:
    """What a run logs whose accuracy rises to `top` and stays there; 0.1 is one that never
    moves.
    """
    done = 1 - np.exp(-np.arange(epochs) / 1.5)
    share = (top - 0.1) / 0.9
    return [
        {
            "epoch": e,
            "val/acc": 0.1 + (top - 0.1) * d,
            "train/loss": loss * (1 - share * d),
            "val/loss": loss,
        }
        for e, d in enumerate(done.tolist())
    ]


def grow(kind: Label, epochs: int, samples: int, rng: np.random.Generator) -> tuple[Curve, Chance]:
    """One curve of a kind with the chance level of its task, which has 2 or 10 classes."""
    classes = int(rng.choice([2, 10]))
    chance = Chance(1 / classes, samples, float(np.log(classes)))
    time = np.linspace(1 / epochs, 1, epochs)
    pace = rng.uniform(0.6, 2.0) if kind is Label.IMPROVING else rng.uniform(0.05, 0.12)
    ability = 1 - np.exp(-time / pace)  # 0: knows nothing
    top = rng.uniform(0.6, 0.97) - chance.level
    train, val = (
        chance.loss * (1 - ability) + 0.05,
        chance.loss * (1 - 0.9 * top / (1 - chance.level) * ability),
    )
    ability, train, val = _spoil(kind, ability, train, val, time, chance.loss, rng)
    share = np.clip(chance.level + top * ability, 0, 1)
    score = rng.binomial(samples, share) / samples
    noise = 1 + rng.normal(0, 0.01, (2, epochs))
    return Curve(np.arange(1, epochs + 1.0), score, train * noise[0], val * noise[1]), chance


def _spoil(
    kind: Label,
    ability: Array,
    train: Array,
    val: Array,
    time: Array,
    unknowing: float,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """What the kind does to a curve that would converge."""
    after = time > rng.uniform(0.3, 0.7)
    if kind is Label.STUCK:
        return np.zeros_like(ability), np.full_like(train, unknowing), np.full_like(val, unknowing)
    if kind is Label.COLLAPSED:
        return (
            np.where(after, 0, ability),
            np.where(after, unknowing, train),
            np.where(after, unknowing, val),
        )
    if kind is Label.DIVERGED:
        blown = np.nan if rng.random() < 0.5 else unknowing * 10 ** rng.uniform(1, 4)
        return (
            np.where(after, 0, ability),
            np.where(after, blown, train),
            np.where(after, blown, val),
        )
    if kind is Label.UNSTABLE:
        drops = rng.random(time.size) < rng.uniform(0.25, 0.6)
        drops[-3 - rng.integers(3)] = True
        return ability - rng.uniform(0.4, 0.7) * drops, train, val
    if kind is Label.OVERFIT:
        since = np.maximum(time - rng.uniform(0.15, 0.5), 0)
        return ability - 0.05 * since, train, val + since * rng.uniform(0.8, 2.0)
    return ability, train, val
