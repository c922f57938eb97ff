"""Rules for runs that did not learn: stuck at chance, never moved, or only at their beginning."""

from __future__ import annotations

import math

import numpy as np

from analysis.stats.trend import trend
from analysis.verdicts.facts import Label, Run, Verdict

TREND_ALPHA = 0.01
SLOW_ALPHA = 0.001  # of a trend over the whole run, within the chance band
MOVED = 0.05  # of the initial loss: less has not moved
SLOW_GAIN = 0.1  # of the score, within the chance band of few samples
BEGUN = 0.10  # of the initial loss gone, and falling: it may yet learn
STILL = 0.05  # of the whole fall of the training loss, within the tail: it goes on falling
# of the loss of an answer that knows the classes' shares: below on the training set, and still
# chance on the validation set
MEMORISED = 0.5
BLOWN = 1.5  # times the loss at chance level, after the first epoch
# epochs above the chance bound that do not count as learning if the run ends below; the larger one
# where the best score is less than FAINT times as far from chance as the bound
BLIP, FAINT_BLIP = 1, 3
FAINT = 2.0
KNOWN = 0.5  # of the way from chance to perfect: a first score beyond was brought along
PRETRAINED = 0.9  # of the loss at chance level: a run that begins below brought something along
BOUND_ERRORS = 3.09  # standard errors from chance level to the bound of one evaluation
ONE_ANSWER = 0.02  # nats: the entropy of the predicted classes of a constant answer is 0


def stuck(run: Run) -> Verdict | None:
    """Return the verdict on a run that never left the chance band, or where it began."""
    if run.unknown:
        return None
    above = int((run.score > run.bound).sum())
    numbers = {"best": run.best, "bound": run.bound, "fall": run.fall, "end": run.end}
    numbers |= {"above": above, "first": float(run.score[0])}
    error = max(run.error(run.end), run.error(run.level))
    run.is_near(run.lasting, run.lasting_bound, error, Label.STUCK)
    is_faint = run.learned < FAINT * (run.bound - run.level)
    is_blip = above <= (FAINT_BLIP if is_faint else BLIP)
    if run.is_above or not is_blip:
        if _never_moved(run):
            return Verdict(Label.STUCK, "never moved", 0, run.learned, numbers)
        return None
    if learns_below_chance(run):
        return None
    if _rises_slowly(run):
        numbers["began"] = float(np.median(run.score[: max(run.n // 3, 1)]))
        return Verdict(Label.IMPROVING, "slow", None, run.learned, numbers)
    cause = _why_stuck(run)
    if cause == "begun":
        run.is_near(run.fall, BEGUN, BEGUN / 2, Label.STUCK)
        return Verdict(Label.IMPROVING, cause, None, run.learned, numbers)
    if cause == "constant" and run.entropy is not None:
        numbers["entropy"] = float(np.nanmax(run.entropy[1:]))
    if run.has_train_loss:
        numbers |= {"end_loss": run.end_loss, "peak_loss": float(run.train.max())}
        numbers["chance_loss"] = _uninformed_loss(run)
    return Verdict(Label.STUCK, cause, 0, run.learned, numbers)


def learns_below_chance(run: Run) -> bool:
    """Return whether a score rises far while the loss falls, and is worse than chance still.

    As a score does that is not what its chance level was computed for, or a loss with weights.
    """
    floor = run.level - 2 * (run.bound - run.level)
    gained = run.end - float(run.score[0])
    is_clear = gained > max(0.1, 5 * run.error(run.end)) and run.end < floor
    if not is_clear or not (run.fall > BEGUN):
        return False
    return trend(run.epochs, run.score).p_rising < SLOW_ALPHA


def _never_moved(run: Run) -> bool:
    """Return whether a run is where it began, by a first score that a random start gave it."""
    step = 3 * math.sqrt(2) * max(run.error(run.end), run.error(run.level))
    if not (run.fall < MOVED and abs(run.end - run.score[0]) <= step):
        return False
    if trend(run.epochs, run.score).p_rising < TREND_ALPHA and run.end > run.score[0]:
        return False
    perfect = 1 - run.level
    if perfect > 0 and (run.score[0] - run.level) / perfect > KNOWN:
        return False
    known = run.chance.loss
    return not (math.isfinite(known) and run.train[0] < PRETRAINED * known)


def _rises_slowly(run: Run) -> bool:
    """Return whether a score within the chance band rises over the whole run as its loss falls."""
    third = max(run.n // 3, 1)
    gained = float(np.median(run.score[-third:]) - np.median(run.score[:third]))
    noise = (run.lasting_bound - run.level) / BOUND_ERRORS
    if gained <= max(SLOW_GAIN, 2 * noise) or trend(run.epochs, run.score).p_rising >= SLOW_ALPHA:
        return False
    losses = run.val if run.has_val_loss else run.train
    is_logged = run.has_val_loss or run.has_train_loss
    return not is_logged or trend(run.epochs, losses).p_falling < TREND_ALPHA


def _uninformed_loss(run: Run) -> float:
    return run.chance.loss if math.isfinite(run.chance.loss) else float(run.train[0])


def _why_stuck(run: Run) -> str:
    """Find the cause in what was logged of a run that stayed at chance."""
    if _answers_the_same(run):
        return "constant"
    if not run.has_train_loss:
        return "at chance"
    uninformed = _uninformed_loss(run)
    is_known = math.isfinite(run.chance.loss)
    start = float(run.train[0]) if run.epochs[0] == 0 else 0.0
    went_up = run.end_loss > (1 + MOVED) * run.train[0]
    if went_up or run.train.max() > BLOWN * max(uninformed, start):
        return "blown"
    if is_known and run.end_loss < MEMORISED * run.chance.informed_loss and not _val_fell(run):
        return "memorised"
    tail = run.train[-run.tail :]
    still = float(np.median(tail[: run.last]) - np.median(tail[-run.last :]))
    goes_on = still > STILL * (run.train[0] - run.train.min())
    falls = trend(run.epochs[-run.tail :], tail).p_falling < TREND_ALPHA
    if run.fall >= BEGUN and goes_on and falls:
        return "begun"
    if run.fall < MOVED:
        steadily = trend(run.epochs, run.train).p_falling < TREND_ALPHA
        return "frozen" if steadily else "no gain"
    return "no gain" if is_known else "unrelated"


def _val_fell(run: Run) -> bool:
    """Return whether the validation loss ended well below its start."""
    if not run.has_val_loss:
        return False
    return bool(np.median(run.val[-run.last :]) < (1 - BEGUN) * run.val[0])


def _answers_the_same(run: Run) -> bool:
    """Return whether one class was predicted for everything in all of the tail.

    Repeated scores are no evidence: chance repeats itself too.
    """
    if run.entropy is None:
        return False
    tail = run.entropy[-run.tail :]
    return bool(np.isfinite(tail).all() and tail.max() < ONE_ANSWER)
