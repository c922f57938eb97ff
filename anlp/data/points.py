"""Points of the plane in classes: made by a formula, or from a CSV file of the user's own."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from anlp import staging
from anlp.data.samples import DataSet, Samples
from anlp.errors import UserError

COLUMNS = ("long", "lat", "label")
SEED = 20_240_501  # of the generated points and of the test split: the data is the same for every run
TEST_PART = 5  # one point in so many is tested
SPIRAL_ARMS = 3
SPIRAL_NOISE = 0.02
MOON_NOISE = 0.15
REGIONS = 30  # seeds of the map
STATES = 12  # classes: neighbouring regions are joined

Points = tuple[Tensor, Tensor]  # (N, 2) places, (N,) classes


def make_points(data_dir: Path, name: str, *, points: int) -> DataSet:
    """Generated points; the same for every seed and machine.

    Args:
        data_dir: nothing is read from it.
        name: `spirals` (3 classes), `moons` (2) or `regions` (12, a map with ragged borders).
        points: how many, test points included.
    """
    del data_dir
    places, classes = MAKERS[name](points, torch.Generator().manual_seed(SEED))
    names = tuple(f"{name[:-1]} {k}" for k in range(int(classes.max()) + 1))
    return _split(name, places, classes, names)


def read_points(data_dir: Path, name: str, *, points: int = 0) -> DataSet:
    """The points of a CSV file with the columns long, lat, label (in any order, others are ignored).

    Raises:
        UserError: no such file, a column is missing, a value is no number, or a class has fewer than five points.
    """
    del points  # of generated data only
    found = staging.find(name, data_dir)
    if found is None:
        raise UserError(staging.where_to_put(name, data_dir))
    places, labels = _read_rows(found[""])
    names = tuple(sorted(set(labels)))
    number = {label: k for k, label in enumerate(names)}
    classes = torch.tensor([number[label] for label in labels])
    rare = [names[k] for k, count in enumerate(classes.bincount().tolist()) if count < TEST_PART]
    if rare:
        raise UserError(
            f"{found['']}: class {rare[0]!r} has fewer than {TEST_PART} points; add some, or drop the class"
        )
    return _split(name, torch.tensor(places), classes, names)


def spirals(count: int, draw: torch.Generator) -> Points:
    """Arms that wind around the origin, one class each."""
    classes = torch.arange(count) % SPIRAL_ARMS
    radius = torch.rand(count, generator=draw).sqrt()
    turn = 4.5 * radius + classes * (2 * math.pi / SPIRAL_ARMS)
    places = torch.stack([radius * turn.cos(), radius * turn.sin()], 1)
    return places + SPIRAL_NOISE * torch.randn(count, 2, generator=draw), classes


def moons(count: int, draw: torch.Generator) -> Points:
    """Two half circles that reach into each other."""
    classes = torch.arange(count) % 2
    turn = math.pi * torch.rand(count, generator=draw)
    upper = torch.stack([turn.cos(), turn.sin()], 1)
    lower = torch.stack([1 - turn.cos(), 0.5 - turn.sin()], 1)
    places = torch.where(classes[:, None] == 0, upper, lower)
    return places + MOON_NOISE * torch.randn(count, 2, generator=draw), classes


def regions(count: int, draw: torch.Generator) -> Points:
    """A map of states with ragged borders: longitudes of -10 to 30, latitudes of 35 to 70 degrees."""
    capitals = torch.rand(REGIONS, 2, generator=draw)
    places = torch.rand(count, 2, generator=draw)
    ragged = places + 0.02 * torch.stack([(37 * places[:, 1]).sin(), (41 * places[:, 0]).cos()], 1)
    nearest = torch.cdist(ragged, capitals).argmin(1)
    classes = torch.arange(REGIONS)[capitals[:, 0].argsort().argsort()] * STATES // REGIONS
    return places * torch.tensor([40.0, 35.0]) + torch.tensor([-10.0, 35.0]), classes[nearest]


MAKERS: Mapping[str, Callable[[int, torch.Generator], Points]] = {
    "spirals": spirals,
    "moons": moons,
    "regions": regions,
}


def _split(name: str, places: Tensor, classes: Tensor, names: tuple[str, ...]) -> DataSet:
    """Every fifth point of a fixed random order is tested."""
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(SEED + 1))
    tested, trained = order[::TEST_PART], order[torch.arange(len(order)) % TEST_PART != 0]
    train = Samples((places[trained],), (classes[trained],))
    return DataSet(
        name=name,
        train=train,
        test=Samples((places[tested],), (classes[tested],)),
        names=names,
        mean=train.inputs[0].mean(0),
        std=train.inputs[0].std(0).clamp(min=1e-12),
    )


def _read_rows(path: Path) -> tuple[list[tuple[float, float]], list[str]]:
    places: list[tuple[float, float]] = []
    labels: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise UserError(f"{path}:1: no column {missing[0]!r}; expected a header with {', '.join(COLUMNS)}")
            for row in rows:
                places.append((_number(path, rows.line_num, row, "long"), _number(path, rows.line_num, row, "lat")))
                labels.append(_label(path, rows.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from error
    if not places:
        raise UserError(f"{path}: no points; expected rows of {', '.join(COLUMNS)}")
    return places, labels


def _number(path: Path, line: int, row: Mapping[str, str | None], column: str) -> float:
    text = row[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}:{line}: {column}: expected a number, got {text!r}")
    return value


def _label(path: Path, line: int, row: Mapping[str, str | None]) -> str:
    label = (row["label"] or "").strip()
    if not label:
        raise UserError(f"{path}:{line}: label: expected the name of a class, got nothing")
    return label
