"""Judge a learning curve by rules, in units of what it learned and of binomial noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.stats.chance import Chance
from analysis.stats.intervals import Array
from analysis.stats.trend import Trend, trend
from analysis.verdicts.facts import (
    DRAWDOWN,
    DROP_ERRORS,
    FINAL,
    Curve,
    Label,
    Run,
    Verdict,
)
from analysis.verdicts.overfit import OVERFIT_EPOCHS, overfit
from analysis.verdicts.restarts import cycle_ends
from analysis.verdicts.stuck import SLOW_ALPHA, TREND_ALPHA, learns_below_chance, stuck

MIN_EPOCHS = 8  # fewer say too little, see the recalls in docs/verdicts.md
EXPLODED = 3.0  # times the loss at chance level
# of the learned range; it also has to exceed what a validation set of this size would show
ROUGH = 0.05
ROUGH_ERRORS = 2.0  # standard errors
REPEATED = 0.15  # of the epochs of the tail are low: more than a spike
LOST = 0.5  # of what was learned: more is a collapse
# of the score, and of the learned range; the second where the validation loss falls clearly too
LEAST_GAIN, LEAST_WITH_LOSS = 0.01, 0.005
FALLS = 0.05  # of the validation loss, or of its whole fall, within the tail
PACE = 0.4  # of the gain of the middle third of the epochs
WEAK_ALPHA = 0.1  # of a rising score beside a validation loss that clearly falls
# epochs: a shorter tail with a single step back cannot reach p < 0.01, so its gain has to be larger
SHORT_TAIL = 8
SHORT_ALPHA, SHORT_GAIN = 0.05, 0.10  # the latter of the learned range
SETTLED = 0.95  # of the learned range


def verdict_of(curve: Curve, chance: Chance, *, has_diverged: bool = False) -> Verdict:
    """Judge one run by the first rule that matches.

    Args:
        curve: at least one epoch, NaN for what was not finite or not measured.
        chance: of the run's validation set; its level is NaN where unknown, and what needs it is
            not judged.
        has_diverged: the run stopped because its loss was not finite; the curve ends before that
            epoch.
    """
    curve = _in_order(curve)
    if has_diverged or (broken := _first_broken(curve)) is not None:
        onset = int(curve.epochs[-1]) + 1 if has_diverged else int(curve.epochs[broken or 0])
        return Verdict(Label.DIVERGED, "not finite", onset, numbers={"epoch": onset})
    if not np.isfinite(curve.score).any():
        return Verdict(Label.MISSING, "not logged")
    run = Run(_measured(curve), chance)
    found = _too_little(run) or next(filter(None, (rule(run) for rule in RULES)), None)
    verdict = found or _converged(run)
    certainty, other = run.certainty(verdict.label)
    return replace(verdict, certainty=certainty, instead=other)


def _too_little(run: Run) -> Verdict | None:
    """Return the verdict on a run of which too little is known, unless it exploded."""
    trained = int((run.epochs > 0).sum())
    if trained < MIN_EPOCHS:
        numbers = {"epochs": trained, "least": MIN_EPOCHS, "end": run.end}
        return _exploded(run) or Verdict(
            Label.TOO_SHORT, "too short", learned=run.learned, numbers=numbers
        )
    if run.lasting_bound >= 1:
        few = {"samples": run.chance.samples, "end": run.end}
        return _exploded(run) or Verdict(
            Label.TOO_SHORT, "too few", learned=run.learned, numbers=few
        )
    return None


def _in_order(curve: Curve) -> Curve:
    """Return a curve with ascending epochs.

    Of an epoch logged twice, as resumed runs do, the later one counts.
    """
    if (np.diff(curve.epochs) > 0).all():
        return curve
    last = {float(epoch): index for index, epoch in enumerate(curve.epochs)}
    return _chosen(curve, np.array([last[epoch] for epoch in sorted(last)]))


def _chosen(curve: Curve, chosen: npt.NDArray[np.intp]) -> Curve:
    entropy = None if curve.entropy is None else curve.entropy[chosen]
    return Curve(
        curve.epochs[chosen],
        curve.score[chosen],
        curve.train_loss[chosen],
        curve.val_loss[chosen],
        entropy,
    )


def _first_broken(curve: Curve) -> int | None:
    """Return the index of the first epoch that is not finite.

    Gaps in what is measured only now and then do not count, nor do single epochs after which the
    run went on with finite losses: weights that are not finite never recover.
    """
    found = []
    for series, may_have_gaps in (
        (curve.train_loss, False),
        (curve.score, True),
        (curve.val_loss, True),
    ):
        if np.isnan(series).all():  # not logged
            continue
        broken = np.isinf(series) if may_have_gaps else ~np.isfinite(series)
        # before the first update there may be no training loss
        if not may_have_gaps and curve.epochs[0] == 0:
            broken[0] = np.isinf(series[0])
        finite = np.flatnonzero(np.isfinite(series))
        first = int(finite[-1]) + 1 if finite.size else 0
        if broken[first:].any():
            found.append(first)
        if may_have_gaps and 1 < first < series.size and np.isfinite(series[:first]).all():
            found.append(first)
    return min(found, default=None)


def _measured(curve: Curve) -> Curve:
    """Return the epochs that have a score.

    A loss that was not measured before the first update is that of the next epoch, and a single
    one that was not finite is the last finite one before.
    """
    chosen = _chosen(curve, np.flatnonzero(np.isfinite(curve.score)))
    losses = [_filled(chosen.train_loss, ~np.isfinite(chosen.train_loss))]
    losses.append(_filled(chosen.val_loss, np.isinf(chosen.val_loss)))
    return replace(chosen, train_loss=losses[0], val_loss=losses[1])


def _filled(loss: Array, broken: Array) -> Array:
    """Return a loss with these values taken from the epoch before; of all, nothing is filled."""
    loss = loss.copy()
    if loss.size > 1 and np.isnan(loss[0]):
        loss[0] = loss[1]
    if broken.all():
        return loss
    for index in np.flatnonzero(broken):
        if index and not np.isfinite(loss[index]):
            loss[index] = loss[index - 1]
    return loss


def _exploded(run: Run) -> Verdict | None:
    """Return the verdict on a loss far above its start, unless the score holds all the same."""
    if not run.has_train_loss:
        return None
    start = float(np.nanmax([run.chance.loss, run.train[0]]))
    if not run.end_loss > EXPLODED * start:
        return None
    keeps = run.end > run.bound and run.high - run.end <= DRAWDOWN * run.learned
    if keeps and run.learned > 0 and not run.unknown:
        return None
    onset = run.epoch(run.first_lasting(run.train > EXPLODED * start))
    numbers = {"end_loss": run.end_loss, "start": start}
    return Verdict(Label.DIVERGED, "exploded", onset, run.learned, numbers)


def _collapsed(run: Run) -> Verdict | None:
    """Return the verdict on a run that left the chance band and ended inside."""
    if not (run.unknown or run.is_above or learns_below_chance(run)):
        onset = run.epoch(run.first_lasting(run.score <= run.bound))
        numbers = _best(run) | {"bound": run.bound}
        return Verdict(Label.COLLAPSED, "collapsed", onset, run.learned, numbers)
    return None


def _unstable(run: Run) -> Verdict | None:
    """Return the verdict on swings beyond what a small validation set alone would show.

    A single spike that recovered is none, and neither are the dips of a schedule with restarts.
    """
    if cycle_ends(run) is not None:
        return None
    tail, noise = run.score[-run.tail :], run.error(run.end)
    drops = (np.maximum.accumulate(run.score) - run.score)[-run.tail :]
    low = drops > max(DRAWDOWN * run.learned, DROP_ERRORS * noise)
    numbers = {"drop": float(drops.max()), "epochs": run.tail, "learned": run.learned}
    numbers |= {"best": run.best, "low": int(low.sum()), "rough": run.scatter}
    spells = int((np.diff(np.concatenate([[0], low.astype(int)])) == 1).sum())
    if spells > 1 and low.sum() >= max(2, REPEATED * run.tail):
        onset = run.epoch(run.n - run.tail + int(low.argmax()))
        return Verdict(Label.UNSTABLE, "swings", onset, run.learned, numbers)
    border = ROUGH * run.learned
    if not run.unknown:
        border = max(border, ROUGH_ERRORS * noise)
    is_rough = run.scatter > border and run.n > FINAL
    steps = max(run.tail, 2 * run.n // 3)
    if run.learned > 0:
        error = max(run.scatter, noise) / math.sqrt(2 * steps) * 1.3
        run.is_near(run.scatter, border, error, Label.CONVERGED if is_rough else Label.UNSTABLE)
    if is_rough:
        step = int(np.abs(np.diff(tail)).argmax())
        onset = run.epoch(run.n - run.tail + 1 + step)
        return Verdict(Label.UNSTABLE, "rough", onset, run.learned, numbers)
    return None


def _lost(run: Run) -> Verdict | None:
    """Return the verdict on a run that ended far below its best level."""
    noise = run.error(run.end)
    border = max(DRAWDOWN * (run.high - run.level), DROP_ERRORS * noise)
    lost = run.high - run.end
    is_lost = lost > border and run.high > run.level
    run.is_near(lost, border, noise, Label.CONVERGED if is_lost else Label.UNSTABLE)
    if not is_lost:
        return None
    middle = (run.high + run.end) / 2
    onset = run.epoch(run.first_lasting(run.score <= middle))
    numbers = _best(run) | {"drop": lost, "epoch": onset, "learned": run.high - run.level}
    if lost > LOST * (run.high - run.level):
        return Verdict(Label.COLLAPSED, "lost", onset, run.learned, numbers)
    return Verdict(Label.UNSTABLE, "fell", onset, run.learned, numbers)


def _best(run: Run) -> dict[str, float]:
    return {"best": run.best, "best_epoch": run.epoch(run.best_at), "end": run.end}


def _improving(run: Run) -> Verdict | None:
    """Return the verdict on a score that rose within the tail, from one level to another.

    The gain decides: plateaus are autocorrelated, and p values alone would call one in ten of them
    a trend.
    """
    tail = run.score[-run.tail :]
    third = min(run.last, run.tail // 2 or 1)
    before = float(np.median(tail[:third]))
    gain, noise = run.end - before, run.error(run.end)
    numbers = {"gain": gain, "before": before, "end": run.end, "best": run.best}
    numbers |= {"epochs": float(run.tail)}
    is_far = gain > max(DRAWDOWN * run.learned, DROP_ERRORS * noise)
    if is_far and run.tail >= SHORT_TAIL and _jumped(run, before):
        middle = (before + run.end) / 2
        onset = run.first_lasting(run.score > middle)
        numbers["jump"] = run.epoch(onset)
        since = run.n - onset
        if since <= max(OVERFIT_EPOCHS, run.tail // 3):
            return Verdict(Label.IMPROVING, "jumped", run.epoch(onset), run.learned, numbers)
        if since >= run.tail // 2 and not _rises(run, run.score[onset + 2 :]):
            return None
    ends = cycle_ends(run)
    if ends is not None:
        return _improving_cycles(run, ends)
    found = trend(run.epochs[-run.tail :], tail)
    falls = _loss_still_falls(run)
    border = max(LEAST_GAIN, LEAST_GAIN * run.learned, noise)
    if falls:  # the same samples are measured each epoch: a step may be real and below the noise
        border = max(LEAST_WITH_LOSS, run.scatter)
    seen = gain
    span = float(run.epochs[-1] - run.epochs[-run.tail]) * run.tail / max(run.tail - 1, 1)
    gain = max(gain, found.slope * span)
    is_clear = found.p_rising < TREND_ALPHA and gain > border
    is_large = found.p_rising < SHORT_ALPHA and gain > max(SHORT_GAIN * run.learned, 2 * noise)
    rises = is_clear or (run.tail < SHORT_TAIL and is_large)
    rises = rises or (falls and _keeps_pace(run))
    if falls and found.p_rising < WEAK_ALPHA:
        rises = rises or gain > max(2 * border, 2 * noise)
    if found.p_rising < WEAK_ALPHA or rises:
        error = 1.25 * math.sqrt(2 / third) * max(noise, 1e-9)
        run.is_near(gain, border, error, Label.CONVERGED if rises else Label.IMPROVING)
    if not rises or (seen < border / 2 and not _keeps_pace(run)):
        return None
    return Verdict(Label.IMPROVING, "rising", None, run.learned, numbers)


def _keeps_pace(run: Run) -> bool:
    """Return whether the score rose over the whole run, in its last third as in the one before."""
    third = run.n // 3
    levels = [float(np.median(part)) for part in np.array_split(run.score, 3)]
    gains = (levels[1] - levels[0], levels[2] - levels[1])
    noise = 1.25 * max(run.error(run.end), run.scatter) * math.sqrt(2 / max(third, 1))
    is_real = gains[1] > max(2 * LEAST_GAIN, 2 * noise) and gains[1] > PACE * gains[0]
    return is_real and trend(run.epochs, run.score).p_rising < SLOW_ALPHA


def _jumped(run: Run, before: float) -> bool:
    """Return whether the score went from one level to another within a few epochs of the tail."""
    tail = run.score[-run.tail :]
    low, high = before + 0.2 * (run.end - before), before + 0.8 * (run.end - before)
    between = int(((tail > low) & (tail < high)).sum())
    return between <= max(2, run.tail // 6)


def _rises(run: Run, score: Array) -> bool:
    if score.size < OVERFIT_EPOCHS:
        return False
    found: Trend = trend(np.arange(score.size, dtype=float), score)
    gain = found.slope * score.size
    return found.p_rising < TREND_ALPHA and gain > max(LEAST_GAIN, run.error(run.end))


def _loss_still_falls(run: Run) -> bool:
    """Return whether the validation loss fell in the tail, by more than noise and a little."""
    if not run.has_val_loss:
        return False
    tail = run.val[-run.tail :]
    fell = float(np.median(tail[: run.last]) - np.median(tail[-run.last :]))
    whole = float(run.val.max() - run.val.min())
    least = FALLS * min(whole, abs(float(np.median(tail[-run.last :]))))
    return fell > least and trend(run.epochs[-run.tail :], tail).p_falling < TREND_ALPHA


def _improving_cycles(run: Run, ends: Array) -> Verdict | None:
    """Return the verdict on the last two cycles of a schedule with restarts, by their ends."""
    before, last = float(run.score[int(ends[-2])]), float(run.score[int(ends[-1])])
    border = max(2 * LEAST_GAIN, LEAST_GAIN * run.learned, 2 * math.sqrt(2) * run.error(last))
    if last - before <= border:
        return None
    numbers = {"before": before, "end": last, "gain": last - before}
    numbers |= {"from_epoch": run.epoch(int(ends[-2])), "to_epoch": run.epoch(int(ends[-1]))}
    return Verdict(Label.IMPROVING, "cycles", None, run.learned, numbers)


def _converged(run: Run) -> Verdict:
    tail = run.score[-run.tail :]
    base = min(run.level, float(run.score[0]))
    settled = base + SETTLED * (run.end - base)
    onset = run.epoch(int((run.score >= settled).argmax()))
    numbers = {"end": run.end, "moved": float(np.ptp(tail)), "epochs": run.tail}
    numbers["level"] = run.level
    numbers["first"] = float(run.score[0])
    cause = "settled"
    if run.unknown:
        gained = run.end - float(run.score[0])
        cause = "settled" if gained > DROP_ERRORS * run.scatter else "flat"
    elif run.end < run.level:
        cause = "below chance"
    return Verdict(Label.CONVERGED, cause, onset, run.learned, numbers)


RULES: tuple[Callable[[Run], Verdict | None], ...] = (
    _exploded,
    stuck,
    overfit,
    _collapsed,
    _unstable,
    _lost,
    _improving,
)
