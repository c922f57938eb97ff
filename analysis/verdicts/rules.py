"""Judge a training run by rules in units of what it learned and of binomial noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np

from analysis.stats.chance import Chance
from analysis.stats.intervals import Array
from analysis.stats.trend import trend

MIN_EPOCHS = 8  # fewer say too little, see the recalls in docs/verdicts.md
TREND_ALPHA = 0.01
EXPLODED = 3.0  # times the loss at chance level
MOVED = 0.05  # of the initial loss: less has not moved
# of the learned range; both also have to exceed what a validation set of this size would show:
ROUGH, DRAWDOWN = 0.05, 0.25
# standard errors; the largest drop among 33 equal scores exceeds 5 in 2 %
ROUGH_ERRORS, DROP_ERRORS = 2.0, 5.0
OVERFIT_RISE = 0.10  # of the initial drop of the validation loss
OVERFIT_EPOCHS = 5
LEAST_GAIN = 0.005
# epochs: a shorter tail with a single step back cannot reach p < 0.01, so its gain has to be larger
SHORT_TAIL = 8
SHORT_ALPHA, SHORT_GAIN = 0.05, 0.10  # the latter of the learned range
BEGUN = 0.10  # of the initial loss gone, and falling: it may yet learn
# of the loss at chance level: below on the training set, and still chance on the validation set
MEMORISED = 0.5
BLOWN = 1.5  # times the loss at chance level, after the first epoch
# epochs above the chance bound that do not count as learning if the run ends below; the larger one
# where the best score is less than FAINT times as far from chance as the bound
BLIP, FAINT_BLIP = 1, 3
FAINT = 2.0
SETTLED = 0.95  # of the learned range
WEAK = 0.5  # of the best run's range


class Label(str, Enum):
    """The verdicts as they are shown."""

    CONVERGED = "converged"
    IMPROVING = "improving"
    OVERFIT = "overfit"
    UNSTABLE = "unstable"
    COLLAPSED = "collapsed"
    STUCK = "stuck"
    DIVERGED = "diverged"
    TOO_SHORT = "too short"
    CRASHED = "crashed"
    MISSING = "missing"

    @property
    def is_convergent(self) -> bool:
        """Return whether the run learned and kept what it learned."""
        return self in (Label.CONVERGED, Label.IMPROVING, Label.OVERFIT)

    @property
    def is_divergent(self) -> bool:
        """Return whether the run did not learn, lost what it learned, or never came to rest."""
        return self in (Label.UNSTABLE, Label.COLLAPSED, Label.STUCK, Label.DIVERGED)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run logged; arrays are (n_epochs,) and parallel.

    Epoch 0, before the first update, is first where it was logged.
    """

    epochs: Array
    score: Array  # validation accuracy or R²
    train_loss: Array  # NaN throughout where not logged
    val_loss: Array  # likewise


@dataclass(frozen=True, slots=True)
class Verdict:
    """The label, why, and the numbers that `analysis.verdicts.evidence` puts in words."""

    label: Label
    cause: str
    # the epoch at which it began; for `converged` the one at which it had come to rest
    onset: int | None = None
    learned: float = 0.0  # best score less chance
    numbers: Mapping[str, float] = field(default_factory=dict)


