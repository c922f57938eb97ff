"""The margin within which two configurations count as equivalent."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.results.plan import Plan
from analysis.stats.intervals import sampling_sd
from analysis.text.metrics import is_share, render_value

RELATIVE = 0.01  # of the best value, of metrics that are no share of samples


@dataclass(frozen=True, slots=True)
class Margin:
    """A difference that is too small to matter, with where it comes from."""

    value: float  # in the unit of the metric; 0: nothing is equivalent
    reason: str


def margin_of(plan: Plan, best: float, samples: int | None) -> Margin | None:
    """Return the margin that was asked for, or what the metric can resolve; None where unknown.

    A share of samples resolves its standard error on that many samples; another metric is given 1 %
    of the best value.

    Args:
        plan: of the table.
        best: mean of the selected configuration.
        samples: of the split that is reported.
    """
    if plan.margin is not None:
        return Margin(plan.margin, "--margin")
    if not is_share(plan.report):
        return Margin(RELATIVE * abs(best), "1 % of the best; --margin changes it")
    if samples is None or not 0 <= best <= 1:
        return None
    least = max(sampling_sd(best, samples), 1 / samples)
    return Margin(least, f"one standard error of {samples:,} samples; --margin changes it")


def render_difference(metric: str, value: float) -> str:
    """Return a difference with its unit: `0.14 points` of a share, `0.002` of a loss."""
    if is_share(metric):
        return f"{100 * value:.3g} points"
    return f"{value:.3g}" if value else render_value(metric, 0.0)


def margin_in(metric: str, margin: float | None) -> float | None:
    """Return a margin as it was typed in the unit of the metric.

    >>> margin_in("test/acc", 0.5), margin_in("test/loss", 0.5)
    (0.005, 0.5)
    """
    if margin is None:
        return None
    return margin / 100 if is_share(metric) else margin
