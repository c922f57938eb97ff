"""Rules for runs that fit the training set while the validation set tells otherwise."""

from __future__ import annotations

import numpy as np

from analysis.stats.trend import trend
from analysis.verdicts.facts import DROP_ERRORS, FINAL, Label, Run, Verdict, step_scatter

TREND_ALPHA = 0.01
OVERFIT_RISE = 0.10  # of the initial drop of the validation loss
OVERFIT_EPOCHS = 5


def overfit(run: Run) -> Verdict | None:
    """Return the verdict on a validation loss, else a score, that worsens as train loss falls."""
    if not run.has_train_loss:
        return None
    if not run.has_val_loss:
        return _overfit_by_score(run)
    lowest = int(run.val.argmin())
    drop = float(run.val[0] - run.val[lowest])
    rise = float(np.median(run.val[-FINAL:]) - run.val[lowest])
    border = OVERFIT_RISE * max(drop, 1e-9)
    if run.n - lowest < OVERFIT_EPOCHS:
        return None
    since = slice(lowest, None)
    up, down = trend(run.epochs[since], run.val[since]), trend(run.epochs[since], run.train[since])
    rises = rise > border and up.p_rising < TREND_ALPHA and down.p_falling < TREND_ALPHA
    noise = step_scatter(run.val[since])
    if rise > border / 3 and down.p_falling < TREND_ALPHA:
        run.is_near(rise, border, noise, Label.CONVERGED if rises else Label.OVERFIT)
    if not rises:
        return None
    lost = float(run.score[lowest:].max()) - run.end
    numbers = {"lowest": float(run.val[lowest]), "rise": rise, "drop": drop, "lost": lost}
    numbers |= {"end": run.end, "best": run.best, "best_epoch": run.epoch(run.best_at)}
    numbers["then"] = float(run.score[lowest])
    cause = "harmful"
    if lost <= 2 * run.error(run.end) or lost <= 0.01 * run.learned:
        cause = "overconfident" if run.chance.kind == "share" else "benign"
    return Verdict(Label.OVERFIT, cause, run.epoch(lowest), run.learned, numbers)


def _overfit_by_score(run: Run) -> Verdict | None:
    """Return the verdict on a score that falls steadily while the train loss falls."""
    since = slice(run.best_at, None)
    if run.n - run.best_at < 2 * OVERFIT_EPOCHS:
        return None
    fell = trend(run.epochs[since], run.score[since])
    down = trend(run.epochs[since], run.train[since])
    lost = run.high - run.end
    is_far = lost > max(OVERFIT_RISE * run.learned, DROP_ERRORS * run.error(run.end))
    if not is_far or fell.p_falling >= TREND_ALPHA or down.p_falling >= TREND_ALPHA:
        return None
    numbers = {"lost": lost, "end": run.end, "best": run.best}
    numbers["best_epoch"] = run.epoch(run.best_at)
    return Verdict(Label.OVERFIT, "by score", run.epoch(run.best_at), run.learned, numbers)
