"""Runs grouped by the levels of a setting, and the colour, dash and marker of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from analysis.data.frames import metric_columns, setting_columns, varying_settings
from analysis.data.metric_choice import measured_metrics, tested_metric, usual_metric
from analysis.plots.scale import Array
from analysis.plots.style import OKABE_ITO, shortened
from analysis.text.levels import is_missing, level_key, render_level
from anlp.core.errors import UserError, known_name
from anlp.core.units import count

MAX_LEGEND = 12
GREY = "0.6"
FAINTEST = 0.3  # of the scale of lightness: what is lighter can hardly be seen as a line
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (5, 1.5, 1.5, 1.5)),
    (0, (9, 2)),
    (0, (3, 3)),
    "-",
)
MARKERS = "os^Dv<>P*X"
CONFIGURATION = "configuration"  # groups the seeds of each configuration


@dataclass(frozen=True, slots=True)
class Look:
    """How one group is drawn: never by colour alone."""

    colour: Any  # anything that matplotlib takes
    dash: Any
    marker: str


def level_name(level: Any) -> str:
    """Return the level in words; all that is missing is one level."""
    return render_level(None if is_missing(level) else level)


def short_names(levels: Sequence[Any]) -> list[str]:
    """Return the levels for ticks: numbers with four digits, as far as these tell them apart."""
    exact = [level_name(level) for level in levels]
    pairs = zip(levels, exact, strict=True)
    short = [
        f"{level:.4g}" if isinstance(level, float) and not is_missing(level) else name
        for level, name in pairs
    ]
    return short if len(set(short)) == len(set(exact)) else exact


def split_by(runs: pd.DataFrame, by: str) -> list[tuple[str, Any, pd.DataFrame]]:
    """Return name, level and runs of each level of a setting; one group if `by` is empty."""
    if not by:
        return [("", None, runs)]
    values = configuration_names(runs) if by == CONFIGURATION else runs[by].tolist()
    names = np.array([level_name(value) for value in values], dtype=object)
    levels = sorted(
        dict(zip(names, values, strict=True)).items(), key=lambda item: level_key(item[1])
    )
    return [(name, level, runs[names == name]) for name, level in levels]


def configuration_names(runs: pd.DataFrame) -> list[str]:
    """Per run, the settings that vary: `lr=0.1 model=cnn`."""
    settings = varying_settings(runs)
    rows = zip(*(map(level_name, runs[name].tolist()) for name in settings), strict=True)
    texts = [
        " ".join(f"{name}={level}" for name, level in zip(settings, row, strict=True))
        for row in rows
    ]
    return texts or ["the configuration"] * len(runs)


def looks(levels: Sequence[Any]) -> list[Look]:
    """Return a colour per level: numbers by lightness, names in colours for all eyes, then grey."""
    return [
        Look(colour, DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)])
        for index, colour in enumerate(level_colours(levels))
    ]


def level_colours(levels: Sequence[Any]) -> list[Any]:
    """Return the colours of `looks`."""
    if any(isinstance(level, str | bool) for level in levels) or len(levels) == 1:
        return [
            OKABE_ITO[index] if index < len(OKABE_ITO) else GREY for index in range(len(levels))
        ]
    return [
        mpl.colormaps["viridis_r"](FAINTEST + (1 - FAINTEST) * index / max(len(levels) - 1, 1))
        for index in range(len(levels))
    ]


def draw_legend(ax: Axes, handles: Sequence[Artist], title: str = "") -> None:
    """Beside the axes, so that it hides nothing."""
    if handles:
        ax.legend(
            handles=list(handles),
            title=shortened(title) or None,
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            alignment="left",
        )


def pick_metric(runs: pd.DataFrame, wanted: str, usual: Sequence[str] = ()) -> str:
    """Return the metric that was asked for, else the first usual one that a run finished with.

    Raises:
        UserError: it is unknown, or no run has finished with any.
    """
    known = metric_columns(runs)
    if wanted:
        return known_name(wanted, known, "--metric")
    measured = measured_metrics(runs)
    if not measured:
        raise UserError(
            f"none of {count(len(runs), 'run')} has finished with a metric: "
            "there is nothing to draw yet"
        )
    best = usual_metric(runs)
    fallback = tested_metric(runs, best) if usual[:1] and usual[0].startswith("test/") else best
    return next((name for name in usual if name in measured), fallback)


def pick_setting(
    runs: pd.DataFrame,
    wanted: str,
    option: str,
    usual: Sequence[str] = (),
    *,
    is_number: bool = False,
) -> str:
    """Return the setting asked for, else the first usual one that varies, else any that varies.

    Raises:
        UserError: it is unknown or no number where one is needed, or nothing varies.
    """
    if wanted:
        name = known_name(wanted, ["task", "seed", *setting_columns(runs)], f"{option}: setting")
        if is_number and not _is_number(runs[name]):
            raise UserError(f"{option} {name}: expected a setting whose values are numbers")
        return name
    varying = [name for name in varying_settings(runs) if not is_number or _is_number(runs[name])]
    for name in (*usual, *varying):
        if name in varying:
            return name
    kind = "setting that is a number" if is_number else "setting"
    raise UserError(f"no {kind} varies over {count(len(runs), 'run')}; name one with {option}")


def scored(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the runs that finished with a finite value.

    Raises:
        UserError: there are none.
    """
    found = runs[(runs["outcome"] == "ok") & np.isfinite(runs[metric].astype(float))]
    if found.empty:
        raise UserError(
            f"none of {count(len(runs), 'run')} has finished with a finite {metric}: "
            "nothing to draw"
        )
    return found


def has_room(baseline: float | None, values: Array) -> bool:
    """Return whether an axis can show the chance level and leave half its length to values."""
    if baseline is None or not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    return max(low - baseline, baseline - high) <= high - low


def beyond(subtitle: str, baseline: float | None) -> str:
    """Return the subtitle, with the chance level where the axis does not show it."""
    return (
        subtitle
        if baseline is None
        else f"{subtitle}; chance level: {baseline:.4g}, not on the axis"
    )


def lost_note(total: int, kept: int, metric: str) -> str:
    """Return what was left out, empty where nothing was."""
    left = total - kept
    return (
        f"{count(left, 'run')} without {metric} (diverged, failed or unfinished) left out"
        if left
        else ""
    )


def head(grid: str, text: str) -> str:
    """Return a title that begins with the grid's name where there is one."""
    return f"{shortened(grid, 40)}: {text}" if grid else text


def _is_number(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
