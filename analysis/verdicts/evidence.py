"""Put the evidence of a verdict in words, each statement with its number."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.text.metrics import is_share
from analysis.verdicts.facts import Label, Verdict

CERTAIN = 0.95  # less is said
STUCK = "{metric}, {best} at best, {left} the 99.9 % chance band (up to {bound})"
RISE = "validation loss rose by {rise:.3g} from its lowest {lowest:.3g} while train loss fell"
SENTENCES: Mapping[tuple[Label, str], str] = {
    (Label.DIVERGED, "not finite"): "the loss was not finite any more in epoch {epoch:d}",
    (Label.DIVERGED, "exploded"): (
        "train loss ended at {end_loss:.4g}, far above the {start:.4g} of its start"
    ),
    (Label.STUCK, "never moved"): (
        "{metric} {end} is where it began ({first}) and train loss fell by {fall} at most"
    ),
    (Label.STUCK, "frozen"): f"{STUCK}; train loss fell by {{fall}} at most",
    (
        Label.STUCK,
        "no gain",
    ): f"{STUCK}; train loss fell by {{fall}} at most and ended at {{end_loss:.4g}}",
    (Label.STUCK, "blown"): (
        f"{STUCK}; train loss went up to {{peak_loss:.3g}} and ended at {{end_loss:.4g}} "
        "(chance level: {chance_loss:.4g})"
    ),
    (Label.STUCK, "constant"): (
        f"{STUCK}; one class was predicted for everything (entropy of the predicted classes "
        "at most {entropy:.2g} nats)"
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
        "chance band (up to {bound})"
    ),
    (Label.COLLAPSED, "lost"): (
        "{metric} rose to {best} in epoch {best_epoch:d}, fell by epoch {epoch:d} and ended at "
        "{end}"
    ),
    (Label.UNSTABLE, "fell"): (
        "{metric} rose to {best} in epoch {best_epoch:d}, fell by epoch {epoch:d} and ended at "
        "{end}"
    ),
    (Label.UNSTABLE, "swings"): (
        "{metric} fell by up to {drop} and was low in {low:d} of the last {epochs:d} epochs, of "
        "{learned} learned"
    ),
    (Label.UNSTABLE, "rough"): (
        "{metric} scatters by {rough} (standard deviation) from epoch to epoch, of {learned} "
        "learned"
    ),
    (Label.OVERFIT, "benign"): (
        f"{RISE}; {{metric}} kept its {{end}}: stop earlier or regularise if the loss matters"
    ),
    (Label.OVERFIT, "overconfident"): (
        f"overconfident: {RISE}; {{metric}} was {{then}} then and {{end}} at the end: stop earlier "
        "or calibrate if the loss matters"
    ),
    (Label.OVERFIT, "harmful"): (
        f"{RISE}; {{metric}} lost {{lost}}, ending at {{end}}: stop earlier or regularise"
    ),
    (Label.OVERFIT, "by score"): (
        "{metric} fell from {best} in epoch {best_epoch:d} to {end} while train loss fell: stop "
        "earlier or regularise"
    ),
    (Label.IMPROVING, "rising"): (
        "{metric} rose from {before} to {end} in the last {epochs:d} epochs: train longer"
    ),
    (Label.IMPROVING, "jumped"): (
        "{metric} jumped from {before} to {end} in epoch {jump:d}, too late to tell where it "
        "settles: train longer"
    ),
    (Label.IMPROVING, "cycles"): (
        "{metric} rose from {before} in epoch {from_epoch:d} to {end} in epoch {to_epoch:d}, the "
        "ends of the last two cycles: train longer"
    ),
    (Label.IMPROVING, "slow"): (
        f"{STUCK}, but it rose from {{began}} to {{end}}: train longer, or raise the learning rate"
    ),
    (Label.IMPROVING, "begun"): (
        f"{STUCK}, but train loss has fallen by {{fall}} and goes on falling: train longer"
    ),
    (Label.CONVERGED, "settled"): (
        "{metric} {end} moved within {moved} over the last {epochs:d} epochs"
    ),
    (Label.CONVERGED, "weak"): (
        "{metric} {end} moved within {moved} over the last {epochs:d} epochs, a weak plateau: "
        "{of_best} of what the best run learned"
    ),
    (Label.CONVERGED, "below chance"): (
        "{metric} rose from {first} to {end} and moved within {moved} over the last {epochs:d} "
        "epochs, still below chance level ({level})"
    ),
    (Label.CONVERGED, "flat"): (
        "{metric} {end} moved within {moved} over the last {epochs:d} epochs and began at "
        "{first}: at chance or good from the start, the chance level is not known"
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
    | {"before", "then", "began", "level"}
)
SHARES = frozenset({"fall", "of_best"})
COUNTS = frozenset(
    {"epoch", "best_epoch", "from_epoch", "to_epoch", "jump", "epochs", "least", "samples", "low"}
)


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
        elif name in COUNTS:
            words[name] = int(value)
        else:
            words[name] = value
    said = SENTENCES[verdict.label, verdict.cause].format(**words)
    if verdict.direction:
        said = f"{said}; {verdict.direction}"
    if verdict.instead is not None and verdict.certainty < CERTAIN:
        said = f"{said} ({100 * verdict.certainty:.0f} % certain, else {verdict.instead.value})"
    return said


def render_score(metric: str, value: float) -> str:
    """Write a score within a sentence, with its unit."""
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.3f}"


def _left(numbers: Mapping[str, float]) -> str:
    return "hardly left" if numbers.get("above") else "never left"
