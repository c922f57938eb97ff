"""What the interactive page shows of the runs: pure data, and its compact JSON form."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import to_hex

from analysis.data.frames import setting_columns, varying_settings
from analysis.plots.parallel import FAINTEST
from analysis.plots.scale import Scale, make_scale
from analysis.text.levels import NOTHING, is_missing, level_key, render_level
from analysis.text.metrics import is_share, label, render_value
from anlp.core.metrics import higher_is_better

OK = "ok"
# A column with at most this share of distinct values is a list of them and a code per run.
FEW = 0.25
ID_DIGITS = 12  # of the suite's own run ids, which are sent as six bytes
SHADES = 64
DIGITS = 6  # of a number that is read; filters have all of them
SHORT = 2**16  # codes below it take two bytes


@dataclass(frozen=True, slots=True)
class Column:
    """One setting or metric of all runs; what has a scale can be an axis."""

    name: str  # as a filter names it
    values: tuple[Any, ...]  # (n_runs,)
    scale: Scale
    is_axis: bool


@dataclass(frozen=True, slots=True)
class PageInfo:
    """Data of the page; runs in drawing order: without a score, then the worst, the best last."""

    grid: str
    metric: str
    run_ids: tuple[str, ...]
    columns: tuple[Column, ...]
    bound: float | None  # of the button "better than"
    bound_name: str  # "baseline", or nothing for a number
    starts_better: bool  # whether the page begins with the runs better than the bound
    common: Mapping[str, str]  # settings that all runs share


def page_info(  # noqa: PLR0913 - a keyword per option of the page
    runs: pd.DataFrame,
    metric: str,
    *,
    bound: float | None = None,
    bound_name: str = "",
    starts_better: bool = False,
    grid: str = "",
    order: Sequence[str] = (),
) -> PageInfo:
    """Return all runs, the failed and unfinished ones as runs without a score.

    Args:
        runs: see `analysis.data.frames`.
        metric: its column, the last axis and the colour.
        bound: what the second button leaves the runs better than.
        bound_name: of that bound.
        starts_better: whether the page begins with those runs.
        grid: its name or address, for the title and the commands.
        order: settings in the order of the axes; varying settings that it leaves out come first.
    """
    score = _scores(runs, metric)
    drawing = _drawing_order(runs, score, metric)
    runs, score = runs.iloc[drawing], score[drawing]
    varying = [name for name in varying_settings(runs) if name != metric]
    settings = sorted(varying, key=lambda name: order.index(name) if name in order else -1)
    seed = _column("seed", runs["seed"].tolist(), is_axis=not settings)
    columns = [_column(name, runs[name].tolist(), is_axis=True) for name in settings] or [seed]
    factor = 100.0 if is_share(metric) else 1.0
    numbers = [None if np.isnan(value) else float(value) for value in score]
    scale = make_scale(label(metric), numbers, factor=factor)
    columns.append(Column(metric, tuple(numbers), scale, is_axis=True))
    columns += [seed] if settings else []
    columns.append(_column("outcome", runs["outcome"].tolist(), is_axis=False))
    return PageInfo(
        grid=grid,
        metric=metric,
        run_ids=tuple(map(str, runs["run_id"])),
        columns=tuple(columns),
        bound=bound,
        bound_name=bound_name,
        starts_better=starts_better,
        common=_common(runs, settings),
    )


def page_form(info: PageInfo) -> dict[str, Any]:
    """Return `info` as JSON: columns of few values as codes, others as little-endian floats."""
    return {
        "grid": info.grid,
        "metric": info.metric,
        "higherIsBetter": higher_is_better(info.metric),
        "n": len(info.run_ids),
        "ids": _ids_form(info.run_ids),
        "columns": [_column_form(column, info.metric) for column in info.columns],
        "bound": info.bound,
        "boundText": None if info.bound is None else _bound_text(info, info.bound),
        "startsBetter": info.starts_better,
        "common": list(info.common.items()),
        "shades": {"light": _shades(dark_best=True), "dark": _shades(dark_best=False)},
    }


def _shades(*, dark_best: bool) -> list[str]:
    """Colours from the worst rank to the best, which stands out against the paper."""
    colours = mpl.colormaps["viridis_r" if dark_best else "viridis"]
    return [to_hex(colours(FAINTEST + (1 - FAINTEST) * at)) for at in np.linspace(0, 1, SHADES)]


def _scores(runs: pd.DataFrame, metric: str) -> npt.NDArray[np.float64]:
    """Return the metric of the runs that ended well, as in the static chart; NaN for the others."""
    values = runs[metric].to_numpy(dtype=float, na_value=np.nan)
    return np.where((runs["outcome"] == OK).to_numpy() & np.isfinite(values), values, np.nan)


def _drawing_order(
    runs: pd.DataFrame, score: npt.NDArray[np.float64], metric: str
) -> npt.NDArray[np.intp]:
    better = score if higher_is_better(metric) else -score
    outcomes = runs["outcome"].astype(str).to_numpy()
    return np.lexsort((outcomes, np.where(np.isnan(better), -np.inf, better)))


def _column(name: str, values: Sequence[Any], *, is_axis: bool) -> Column:
    return Column(name, tuple(values), make_scale(name, values), is_axis)


def _common(runs: pd.DataFrame, varying: Sequence[str]) -> dict[str, str]:
    names = [
        name for name in ("task", *setting_columns(runs)) if name in runs and name not in varying
    ]
    found = {name: runs[name].dropna().astype(object).unique() for name in names}
    return {name: render_level(levels[0]) for name, levels in found.items() if len(levels) == 1}


def _bound_text(info: PageInfo, bound: float) -> str:
    number = f"{100 * bound:.4g} %" if is_share(info.metric) else f"{bound:.4g}"
    return f"{info.bound_name} ({number})" if info.bound_name else number


def _ids_form(run_ids: Sequence[str]) -> Any:
    if all(
        len(run_id) == ID_DIGITS and set(run_id) <= set("0123456789abcdef") for run_id in run_ids
    ):
        return _base64(bytes.fromhex("".join(run_ids)))
    return list(run_ids)


def _column_form(column: Column, metric: str) -> dict[str, Any]:
    scale = column.scale
    is_metric = column.name == metric
    form: dict[str, Any] = {
        "name": column.name,
        "label": scale.name,
        "kind": scale.kind,
        "isAxis": column.is_axis,
        "hasLevels": scale.has_levels and not is_metric,
        "isShare": is_metric and is_share(metric),
        "isMetric": is_metric,
        "ticks": scale.ticks,
        "range": _range(column),
    }
    if scale.kind == "category" or scale.has_levels or _has_few(column.values):
        return form | _coded(column, metric)
    values = np.array(
        [np.nan if is_missing(value) else float(value) for value in column.values], dtype="<f8"
    )
    return form | {"values": _base64(values.tobytes())}


def _has_few(values: Sequence[Any]) -> bool:
    return len(set(values)) <= FEW * len(values)


def _coded(column: Column, metric: str) -> dict[str, Any]:
    """Levels in their order (missing last), and which of them each run has."""
    is_text = column.scale.kind == "category"
    present = [None if is_missing(value) else value for value in column.values]
    keys = [render_level(value) if is_text and value is not None else value for value in present]
    levels = sorted(set(keys), key=level_key)
    code = {level: number for number, level in enumerate(levels)}
    codes = np.array([code[key] for key in keys])
    places = np.zeros(len(levels))
    places[codes] = column.scale.positions
    return {
        "texts": _texts(levels, column, metric),
        "places": places.tolist(),
        "levels": [_number(level) for level in levels],
        "codes": _base64(codes.astype("<u2" if len(levels) <= SHORT else "<u4").tobytes()),
    }


def _texts(levels: Sequence[Any], column: Column, metric: str) -> list[str]:
    """Levels as they are read: numbers with six digits, as far as these tell them apart."""
    exact = [_text(level, column, metric) for level in levels]
    if column.scale.kind == "category" or column.name == metric:
        return exact
    numbers = zip(levels, exact, strict=True)
    short = [
        text if level is None else min(f"{level:.{DIGITS}g}", text, key=len)
        for level, text in numbers
    ]
    return short if len(set(short)) == len(short) else exact


def _text(level: Any, column: Column, metric: str) -> str:
    if level is None:
        return NOTHING
    return render_value(metric, float(level)) if column.name == metric else render_level(level)


def _number(level: Any) -> float | None:
    """Return the level as an exact number, None for text and what JSON has no form for."""
    is_number = (
        isinstance(level, int | float) and not isinstance(level, bool) and np.isfinite(level)
    )
    return level if is_number else None


def _range(column: Column) -> list[float] | None:
    """Values at the ends of an axis of numbers."""
    if column.scale.kind == "category":
        return None
    on_axis = [
        float(value)
        for value, place in zip(column.values, column.scale.positions, strict=True)
        if place >= 0
    ]
    return [min(on_axis), max(on_axis)] if on_axis else None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
