"""A run's id must never change: a changed line here means that people's finished runs are trained
again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jobs.gridfile import load_grid
from tests.support.paths import ROOT

GRIDS = ROOT / "grids"

# name -> number of runs, first id, last id, SHA-256 of all ids with a blank between
PINNED: dict[str, tuple[int, str, str, str]] = {
    "cifar10_augment": (
        12,
        "7564563fac09",
        "63275bb8f3ad",
        "056c6281987c20c19d0e4eec0113a0d28999d765a037363bd1c08e922998ff0b",
    ),
    "cifar10_models": (
        15,
        "b59055ee3de5",
        "58770b0ef33e",
        "3285113b27db95596d03d1fa79a32e7d95255ddccded00a46f2733989b943e1e",
    ),
    "cifar10_structure": (
        36,
        "e9014bd3d5bd",
        "b0a44d4c61ba",
        "bad94cc51b2ddc6ae6a07fdf4d62c1252908c37ddb7497b4f7738bce3c2294bb",
    ),
    "demo": (
        36,
        "fd837097c503",
        "5ae2d055b239",
        "486bff512079ecddd1d6155fa054caff09fe98612bb65039e1e29156c51c1529",
    ),
    "faces": (
        17,
        "4142c56dc4e4",
        "71495530a06f",
        "42a00aad2d2a61916df04ab7876420aa1f08391b0030b2e36d63adfe29f27aec",
    ),
    "fma_emotion": (
        24,
        "ac2788ec7585",
        "62a360de1038",
        "2b87c4000828897100da5c27d14887be26c4126c81e85432b3beee7ed37424c7",
    ),
    "fma_genre": (
        60,
        "704e0b1df268",
        "de6f3945e80f",
        "9fa4d83d0dbf6d9eb65d8e6594993c4ae5a5331fba9a96bd277e5c6452c2908b",
    ),
    "fma_genre_cnn": (
        6,
        "335166cf244b",
        "225785066a70",
        "71ec6e7af85c83955bc2ae5f3ab97e046716751a9298de131b1fbb17c77d471e",
    ),
    "fma_transfer": (
        9,
        "7895f1f7b02e",
        "08731b53f9a6",
        "30b0d85972569bc396c95038d21c3c24125f413c88340f1a07f5f30d4ae6d7fe",
    ),
    "mnist": (
        80,
        "43c5f4b2845f",
        "4db27a430bfd",
        "e3ca2b34ae92597e06d056fb0b3bb5408b5b930e3fbf07ffc8f8899cff27d848",
    ),
    "points_batch": (
        12,
        "1b22d7f4aaf4",
        "ba9d930ce148",
        "b2c8473bef23a9f2e8bfafd38ad61c6e74570b24f17d8539e75b67d019c234d5",
    ),
    "points_deep": (
        6,
        "d565ea273ef1",
        "f7e2c0342647",
        "e41306dade95d5281a41a61755fe49de582921f8296ae2b853444c936e5d2144",
    ),
    "points_lr": (
        24,
        "b8f7af41f3e3",
        "40839e87040b",
        "4ebb1415785f1ddd162da9fa56e841fb71357d648e6463937a19b9a2ccd64613",
    ),
    "points_shape": (
        21,
        "4804eea333d2",
        "fc28317478f1",
        "8affc8fa7ef5005e9ee306e7c3b5172131dce5283885458edd4dc3a5faca0b1a",
    ),
    "spoken_digits": (
        27,
        "5ce649697f93",
        "34b4fa236600",
        "ebb452644881db70273986b27e31f26c925fabdf7e4c3d28026ef6b7fe109076",
    ),
    "spoken_digits_audio": (
        60,
        "41a594c73b22",
        "2c05fdc0e9c9",
        "8163fd65c972b75f7e8608c76de1339f2e1de7d44f265e259ebe1fd3ebdfd802",
    ),
    "spoken_digits_quick": (
        21,
        "33321f10fd88",
        "f9213c8c75bb",
        "2bd8544c3b3e9309c69a9cd41ed96957fd979562a970ec5bd450724486aa7dac",
    ),
    "spoken_digits_search": (
        20,
        "c751bb1885bf",
        "892cc02b5abd",
        "de6ad5bc946f6c94e57f19a059745202adf51fe7be83dfa328db1701cf0b7ab4",
    ),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in GRIDS.glob("*.yaml")))
def test_ids_of_a_shipped_grid_are_pinned(name: str) -> None:
    ids = [run.run_id for run in load_grid(GRIDS / f"{name}.yaml").runs()]

    assert (
        len(ids),
        ids[0],
        ids[-1],
        hashlib.sha256(" ".join(ids).encode()).hexdigest(),
    ) == PINNED.get(name)


@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_grid_loads_without_notes(path: Path) -> None:
    assert load_grid(path).notes == ()
