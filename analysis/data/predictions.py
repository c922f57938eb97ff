"""Read `predictions.npz` of runs: what their models said about each test sample."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anlp.core.errors import UserError, describe_error
from anlp.core.files import refuse_unreadable
from anlp.records.folders import RunFolder

Array = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]
HOW = "train with `predictions: true` in the grid file, or submit with --predictions"


@dataclass(frozen=True, slots=True)
class Piece:
    """One sequence whose input was kept."""

    position: int  # in the test set
    frames: Array  # (T, F), without padding


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of one run; arrays that a task does not write are None."""

    run_id: str
    seed: int
    outputs: Array  # (N, C) logits of classes, or values of quantities
    targets: Array  # (N,) classes, or (N, C) quantities
    names: tuple[str, ...]  # of the classes or quantities
    is_classes: bool
    noted: Classes | None = None  # (M,) positions of samples whose inputs are kept
    noted_inputs: npt.NDArray[Any] | None = None  # (M, channels, height, width)
    pieces: tuple[Piece, ...] = ()  # sequences to look at
    points: Array | None = None  # (N, 2) the samples themselves, where they are points
    probe: Array | None = None  # (P, 2) a map of the plane
    probe_outputs: Array | None = None  # (P, C)

    @property
    def classes(self) -> Classes:
        """Return (N,) the true classes."""
        return self.targets.astype(np.int64)

    @property
    def probabilities(self) -> Array:
        """Return (N, C) the softmax of the outputs."""
        return softmax(self.outputs)


def load_predictions(folder: Path, runs: pd.DataFrame) -> list[Predictions]:
    """Read the predictions of the runs that wrote any, in the order of their seeds.

    Args:
        folder: of the grid.
        runs: see `analysis.data.frames`; seeds of one configuration.

    Raises:
        UserError: none of them wrote any, a file is damaged, or the runs were tested on different
            samples.
    """
    ordered = runs.sort_values(["seed", "run_id"])
    pairs = zip(ordered["run_id"].astype(str), ordered["seed"].astype(int), strict=True)
    predictions = []
    for run_id, seed in pairs:
        path = RunFolder(folder / run_id).predictions
        if path.exists():
            predictions.append(_read(path, run_id, seed))
    if not predictions:
        raise UserError(
            f"no predictions.npz in the folders of {len(runs)} runs under {folder}: {HOW}"
        )
    first = predictions[0].targets
    if not all(np.array_equal(of_run.targets, first) for of_run in predictions):
        raise UserError(
            "these runs were tested on different samples: choose runs on one data set with --only"
        )
    return predictions


def has_predictions(folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs that wrote predictions."""
    return runs[[RunFolder(folder / str(run_id)).predictions.exists() for run_id in runs["run_id"]]]


def want_classes(predictions: Sequence[Predictions], what: str) -> None:
    """Refuse quantities.

    Raises:
        UserError: the targets are no classes.
    """
    if not predictions[0].is_classes:
        raise UserError(
            f"{what} needs classes, and these runs predict quantities: see the kind scatter"
        )


def softmax(outputs: Array) -> Array:
    """Return the softmax along the last axis."""
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    shares: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def _read(path: Path, run_id: str, seed: int) -> Predictions:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _parse({name: arrays[name] for name in arrays.files}, run_id, seed)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: cannot be read as predictions ({describe_error(error)}); repeat the run"
        ) from error


def _parse(arrays: dict[str, npt.NDArray[Any]], run_id: str, seed: int) -> Predictions:
    outputs = arrays["outputs"].astype(np.float64)
    several = sorted(
        (name for name in arrays if name.startswith("target_")), key=lambda name: int(name[7:])
    )
    targets = np.stack([arrays[name] for name in several], axis=1) if several else arrays["targets"]
    is_classes = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
    if not is_classes and targets.ndim == 1:
        targets = targets[:, None]
    floats = {
        name: arrays[name].astype(np.float64)
        for name in ("points", "probe", "probe_outputs")
        if name in arrays
    }
    return Predictions(
        run_id,
        seed,
        outputs.reshape(len(outputs), -1),
        targets.astype(np.float64),
        tuple(map(str, arrays["names"].tolist())),
        is_classes,
        noted=arrays["noted"].astype(np.int64) if "noted" in arrays else None,
        noted_inputs=arrays.get("noted_inputs"),
        pieces=_pieces(arrays) if "pieces" in arrays else (),
        **floats,
    )


def _pieces(arrays: dict[str, npt.NDArray[Any]]) -> tuple[Piece, ...]:
    low, high = (arrays[name].astype(np.float64) for name in ("piece_low", "piece_high"))
    steps = (high - low) / np.iinfo(np.uint8).max
    found = zip(arrays["pieces"], arrays["piece_inputs"], arrays["piece_lengths"], strict=True)
    return tuple(
        Piece(int(at), low + frames[: int(length)] * steps) for at, frames, length in found
    )
