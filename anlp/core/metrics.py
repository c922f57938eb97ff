"""Rules about metrics, by their names: which way is better, and which one ranks runs by default."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

# The metrics that rank runs where these do not agree on one, the first that was measured.
USUAL_METRICS = ("val/acc", "val/accuracy", "val/spearman", "val/r2", "val/f1", "val/loss")
LOWER_IS_BETTER = frozenset(
    {"loss", "error", "err", "mse", "mae", "rmse", "perplexity", "seconds", "norm"}
)


# How programs name the set that a metric was measured on, and the name here.
MEASURED_ON: Mapping[str, str] = {
    **dict.fromkeys(("val", "valid", "validation", "eval", "dev"), "val"),
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ELSEWHERE = "run"  # before the slash where a name does not say on which set it was measured
_DECLARED: dict[str, bool] = {}  # directions that grid files declare, over those of the words


def metric_name(name: str) -> str:
    """Return the name here of a metric that a program logged: the set, a slash, the rest.

    >>> metric_name("val_acc"), metric_name("eval/f1"), metric_name("loss-train")
    ('val/acc', 'val/f1', 'train/loss')
    >>> metric_name("accuracy")
    'run/accuracy'
    """
    place, slash, rest = name.partition("/")
    if slash and place and rest:
        return f"{MEASURED_ON.get(place.lower(), place)}/{rest}"
    words = [word for word in re.split(r"[\s/_.:-]+", name) if word]
    for first, others in ((words[:1], words[1:]), (words[-1:], words[:-1])):
        measured_on = MEASURED_ON.get(first[0].lower()) if first and others else None
        if measured_on is not None:
            return f"{measured_on}/{'_'.join(others)}"
    return f"{ELSEWHERE}/{'_'.join(words) or 'value'}"


def declare_goal(metric: str, *, maximize: bool) -> None:
    """Let `higher_is_better` answer so for this metric, in this process.

    For the metric of a grid file that says `goal: minimize` or `goal: maximize`.
    """
    _DECLARED[metric] = maximize


_REPORTED: dict[str, str] = {}  # metrics that grid files report, by the one that selects


def declare_report(select: str, report: str) -> None:
    """Let `reported_with` answer so, in this process.

    For the metrics of a grid file that says `metrics: {select: …, report: …}`.

    Args:
        select: the metric that selects; empty: any.
        report: the metric that is reported.
    """
    _REPORTED[select] = report


def reported_with(select: str) -> str:
    """Return the metric that a grid file reports where `select` selects; empty: it names none."""
    return _REPORTED.get(select, _REPORTED.get("", ""))


def higher_is_better(metric: str) -> bool:
    """Tell whether a metric is better when higher; losses and errors are better when lower.

    >>> higher_is_better("val/acc"), higher_is_better("val/mae")
    (True, False)

    Args:
        metric: `val/mae`; what stands before the last slash says where it was measured.
    """
    declared = _DECLARED.get(metric)
    if declared is not None:
        return declared
    return not words_of(metric) & LOWER_IS_BETTER


def default_metric(measured: Collection[str], monitored: Collection[str]) -> str | None:
    """Return the metric that ranks finished runs by default; None where nothing was measured.

    It is the metric that all runs monitor. Where they differ, or did not measure it, it is the
    first usual one, then the first on the validation set, then the first of all.

    Args:
        measured: metrics of which some finished run has a finite value.
        monitored: what the runs were told to monitor.

    >>> default_metric({"val/acc", "val/loss"}, {"val/loss"})
    'val/loss'
    >>> default_metric({"val/acc", "val/loss"}, {"val/acc", "val/loss"})
    'val/acc'
    >>> default_metric({"test/mae", "val/mae"}, {"val/f1"})
    'val/mae'
    """
    by_agreement = monitored if len(set(monitored)) == 1 else ()
    validated = sorted(name for name in measured if name.startswith("val/"))
    for name in (*by_agreement, *USUAL_METRICS, *validated, *sorted(measured)):
        if name in measured:
            return name
    return None


def words_of(metric: str) -> frozenset[str]:
    """Return the words of a metric's name: `{"spearman", "valence"}` of `val/spearman_valence`."""
    return frozenset(re.split(r"[^a-z0-9]+", metric.rpartition("/")[2].lower()))