class _Run:
    """A curve with everything that several rules look at."""

    def __init__(self, curve: Curve, chance: Chance) -> None:
        self.chance = chance
        self.epochs, self.score, self.train, self.val = (
            curve.epochs,
            curve.score,
            curve.train_loss,
            curve.val_loss,
        )
        self.n = self.score.size
        self.tail = min(max(5, self.n // 3), self.n)
        self.last = max(3, self.tail // 3)
        self.bound = chance.bound(self.n)
        self.best_at = int(self.score.argmax())
        self.best = float(self.score[self.best_at])
        self.learned = self.best - chance.level
        self.end = float(np.median(self.score[-self.last :]))

    @cached_property
    def has_train_loss(self) -> bool:
        return bool(np.isfinite(self.train).all())

    @cached_property
    def end_loss(self) -> float:
        return float(np.median(self.train[-self.last :]))

    @cached_property
    def fall(self) -> float:
        """Return the share by which the training loss fell to its lowest; NaN if not logged."""
        start = self.train[0]
        return float((start - self.train.min()) / abs(start)) if start else 0.0

    def epoch(self, index: int) -> int:
        return int(self.epochs[index])


def verdict_of(curve: Curve, chance: Chance, *, has_diverged: bool = False) -> Verdict:
    """Judge one run by the first rule that matches.

    Args:
        curve: at least one epoch, NaN for what was not finite or not measured.
        chance: of the run's validation set.
        has_diverged: the run stopped because its loss was not finite; the curve ends before that
            epoch.
    """
    if has_diverged or (broken := _first_broken(curve)) is not None:
        onset = int(curve.epochs[-1]) + 1 if has_diverged else int(curve.epochs[broken or 0])
        return Verdict(Label.DIVERGED, "not finite", onset, numbers={"epoch": onset})
    if not np.isfinite(curve.score).any():
        return Verdict(Label.MISSING, "not logged")
    run = _Run(_measured(curve), chance)
    trained = int((run.epochs > 0).sum())
    if trained < MIN_EPOCHS:
        found = _exploded(run)
        numbers = {"epochs": trained, "least": MIN_EPOCHS, "end": run.end}
        return found or Verdict(Label.TOO_SHORT, "too short", learned=run.learned, numbers=numbers)
    if run.bound >= 1:
        numbers = {"samples": chance.samples, "end": run.end}
        return _exploded(run) or Verdict(
            Label.TOO_SHORT, "too few", learned=run.learned, numbers=numbers
        )
    for rule in RULES:
        verdict = rule(run)
        if verdict is not None:
            return verdict
    return _converged(run)


def mark_weak(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Return the verdicts with the cause "weak" where a converged run learned little.

    That is less than half of what the best run learned.
    """
    best = max(
        (verdict.learned for verdict in verdicts.values() if verdict.label.is_convergent),
        default=0.0,
    )
    marked = dict(verdicts)
    for name, verdict in verdicts.items():
        if verdict.label is Label.CONVERGED and verdict.learned < WEAK * best:
            numbers = {**verdict.numbers, "of_best": verdict.learned / best}
            marked[name] = replace(verdict, cause="weak", numbers=numbers)
    return marked


def _first_broken(curve: Curve) -> int | None:
    """Return the index of the first epoch that is not finite.

    Gaps in what is measured only now and then do not count.
    """
    found = []
    for series, may_have_gaps in (
        (curve.train_loss, False),
        (curve.score, True),
        (curve.val_loss, True),
    ):
        missing = np.isnan(series)
        if np.isinf(series).any():
            found.append(int(np.isinf(series).argmax()))
        if missing.all():  # not logged
            continue
        # before the first update there may be no training loss
        missing[0] &= may_have_gaps or curve.epochs[0] > 0
        first = int(missing.argmax())
        if missing.any() and (not may_have_gaps or (first > 1 and missing[first:].all())):
            found.append(first)
    return min(found, default=None)


def _measured(curve: Curve) -> Curve:
    """Return the epochs that have a score.

    A loss that was not measured before the first update is that of the next epoch.
    """
    has_score = np.isfinite(curve.score)
    losses = [loss[has_score] for loss in (curve.train_loss, curve.val_loss)]
    for loss in losses:
        if loss.size > 1 and np.isnan(loss[0]):
            loss[0] = loss[1]
    return Curve(curve.epochs[has_score], curve.score[has_score], *losses)


def _exploded(run: _Run) -> Verdict | None:
    if not run.has_train_loss:
        return None
    start = float(np.nanmax([run.chance.loss, run.train[0]]))
    if not run.end_loss > EXPLODED * start:
        return None
    onset = run.epoch(int((run.train > EXPLODED * start).argmax()))
    numbers = {"end_loss": run.end_loss, "start": start}
    return Verdict(Label.DIVERGED, "exploded", onset, run.learned, numbers)


def _stuck(run: _Run) -> Verdict | None:
    above = int((run.score > run.bound).sum())
    numbers = {
        "best": run.best,
        "bound": run.bound,
        "fall": run.fall,
        "end": run.end,
        "above": above,
    }
    is_faint = run.learned < FAINT * (run.bound - run.chance.level)
    is_blip = above <= (FAINT_BLIP if is_faint else BLIP)
    if run.end > run.bound or not is_blip:
        step = 3 * math.sqrt(2) * max(run.chance.error(run.end), run.chance.error(run.chance.level))
        # the score of a random initialisation need not be near chance level
        if run.fall < MOVED and abs(run.end - run.score[0]) <= step:
            numbers |= {"first": float(run.score[0])}
            return Verdict(Label.STUCK, "never moved", 0, run.learned, numbers)
        return None
    cause = _why_stuck(run)
    if cause == "constant":
        numbers |= {
            "first": float(run.score[0]),
            "values": np.unique(run.score[1:]).size,
            "epochs": run.n - 1,
        }
    if cause == "begun":
        return Verdict(Label.IMPROVING, cause, None, run.learned, numbers)
    if run.has_train_loss:
        knows_nothing = run.chance.loss if math.isfinite(run.chance.loss) else float(run.train[0])
        numbers |= {
            "end_loss": run.end_loss,
            "peak_loss": float(run.train.max()),
            "chance_loss": knows_nothing,
        }
    return Verdict(Label.STUCK, cause, 0, run.learned, numbers)


def _why_stuck(run: _Run) -> str:
    """Find the cause in the training loss of a run that stayed at chance."""
    if not run.has_train_loss:
        return "at chance"
    is_known = math.isfinite(run.chance.loss)
    knows_nothing = run.chance.loss if is_known else float(run.train[0])
    if run.end_loss > (1 + MOVED) * run.train[0] or run.train.max() > BLOWN * knows_nothing:
        return "blown"
    if _answers_the_same(run):
        return "constant"
    if is_known and run.end_loss < MEMORISED * knows_nothing:
        return "memorised"
    tail = trend(run.epochs[-run.tail :], run.train[-run.tail :])
    if run.fall >= BEGUN and tail.p_falling < TREND_ALPHA:
        return "begun"
    # a loss may fall without any order learned
    return "frozen" if is_known or run.fall < BEGUN else "unrelated"


def _answers_the_same(run: _Run) -> bool:
    """Return whether the scores since the first update are a few exact values.

    They are far apart or far from the first score: that is a model with one answer to everything,
    each value the share of a class. One that hardly moves scatters by single samples around its
    first score.
    """
    after = run.score[1:]
    jump = 3 * math.sqrt(2) * run.chance.error(run.chance.level)
    has_jumped = max(np.ptp(after), np.abs(after - run.score[0]).max()) > jump
    has_few_values = 2 * np.unique(after).size <= after.size
    return run.chance.kind == "share" and has_few_values and bool(has_jumped)


def _collapsed(run: _Run) -> Verdict | None:
    if run.end > run.bound:
        return None
    onset = run.epoch(run.best_at + int((run.score[run.best_at :] <= run.bound).argmax()))
    numbers = {
        "best": run.best,
        "best_epoch": run.epoch(run.best_at),
        "end": run.end,
        "bound": run.bound,
    }
    return Verdict(Label.COLLAPSED, "collapsed", onset, run.learned, numbers)


def _unstable(run: _Run) -> Verdict | None:
    """Return the verdict on swings beyond what a small validation set alone would show."""
    tail, noise = run.score[-run.tail :], run.chance.error(run.end)
    steps = np.diff(tail)
    rough = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)
    drops = np.maximum.accumulate(tail) - tail
    drop, first = float(drops.max()), run.n - run.tail
    numbers = {
        "rough": rough,
        "drop": drop,
        "epochs": run.tail,
        "learned": run.learned,
        "best": run.best,
    }
    if drop > max(DRAWDOWN * run.learned, DROP_ERRORS * noise):
        return Verdict(
            Label.UNSTABLE, "fell", run.epoch(first + int(drops.argmax())), run.learned, numbers
        )
    if rough > max(ROUGH * run.learned, ROUGH_ERRORS * noise):
        onset = run.epoch(first + 1 + int(np.abs(steps).argmax()))
        return Verdict(Label.UNSTABLE, "rough", onset, run.learned, numbers)
    return None


def _overfit(run: _Run) -> Verdict | None:
    if not (np.isfinite(run.val).all() and run.has_train_loss):
        return None
    lowest = int(run.val.argmin())
    drop = float(run.val[0] - run.val[lowest])
    rise = float(np.median(run.val[-3:]) - run.val[lowest])
    if run.n - lowest < OVERFIT_EPOCHS or rise <= OVERFIT_RISE * max(drop, 1e-9):
        return None
    since = slice(lowest, None)
    up, down = trend(run.epochs[since], run.val[since]), trend(run.epochs[since], run.train[since])
    if up.p_rising >= TREND_ALPHA or down.p_falling >= TREND_ALPHA:
        return None
    lost = float(run.score[lowest:].max()) - run.end
    cause = "benign" if lost <= 2 * run.chance.error(run.end) else "harmful"
    numbers = {
        "lowest": float(run.val[lowest]),
        "rise": rise,
        "drop": drop,
        "lost": lost,
        "end": run.end,
    }
    return Verdict(Label.OVERFIT, cause, run.epoch(lowest), run.learned, numbers)


def _improving(run: _Run) -> Verdict | None:
    """Return the verdict on a rising score.

    The gain decides: plateaus are autocorrelated, and p values alone would call one in ten of them
    a trend.
    """
    found = trend(run.epochs[-run.tail :], run.score[-run.tail :])
    span = run.tail * float(run.epochs[-1] - run.epochs[-run.tail]) / max(run.tail - 1, 1)
    gain = found.slope * span
    noise = run.chance.error(run.end)
    is_clear = found.p_rising < TREND_ALPHA and gain > max(LEAST_GAIN, noise)
    is_large = found.p_rising < SHORT_ALPHA and gain > max(SHORT_GAIN * run.learned, 2 * noise)
    if not (is_clear or (run.tail < SHORT_TAIL and is_large)):
        return None
    numbers = {"gain": gain, "epochs": span, "end": run.end}
    return Verdict(Label.IMPROVING, "rising", None, run.learned, numbers)


def _converged(run: _Run) -> Verdict:
    settled = run.chance.level + SETTLED * (run.end - run.chance.level)
    onset = run.epoch(int((run.score >= settled).argmax()))
    moved = float(np.ptp(run.score[-run.tail :]))
    return Verdict(
        Label.CONVERGED,
        "settled",
        onset,
        run.learned,
        {"end": run.end, "moved": moved, "epochs": run.tail},
    )


RULES: tuple[Callable[[_Run], Verdict | None], ...] = (
    _exploded,
    _stuck,
    _collapsed,
    _unstable,
    _overfit,
    _improving,
)
