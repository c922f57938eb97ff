"""Spectrograms of test pieces: time across, frequency upwards, mel bands beside pitch classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from analysis.data.load import Runs
from analysis.data.predictions import Piece
from analysis.plots.chart import Chart
from analysis.plots.groups import head
from analysis.plots.scale import Array
from analysis.plots.seeds import Seeds, load_seeds
from analysis.plots.style import set_head, shortened
from anlp.core.errors import UserError
from anlp.core.units import count

MEL, PITCHES = 128, 12  # rows of the files that the music tasks read
PITCH_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MOST = 12
COLUMNS = 2
WIDTH, MEL_HEIGHT, PITCH_HEIGHT, GAP = 4.1, 1.5, 0.85, 0.5  # inches of a panel
SHADES = "magma"


@dataclass(frozen=True, slots=True)
class Panel:
    """One piece, or the part of it that has one kind of feature."""

    position: int  # in the test set
    name: str
    kind: str  # mel, chroma or features
    values: Array  # (rows, frames), the first row at the bottom


@dataclass(frozen=True, slots=True)
class SpectrogramsInfo:
    """What is drawn, row by row."""

    panels: tuple[Panel, ...]
    title: str
    subtitle: str


def spectrograms_info(seeds: Seeds, most: int = MOST) -> SpectrogramsInfo:
    """Return the pieces that a run kept.

    Args:
        seeds: of which the first that kept pieces is shown.
        most: pieces at most.

    Raises:
        UserError: no run kept any.
    """
    first = next((one for one in seeds.found if one.pieces), None)
    if first is None:
        raise UserError(
            "these runs kept no pieces: spectrograms are of sequences, "
            "and this task has none or ran before pieces "
            "were kept; repeat a run with --predictions"
        )
    pieces = first.pieces[:most]
    names = [
        _name(first.targets[piece.position], first.names, is_class=first.is_classes)
        for piece in pieces
    ]
    panels = [
        panel for piece, name in zip(pieces, names, strict=True) for panel in _panels(piece, name)
    ]
    longest = max(panel.values.shape[1] for panel in panels)
    chosen = (
        "the first of each class" if first.is_classes else "the lowest, the middle and the highest"
    )
    return SpectrogramsInfo(
        tuple(panels),
        head(seeds.grid, f"spectrograms of {count(len(pieces), 'test piece')}, {chosen}"),
        f"time across (at most {longest:,} frames or beats), "
        "each kind of feature shaded over its own range",
    )


def draw_spectrograms(info: SpectrogramsInfo, ax: Axes) -> Axes:
    """Draw the panels on `ax`, in columns; all of one kind share their shades."""
    longest = max(panel.values.shape[1] for panel in info.panels)
    bounds = {panel.kind: _range(info, panel.kind) for panel in info.panels}
    tops = _tops(info)
    for panel, (column, top) in zip(info.panels, tops, strict=True):
        left, height = column * (WIDTH + GAP), _height(panel)
        right = left + WIDTH * panel.values.shape[1] / longest
        shades = Normalize(*bounds[panel.kind])
        box = (left, right, top + height, top)
        ax.imshow(
            panel.values,
            extent=box,
            origin="lower",
            aspect="auto",
            cmap=SHADES,
            norm=shades,
            interpolation="none",
        )
        ax.text(
            left,
            top - 0.05,
            f"{shortened(panel.name, 30)}: {panel.kind}",
            va="bottom",
            fontsize=7.5,
        )
        ax.text(
            right,
            top + height + 0.04,
            f"{panel.values.shape[1]:,}",
            va="top",
            ha="right",
            fontsize=6,
        )
        for place, text in _marks(panel):
            at = top + height * (1 - (place + 0.5) / len(panel.values))
            ax.text(left - 0.05, at, text, va="center", ha="right", fontsize=5.5)
    bottom = max(top + _height(panel) for panel, (_, top) in zip(info.panels, tops, strict=True))
    ax.set(xlim=(-0.4, COLUMNS * (WIDTH + GAP) - GAP), ylim=(bottom + 0.2, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    set_head(ax, info.title, info.subtitle)
    return ax


def spectrograms_table(info: SpectrogramsInfo) -> pd.DataFrame:
    """Return a row per panel: its size and what its values are like."""
    rows = [
        (
            panel.position,
            panel.name,
            panel.kind,
            *panel.values.shape,
            panel.values.min(),
            panel.values.mean(),
         panel.values.max())
        for panel in info.panels
    ]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["test_sample", "name", "kind", "bands", "frames", "min", "mean", "max"]
    )


def spectrograms_chart(loaded: Runs, *, metric: str = "", top: int = MOST) -> Chart:
    """Spectrograms of the data of the best configuration that kept some (`--only` chooses another).

    Raises:
        UserError: no run kept any.
    """
    info = spectrograms_info(load_seeds(loaded, metric), max(top, 1))
    sizes = "; ".join(
        f"{panel.name} {panel.kind} {panel.values.shape[0]} x {panel.values.shape[1]}"
        for panel in info.panels[:4]
    )
    ends = (top + _height(panel) for panel, (_, top) in zip(info.panels, _tops(info), strict=True))
    size = (COLUMNS * (WIDTH + GAP), max(ends) + 1.0)
    table = spectrograms_table(info)
    return Chart(
        info.title, lambda ax: draw_spectrograms(info, ax), table, f"{info.title}. {sizes}.", size
    )


def _panels(piece: Piece, name: str) -> list[Panel]:
    values = piece.frames.T  # (F, T)
    if len(values) == MEL + PITCHES:
        return [
            Panel(piece.position, name, "mel", values[:MEL]),
            Panel(piece.position, name, "chroma", values[MEL:]),
        ]
    kind = {MEL: "mel", PITCHES: "chroma"}.get(len(values), "features")
    return [Panel(piece.position, name, kind, values)]


def _name(target: Array | float, names: tuple[str, ...], *, is_class: bool) -> str:
    if is_class:
        return names[int(target)]
    values = np.atleast_1d(target)
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))


def _height(panel: Panel) -> float:
    return PITCH_HEIGHT if panel.kind == "chroma" else MEL_HEIGHT


def _range(info: SpectrogramsInfo, kind: str) -> tuple[float, float]:
    values = [panel.values for panel in info.panels if panel.kind == kind]
    return min(float(one.min()) for one in values), max(float(one.max()) for one in values)


def _tops(info: SpectrogramsInfo) -> list[tuple[int, float]]:
    """Return column and upper edge of each panel: kinds of one piece stacked, pieces in columns."""
    pieces = list(dict.fromkeys(panel.position for panel in info.panels))
    kinds = [panel for panel in info.panels if panel.position == pieces[0]]
    tall = sum(_height(panel) + GAP for panel in kinds)
    places = []
    for panel in info.panels:
        row, column = divmod(pieces.index(panel.position), COLUMNS)
        above = [one for one in info.panels if one.position == panel.position]
        before = above[: above.index(panel)]
        places.append((column, row * tall + GAP * 0.7 + sum(_height(one) + GAP for one in before)))
    return places


def _marks(panel: Panel) -> list[tuple[int, str]]:
    """Rows that are named: every other pitch class, some bands."""
    rows = len(panel.values)
    if panel.kind == "chroma":
        return [(row, PITCH_NAMES[row]) for row in range(0, PITCHES, 2)]
    return [(row, str(row + 1)) for row in (0, rows // 2 - 1, rows - 1)]
