"""Gallery of test samples: confident mistakes, hard hits, and those on which seeds disagree."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.load import Runs
from analysis.data.predictions import want_classes
from analysis.plots.chart import Chart
from analysis.plots.groups import head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import set_head, shortened
from anlp.core.errors import UserError
from anlp.core.units import count

Show = Literal["wrong", "right", "hard", "disagree"]
MOST = 24
COLUMNS = 8
TILE_WIDTH, TILE_HEIGHT = 1.05, 1.5  # inches
NAME = 12
TITLES = {
    "wrong": "the most confident mistakes",
    "right": "hits, the most confident of each class in turn",
    "hard": "the least confident hits",
    "disagree": "what seeds disagree about most",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One sample."""

    position: int  # in the test set
    picture: Array  # (height, width) or (height, width, 3) in [0, 1]
    target: str
    answer: str  # of the mean over seeds; of the largest votes where seeds disagree
    confidence: float  # probability of the answer, mean over seeds
    votes: str  # how many seeds gave which answer


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What is drawn, the first tile the most striking."""

    tiles: tuple[Tile, ...]
    title: str
    subtitle: str


def gallery_info(seeds: Seeds, show: Show = "wrong", most: int = MOST) -> GalleryInfo:
    """Return the samples among those whose pictures the runs kept.

    Args:
        seeds: with classes and kept pictures.
        show: which samples.
        most: so many at most.

    Raises:
        UserError: no pictures were kept, or seeds cannot disagree because there is one.
    """
    pictures = pictures_of(seeds)
    if show == "disagree" and len(seeds.found) < 2:
        raise UserError("--show disagree: there is one seed only; train more, or take --show wrong")
    mean = np.mean([one.probabilities for one in seeds.found], axis=0)
    answers = np.stack([one.outputs.argmax(axis=1) for one in seeds.found])
    positions = np.array(sorted(pictures), dtype=np.int64)
    order = _order(show, positions, mean, answers, seeds.found[0].classes)
    tiles = tuple(_tile(int(at), pictures[int(at)], seeds, mean, answers) for at in order[:most])
    kept = f"among the {count(len(positions), 'test sample')} whose pictures were kept"
    subtitle = f"{len(tiles)} of {len(order):,} such samples {kept}; confidence: mean over seeds"
    return GalleryInfo(tiles, head(seeds.grid, f"{TITLES[show]}, {seeds.said}"), subtitle)


def draw_gallery(info: GalleryInfo, ax: Axes) -> Axes:
    """Draw the pictures on `ax`, row by row."""
    rows = -(-len(info.tiles) // COLUMNS)
    for index, tile in enumerate(info.tiles):
        row, column = divmod(index, COLUMNS)
        top = row * TILE_HEIGHT / TILE_WIDTH
        height, width = tile.picture.shape[:2]
        half_w, half_h = 0.45 * min(1.0, width / height), 0.45 * min(1.0, height / width)
        box = (
            column + 0.5 - half_w,
            column + 0.5 + half_w,
            top + 0.45 + half_h,
            top + 0.45 - half_h,
        )
        ax.imshow(tile.picture, extent=box, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.text(
            column + 0.5,
            top + 0.94,
            _caption(tile),
            ha="center",
            va="top",
            fontsize=6.2,
            linespacing=1.15,
        )
    ax.set(
        xlim=(0, COLUMNS),
        ylim=(max(rows, 1) * TILE_HEIGHT / TILE_WIDTH, 0),
        xticks=[],
        yticks=[],
        aspect="equal",
    )
    ax.spines[:].set_visible(False)
    if not info.tiles:
        ax.text(COLUMNS / 2, 0.7, "no such sample", ha="center", va="center", color="0.4")
    set_head(ax, info.title, info.subtitle)
    return ax


def gallery_table(info: GalleryInfo) -> pd.DataFrame:
    """Return a row per picture."""
    rows = [
        (tile.position, tile.target, tile.answer, tile.confidence, tile.votes)
        for tile in info.tiles
    ]
    return pd.DataFrame(rows, columns=["test_sample", "true", "answer", "confidence", "votes"])


def gallery_chart(
    loaded: Runs, *, metric: str = "", show: Show = "wrong", top: int = MOST
) -> Chart:
    """Pictures of the best configuration's mistakes (`--only` chooses another).

    Raises:
        UserError: no run kept pictures, or the targets are quantities.
    """
    seeds = load_seeds(loaded, metric)
    want_classes(seeds.found, "a gallery")
    info = gallery_info(seeds, show, max(top, 1))
    rows = max(-(-len(info.tiles) // COLUMNS), 1)
    said = [
        f"{tile.target} taken for {tile.answer} ({tile.confidence:.0%})" for tile in info.tiles[:3]
    ]
    alt = f"{info.title}: {'; '.join(said) or 'none'}."
    return Chart(
        info.title,
        lambda ax: draw_gallery(info, ax),
        gallery_table(info),
        alt,
        (TILE_WIDTH * COLUMNS, TILE_HEIGHT * rows + 1.2),
    )


def pictures_of(seeds: Seeds) -> dict[int, Array]:
    """Return the kept pictures by their position in the test set, values in [0, 1].

    Raises:
        UserError: there are none.
    """
    found: dict[int, Array] = {}
    for one in seeds.found:
        if one.noted is not None and one.noted_inputs is not None:
            found |= {
                int(at): picture for at, picture in zip(one.noted, one.noted_inputs, strict=True)
            }
    if not found:
        raise UserError(
            "these runs kept no pictures: a gallery is of images in classes, and this task has none"
        )
    whole = np.stack(list(found.values())).astype(np.float64)
    low, high = float(whole.min()), float(whole.max())
    scale = high - low or 1.0
    return {at: _shown((picture - low) / scale) for at, picture in found.items()}


def _shown(picture: npt.NDArray[np.float64]) -> Array:
    """(channels, height, width) as it is drawn: three channels in colour, else the first one."""
    return np.moveaxis(picture, 0, 2) if len(picture) == 3 else picture[0]


def _order(
    show: Show,
    positions: npt.NDArray[np.int64],
    mean: Array,
    answers: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
) -> list[int]:
    """Return the positions that belong here, most striking first; equals by their position."""
    confidence, said = mean.max(axis=1), mean.argmax(axis=1)
    if show == "disagree":
        votes = np.array([max(Counter(answers[:, at].tolist()).values()) for at in positions])
        chosen = [
            (number, float(confidence[at]), int(at))
            for number, at in zip(votes, positions, strict=True)
        ]
        return [at for number, _, at in sorted(chosen) if number < len(answers)]
    if show == "right":
        hits = [at for at in positions.tolist() if said[at] == targets[at]]
        ranks = {at: _rank(at, hits, confidence, targets) for at in hits}
        return sorted(hits, key=lambda at: (ranks[at], int(targets[at]), at))
    is_wanted = (said != targets) if show == "wrong" else (said == targets)
    sign = -1.0 if show == "wrong" else 1.0
    return sorted(
        (int(at) for at in positions if is_wanted[at]),
        key=lambda at: (sign * float(confidence[at]), at),
    )


def _rank(at: int, hits: list[int], confidence: Array, targets: npt.NDArray[np.int64]) -> int:
    """Return how many hits of the same class are more confident."""
    own = float(confidence[at])
    return sum(
        targets[one] == targets[at] and (float(confidence[one]), -one) > (own, -at) for one in hits
    )


def _tile(
    at: int, picture: Array, seeds: Seeds, mean: Array, answers: npt.NDArray[np.int64]
) -> Tile:
    names = seeds.found[0].names or tuple(map(str, range(mean.shape[1])))
    answer = int(mean[at].argmax())
    votes = Counter(names[int(one)] for one in answers[:, at])
    said = ", ".join(f"{number}× {shortened(name, NAME)}" for name, number in votes.most_common())
    return Tile(
        at,
        picture,
        names[int(seeds.found[0].classes[at])],
        names[answer],
        float(mean[at, answer]),
        said,
    )


def _caption(tile: Tile) -> str:
    target, answer = shortened(tile.target, NAME), shortened(tile.answer, NAME)
    sure = f"{math.floor(1000 * tile.confidence) / 10:.1f} %"
    if tile.target == tile.answer and len(tile.votes) < 2 * NAME and "," not in tile.votes:
        return f"{target}\n{sure}"
    return (
        f"{target} → {answer}\n{sure}"
        if "," not in tile.votes
        else f"{target} → {answer}\n{sure}\n{tile.votes}"
    )
