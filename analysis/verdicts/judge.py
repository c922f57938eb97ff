"""Judge all runs of a grid: frames in, frames and curves out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.baselines import MAJORITY, RANDOM, fill_baselines, run_chance_level
from analysis.data.frames import SIZE, UNFINISHED, varying_settings
from analysis.stats.chance import Chance, ScoreKind, class_score_at_chance, class_shares
from analysis.stats.intervals import Array
from analysis.text.levels import is_missing
from analysis.text.metrics import is_correlation, is_share
from analysis.verdicts.evidence import render_evidence
from analysis.verdicts.facts import Curve, Label, Verdict
from analysis.verdicts.grid import mark_weak, point_directions
from analysis.verdicts.rules import verdict_of
from anlp.core.errors import UserError
from anlp.core.metrics import words_of

SCORES = ("val/acc", "val/r2", "val/spearman")  # what runs are judged by, the first that was logged
ENTROPY = "prediction_entropy"  # in nats, of the classes that were predicted
COLUMNS = ("verdict", "cause", "onset", "epochs", "certainty", "evidence")


@dataclass(frozen=True, slots=True)
class Judged:
    """Runs with their verdicts, and what a figure of them needs."""

    metric: str
    # the frame `runs` with the columns of `COLUMNS`; onset is missing where there is none
    runs: pd.DataFrame
    verdicts: Mapping[str, Verdict]  # by run_id
    curves: Mapping[str, Curve]  # by run_id, of every run that logged an epoch
    without_chance: int = 0  # runs of which no chance level or no size was known

    def of(self, labels: frozenset[Label]) -> pd.DataFrame:
        """Return the runs with one of these verdicts."""
        return self.runs[self.runs["verdict"].isin([label.value for label in labels])]


CONVERGENT = frozenset(label for label in Label if label.is_convergent)
DIVERGENT = frozenset(label for label in Label if label.is_divergent)
APART = frozenset(Label) - CONVERGENT - DIVERGENT


def judge_runs(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    metric: str | None = None,
    *,
    level: float | None = None,
    samples: int | None = None,
) -> Judged:
    """Judge every run.

    Args:
        runs: see `analysis.data.frames`.
        history: likewise.
        metric: what was logged of the validation set, see `kind_of`; the first of `SCORES` that was
            logged, unless given.
        level: accuracy at chance level; from the baselines of finished runs unless given.
        samples: of the validation set, likewise.

    Raises:
        UserError: it is unknown what chance means for this metric.
    """
    logged = [name for name in SCORES if name in history and history[name].notna().any()]
    score = metric or (logged[0] if logged else SCORES[0])
    chances = _Chances(runs, score, level=level, samples=samples)
    curves = curves_of(history, score)
    verdicts = {
        str(run["run_id"]): _judge_run(run, curves, chances) for run in runs.to_dict("records")
    }
    verdicts = point_directions(mark_weak(verdicts), runs, varying_settings(runs))
    in_order = [verdicts[str(run)] for run in runs["run_id"]]
    judged = runs.assign(
        verdict=[verdict.label.value for verdict in in_order],
        cause=[verdict.cause for verdict in in_order],
        onset=[math.nan if verdict.onset is None else verdict.onset for verdict in in_order],
        epochs=[_last_epoch(curves.get(str(run))) for run in runs["run_id"]],
        certainty=[round(verdict.certainty, 3) for verdict in in_order],
        evidence=[render_evidence(verdict, score) for verdict in in_order],
    )
    return Judged(score, judged, verdicts, curves, chances.unknown)


def kind_of(metric: str) -> ScoreKind:
    """Return the kind of a score, which decides what chance means for it.

    Raises:
        UserError: it is no share, R² or correlation.
    """
    words = words_of(metric)
    if words & {"auroc", "auc"} or {"roc", "auc"} <= words:
        return "auroc"
    if "balanced" in words or ("recall" in words and "macro" in words):
        return "balanced"
    if "f1" in words and not words & {"micro"}:
        return "macro_f1" if words & {"macro", "weighted"} else "f1"
    if is_share(metric):
        return "share"
    if "r2" in words:
        return "r2"
    if is_correlation(metric):
        return "correlation"
    raise UserError(
        f"--metric: no verdict by {metric!r}: expected an accuracy, F1, R² or correlation of the "
        "validation set, for which it is known what chance reaches (losses are looked at beside it)"
    )


def curves_of(history: pd.DataFrame, metric: str) -> dict[str, Curve]:
    """Return the curve of every run that logged an epoch, by run_id.

    Of an epoch logged twice, the later line counts.
    """
    if history.empty:
        return {}
    lines = history.drop_duplicates(["run_id", "epoch"], keep="last").sort_values(
        ["run_id", "epoch"], kind="stable"
    )
    names = lines["run_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    split = metric.rpartition("/")[0] or "val"
    names_of = ("epoch", metric, "train/loss", f"{split}/loss", f"{split}/{ENTROPY}")
    columns = [_column(lines, name) for name in names_of]
    parts = zip(*(np.split(column, starts[1:]) for column in columns), strict=True)
    return {str(names[start]): Curve(*arrays) for start, arrays in zip(starts, parts, strict=True)}


class _Chances:
    """The chance of every run: its level, the size of its validation set, and its loss."""

    def __init__(
        self, runs: pd.DataFrame, metric: str, *, level: float | None, samples: int | None
    ) -> None:
        self._kind = kind_of(metric)
        self._split = metric.partition("/")[0]
        self.unknown = 0  # runs of which no chance level or no size was known
        self._level, self._samples = level, samples
        rows = fill_baselines(runs, f"{SIZE}{self._split}").to_dict("records")
        self._runs: dict[str, Mapping[Any, Any]] = {str(run["run_id"]): run for run in rows}

    def of(self, run_id: str, curve: Curve) -> Chance:
        """Return the chance of a run.

        Its level is NaN where that, or the size of the validation set, is unknown.
        """
        run = self._runs[run_id]
        samples: Any = self._samples or run.get(f"{SIZE}{self._split}")
        known = self._known_level(run)
        if is_missing(samples) or known is None:
            self.unknown += 1
            return Chance(math.nan, 0, math.nan, self._kind)
        level, shares = known
        return Chance(level, int(samples), self._loss(run, curve), self._kind, shares)

    def _known_level(self, run: Mapping[Any, Any]) -> tuple[float, tuple[float, ...]] | None:
        """Return the chance level of a run and the shares of its classes, as far as known."""
        if self._kind in ("r2", "correlation"):
            return 0.0, ()
        random, majority = run.get(RANDOM), run.get(MAJORITY)
        if self._level is None and self._kind != "share" and is_missing(majority):
            # a grid file's own level is that of the metric
            return None if is_missing(random) else (float(random), ())  # type: ignore[arg-type] # not missing
        level = self._level
        if level is None:
            level = run_chance_level(run, f"{self._split}/acc")
        if level is None or self._kind == "share":
            return None if level is None else (level, ())
        classes = _classes(level, None if is_missing(random) else float(random))  # type: ignore[arg-type] # not missing
        shares = class_shares(level, classes)
        kind = self._kind
        if kind == "f1" and classes > 2:
            kind = self._kind = "macro_f1"
        return class_score_at_chance(kind, shares), shares

    def _loss(self, run: Mapping[Any, Any], curve: Curve) -> float:
        """Return the loss at chance, NaN where it is unknown."""
        if self._kind == "correlation":  # which says nothing of the loss
            return math.nan
        if self._kind == "r2":
            return _target_variance(curve)
        if self._level is not None and self._kind == "share":
            return -math.log(self._level) if self._level > 0 else math.nan
        loss = run_chance_level(run, f"{self._split}/loss")
        return math.nan if loss is None else loss


def _judge_run(run: Mapping[Any, Any], curves: Mapping[str, Curve], chances: _Chances) -> Verdict:
    curve = curves.get(str(run["run_id"]))
    if run["outcome"] == "failed":
        return Verdict(Label.CRASHED, "crashed")
    if curve is None:
        is_live = run["outcome"] == UNFINISHED
        return Verdict(Label.MISSING, "not finished" if is_live else "not logged")
    chance = chances.of(str(run["run_id"]), curve)
    return verdict_of(curve, chance, has_diverged=run["outcome"] == "diverged")


def _target_variance(curve: Curve) -> float:
    """Derive the variance of the targets from a squared error: loss = (1 - R²) variance."""
    usable = np.isfinite(curve.score) & np.isfinite(curve.val_loss) & (curve.score < 1)
    if not usable.any():
        return math.nan
    first = int(usable.argmax())
    return float(curve.val_loss[first] / (1 - curve.score[first]))


def _classes(level: float, random: float | None) -> int:
    """Return the number of classes: by guessing among them, else the fewest of this majority."""
    guess = random if random is not None and 0 < random <= 0.5 else level
    return max(2, round(1 / guess)) if guess > 0 else 2


def _column(lines: pd.DataFrame, name: str) -> Array:
    return lines[name].to_numpy(float) if name in lines else np.full(len(lines), np.nan)


def _last_epoch(curve: Curve | None) -> int:
    return 0 if curve is None else int(curve.epochs[-1])
