"""A run's id must never change: a changed line here means that people's finished runs are trained again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jobs.gridfile import load_grid

GRIDS = Path(__file__).parents[2] / "grids"

# name -> number of runs, first id, last id, SHA-256 of all ids with a blank between
PINNED: dict[str, tuple[int, str, str, str]] = {
    "demo": (36, "fd837097c503", "5ae2d055b239", "486bff512079ecddd1d6155fa054caff09fe98612bb65039e1e29156c51c1529"),
    "mnist": (80, "43c5f4b2845f", "4db27a430bfd", "e3ca2b34ae92597e06d056fb0b3bb5408b5b930e3fbf07ffc8f8899cff27d848"),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in GRIDS.glob("*.yaml")))
def test_ids_of_a_shipped_grid_are_pinned(name: str) -> None:
    ids = [run.run_id for run in load_grid(GRIDS / f"{name}.yaml").runs()]

    assert (len(ids), ids[0], ids[-1], hashlib.sha256(" ".join(ids).encode()).hexdigest()) == PINNED[name]


@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_grid_loads_without_notes(path: Path) -> None:
    assert load_grid(path).notes == ()
