"""Put the evidence of a verdict in words, each statement with its number."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.text.metrics import is_share
from analysis.verdicts.rules import Label, Verdict

STUCK = "{metric}, {best} at best, {left} the 99.9 % chance band (up to {bound})"
SENTENCES: Mapping[tuple[Label, str], str] = {
    (
        Label.DIVERGED,
        "not finite",
    ): "the loss was not finite any more in epoch {epoch:d}: learning rate too large",
    (Label.DIVERGED, "exploded"): (
        "train loss ended at {end_loss:.4g}, far above the {start:.4g} of its start: "
        "learning rate too large"
    ),
    (Label.STUCK, "never moved"): (
        "{metric} {end} is where it began ({first}) and train loss fell by {fall}: "
        "frozen, learning rate too small"
    ),
    (
        Label.STUCK,
        "frozen",
    ): f"{STUCK}; train loss fell by {{fall}}: frozen, learning rate too small",
    (Label.STUCK, "blown"): (
        f"{STUCK}; train loss went up to {{peak_loss:.3g}} and ended at {{end_loss:.4g}} "
        "(chance level: {chance_loss:.4g}): blown to one answer, learning rate too large"
    ),
    (Label.STUCK, "constant"): (
        f"{STUCK}; it went from {{first}} to {{values:d}} exact values in {{epochs:d}} "
        f"epochs, as one answer to "
        "everything does: learning rate too large"
    ),
    (Label.STUCK, "unrelated"): (
        f"{STUCK}, though train loss fell by {{fall}}: the size of the answers was "
        f"learned, not what they depend on"
    ),
    (Label.STUCK, "memorised"): (
        f"{STUCK} while train loss fell to {{end_loss:.4g}}: it learns the training set "
        f"only, look at labels and splits"
    ),
    (Label.STUCK, "at chance"): f"{STUCK}; no train loss was logged to say why",
    (Label.COLLAPSED, "collapsed"): (
        "{metric} rose to {best} in epoch {best_epoch:d} and ended at {end}, inside the "
        "chance band (up to {bound}): "
        "learning rate too large late, or its schedule"
    ),
    (Label.UNSTABLE, "fell"): (
        "{metric} fell by {drop} within the last {epochs:d} epochs, of {learned} "
        "learned: learning rate too large late"
    ),
    (Label.UNSTABLE, "rough"): (
        "{metric} scatters by {rough} from epoch to epoch in the last {epochs:d}, of "
        "{learned} learned: "
        "learning rate too large late, or a small validation set"
    ),
    (Label.OVERFIT, "benign"): (
        "validation loss rose by {rise:.3g} from its lowest {lowest:.3g} while train "
        "loss fell; {metric} kept its "
        "{end}: stop earlier or regularise if the loss matters"
    ),
    (Label.OVERFIT, "harmful"): (
        "validation loss rose by {rise:.3g} from its lowest {lowest:.3g} while train "
        "loss fell; {metric} lost {lost}, "
        "ending at {end}: stop earlier or regularise"
    ),
    (
        Label.IMPROVING,
        "rising",
    ): "{metric} {end} still gained {gain} over the last {epochs:.0f} epochs: train longer",
    (Label.IMPROVING, "begun"): (
        f"{STUCK}, but train loss has fallen by {{fall}} and goes on falling: train "
        f"longer, or raise the learning rate"
    ),
    (
        Label.CONVERGED,
        "settled",
    ): "{metric} {end} moved within {moved} over the last {epochs:d} epochs",
    (Label.CONVERGED, "weak"): (
        "{metric} {end} moved within {moved} over the last {epochs:d} epochs, a weak plateau: "
        "{of_best} of what the best run learned"
    ),
    (
        Label.TOO_SHORT,
        "too short",
    ): "{metric} {end} after {epochs:d} of at least {least:d} epochs that a verdict takes",
    (
        Label.TOO_SHORT,
        "too few",
    ): "{metric} {end} on {samples:d} samples, where even a perfect score may be chance",
    (Label.CRASHED, "crashed"): "ended with an exception: see the log",
    (Label.MISSING, "not finished"): "no epoch logged yet",
    (Label.MISSING, "not logged"): "no {metric} logged",
}
SCORES = frozenset(
    {"best", "bound", "end", "first", "drop", "learned", "rough", "lost", "gain", "moved"}
)
SHARES = frozenset({"fall", "of_best"})
COUNTS = frozenset({"epoch", "best_epoch", "least", "samples", "values"})


def render_evidence(verdict: Verdict, metric: str) -> str:
    """Write the evidence in one line.

    Args:
        verdict: see `analysis.verdicts.rules.verdict_of`.
        metric: the score it was judged by, which decides how scores are written.
    """
    numbers = dict(verdict.numbers)
    words: dict[str, object] = {"metric": metric, "left": _left(numbers)}
    for name, value in numbers.items():
        if name in SCORES:
            words[name] = render_score(metric, value)
        elif name in SHARES:
            words[name] = f"{100 * value:.1f} %"
        elif name in COUNTS or (name == "epochs" and verdict.cause != "rising"):
            words[name] = int(value)
        else:
            words[name] = value
    return SENTENCES[verdict.label, verdict.cause].format(**words)


def render_score(metric: str, value: float) -> str:
    """Write a score within a sentence, with its unit."""
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.3f}"


def _left(numbers: Mapping[str, float]) -> str:
    return "hardly left" if numbers.get("above") else "never left"
