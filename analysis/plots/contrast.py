"""The best configuration against the worst, sample by sample: which of them is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.load import Runs
from analysis.data.predictions import want_classes
from analysis.plots.chart import Chart
from analysis.plots.gallery import pictures_of
from analysis.plots.groups import head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_ends
from analysis.plots.style import set_head, shortened
from anlp.core.errors import UserError
from anlp.core.units import count

Side = Literal["worst", "best", "both"]
SIDES: dict[Side, str] = {
    "worst": "only the worst is wrong",
    "best": "only the best is wrong",
    "both": "both are wrong",
}
COLUMNS = 8
TILE_WIDTH, TILE_HEIGHT, HEADING = 1.05, 1.45, 0.28  # inches
NAME = 12


@dataclass(frozen=True, slots=True)
class Difference:
    """One sample."""

    position: int  # in the test set
    picture: Array
    target: str
    best: str  # its answer
    worst: str
    confidence: float  # of whom is wrong, of the worst where both are


@dataclass(frozen=True, slots=True)
class ContrastInfo:
    """What is drawn."""

    best: str
    worst: str
    rows: dict[Side, tuple[Difference, ...]]  # the most confident mistake first
    counts: dict[Side, int]  # test samples, whether their pictures were kept or not
    shares: tuple[float, float]  # of the test set that each has right
    n_samples: int
    title: str
    subtitle: str


def contrast_info(best: Seeds, worst: Seeds, most: int = COLUMNS) -> ContrastInfo:
    """Return the samples about which two configurations differ, and those that defeat both.

    Args:
        best: with classes and kept pictures.
        worst: on the same test samples.
        most: so many at most of each kind.

    Raises:
        UserError: they were tested on different samples, or no pictures were kept.
    """
    truth = best.found[0].classes
    if len(truth) != len(worst.found[0].classes) or (truth != worst.found[0].classes).any():
        raise UserError(
            "the best and the worst run were tested on different samples: "
            "choose one data set with --only"
        )
    pictures = {**pictures_of(worst), **pictures_of(best)}
    chances = [np.mean([one.probabilities for one in side.found], axis=0) for side in (best, worst)]
    answers = [chance.argmax(axis=1) for chance in chances]
    is_right = [answer == truth for answer in answers]
    masks: dict[Side, Array] = {
        "worst": is_right[0] & ~is_right[1],
        "best": ~is_right[0] & is_right[1],
        "both": ~is_right[0] & ~is_right[1],
    }
    names = best.found[0].names
    rows: dict[Side, tuple[Difference, ...]] = {}
    for side, mask in masks.items():
        sure = chances[0 if side == "best" else 1].max(axis=1)
        order = sorted(
            (at for at in np.flatnonzero(mask).tolist() if at in pictures),
            key=lambda at: (-sure[at], at),
        )
        rows[side] = tuple(
            Difference(
                at,
                pictures[at],
                names[truth[at]],
                names[answers[0][at]],
                names[answers[1][at]],
                float(sure[at]),
            )
            for at in order[:most]
        )
    shares = (float(is_right[0].mean()), float(is_right[1].mean()))
    return ContrastInfo(
        best.name,
        worst.name,
        rows,
        {side: int(mask.sum()) for side, mask in masks.items()},
        shares,
        len(truth),
        head(best.grid, "the best and the worst configuration on the same samples"),
        f"best: {best.said}, {100 * shares[0]:.4g} % right; "
        f"worst: {worst.said}, {100 * shares[1]:.4g} %",
    )


def draw_contrast(info: ContrastInfo, ax: Axes) -> Axes:
    """Draw the pictures on `ax`, a row per kind; below each the truth and both predictions."""
    step, heading = TILE_HEIGHT / TILE_WIDTH, HEADING / TILE_WIDTH
    for row, (side, said) in enumerate(SIDES.items()):
        top = row * (step + heading)
        ax.text(
            0.05,
            top + 0.05,
            f"{said}: {count(info.counts[side], 'sample')}",
            va="top",
            fontsize=8.5,
            weight="bold",
        )
        for column, one in enumerate(info.rows[side]):
            _draw(ax, one, column, top + heading)
        if not info.rows[side]:
            text = "none" if not info.counts[side] else "their pictures were not kept"
            ax.text(0.1, top + heading + 0.3, text, va="top", fontsize=8, color="0.4")
    bottom = len(SIDES) * (step + heading)
    ax.set(xlim=(0, COLUMNS), ylim=(bottom, 0), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    set_head(ax, info.title, info.subtitle)
    return ax


def contrast_table(info: ContrastInfo) -> pd.DataFrame:
    """Return a row per picture."""
    rows = [
        (SIDES[side], one.position, one.target, one.best, one.worst, one.confidence)
        for side, found in info.rows.items()
        for one in found
    ]
    return pd.DataFrame(
        rows, columns=["kind", "test_sample", "true", "best_says", "worst_says", "confidence"]
    )


def contrast_chart(loaded: Runs, *, metric: str = "", top: int = COLUMNS) -> Chart:
    """Mistakes of the best and the worst configuration that kept pictures.

    Raises:
        UserError: there are no two configurations with predictions, or the targets are quantities.
    """
    best, worst = load_ends(loaded, metric)
    want_classes(best.found, "a gallery")
    info = contrast_info(best, worst, min(max(top, 1), COLUMNS))
    counts = ", ".join(f"{said}: {info.counts[side]:,}" for side, said in SIDES.items())
    alt = f"{info.title}. {info.subtitle}. Of {info.n_samples:,} test samples, {counts}."
    height = len(SIDES) * (TILE_HEIGHT + HEADING) + 1.1
    size = (TILE_WIDTH * COLUMNS, height)
    return Chart(info.title, lambda ax: draw_contrast(info, ax), contrast_table(info), alt, size)


def _draw(ax: Axes, one: Difference, column: int, top: float) -> None:
    height, width = one.picture.shape[:2]
    half_w, half_h = 0.45 * min(1.0, width / height), 0.45 * min(1.0, height / width)
    box = (column + 0.5 - half_w, column + 0.5 + half_w, top + 0.45 + half_h, top + 0.45 - half_h)
    ax.imshow(one.picture, extent=box, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    target, best, worst = (shortened(name, NAME) for name in (one.target, one.best, one.worst))
    text = f"{target}\nbest: {best}\nworst: {worst}"
    ax.text(column + 0.5, top + 0.94, text, ha="center", va="top", fontsize=6.2, linespacing=1.15)
