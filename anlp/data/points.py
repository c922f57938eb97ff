"""Points of the plane in classes: made by a formula, or from a CSV file of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from anlp.core.errors import UserError
from anlp.data.samples import DataSet, Samples
from anlp.datasets import catalogue
from anlp.datasets.point_files import read_rows

SEED = 20_240_501  # of the generated points and of the test split, for every run
TEST_PART = 5  # one point in so many is tested
SPIRAL_ARMS = 3
SPIRAL_NOISE = 0.02
MOON_NOISE = 0.15
REGIONS = 30  # seeds of the map
STATES = 12  # classes: neighbouring regions are joined

Points = tuple[Tensor, Tensor]  # (N, 2) places, (N,) classes


def make_points(data_dir: Path, name: str, *, points: int) -> DataSet:
    """Make points by a formula; every seed and machine gets these.

    Args:
        data_dir: nothing is read from it.
        name: `spirals` (3 classes), `moons` (2) or `regions` (12, a map with ragged borders).
        points: how many, test points included.
    """
    del data_dir
    places, classes = MAKERS[name](points, torch.Generator().manual_seed(SEED))
    names = tuple(f"{name[:-1]} {k}" for k in range(int(classes.max()) + 1))
    order = _shuffled(points)
    return _split(name, places, classes, names, order, torch.arange(points))


def read_points(data_dir: Path, name: str, *, points: int = 0) -> DataSet:
    """Read the points of a CSV file with the columns long, lat, label.

    Of each class every fifth point is tested.

    Raises:
        UserError: no such file, or `anlp.datasets.point_files` finds a fault in it.
    """
    del points  # of generated data only
    found = catalogue.find(name, data_dir)
    if found is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    rows = read_rows(found[""])
    names = tuple(sorted(set(rows.labels), key=_label_order))
    number = {label: k for k, label in enumerate(names)}
    classes = torch.tensor([number[label] for label in rows.labels])
    order = _shuffled(len(classes))
    order = order[classes[order].argsort(stable=True)]  # class by class, each in random order
    return _split(name, torch.tensor(rows.places), classes, names, order, _ranks(classes[order]))


def _label_order(label: str) -> tuple[int, str]:
    """Return the key to sort a label by: numbers by their value."""
    return (len(label), label) if label.isdecimal() else (0, label)


def spirals(count: int, draw: torch.Generator) -> Points:
    """Make arms that wind around the origin, one class each."""
    classes = torch.arange(count) % SPIRAL_ARMS
    radius = torch.rand(count, generator=draw).sqrt()
    turn = 4.5 * radius + classes * (2 * math.pi / SPIRAL_ARMS)
    places = torch.stack([radius * turn.cos(), radius * turn.sin()], 1)
    return places + SPIRAL_NOISE * torch.randn(count, 2, generator=draw), classes


def moons(count: int, draw: torch.Generator) -> Points:
    """Make two half circles that reach into each other."""
    classes = torch.arange(count) % 2
    turn = math.pi * torch.rand(count, generator=draw)
    upper = torch.stack([turn.cos(), turn.sin()], 1)
    lower = torch.stack([1 - turn.cos(), 0.5 - turn.sin()], 1)
    places = torch.where(classes[:, None] == 0, upper, lower)
    return places + MOON_NOISE * torch.randn(count, 2, generator=draw), classes


def regions(count: int, draw: torch.Generator) -> Points:
    """Make a map of states with ragged borders, -10 to 30 degrees east and 35 to 70 north."""
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


def _shuffled(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(SEED + 1))


def _ranks(classes: Tensor) -> Tensor:
    """Return (N,) the position of each point within its class, from 0, in sorted classes."""
    counts: Tensor = classes.bincount()
    return torch.arange(len(classes)) - (counts.cumsum(0) - counts)[classes]


def _split(
    name: str, places: Tensor, classes: Tensor, names: tuple[str, ...], order: Tensor, ranks: Tensor
) -> DataSet:
    """Split into training and test points: ranks that are multiples of five are tested."""
    tested, trained = order[ranks % TEST_PART == 0], order[ranks % TEST_PART != 0]
    train = Samples((places[trained],), (classes[trained],))
    std = train.inputs[0].std(0)
    return DataSet(
        name=name,
        train=train,
        test=Samples((places[tested],), (classes[tested],)),
        names=names,
        mean=train.inputs[0].mean(0),
        std=torch.where(std > 0, std, torch.ones_like(std)),
    )
