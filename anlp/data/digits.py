"""The 1,797 handwritten digits (8x8) that scikit-learn contains, with a fixed test split."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from anlp.core.errors import UserError
from anlp.data.samples import DataSet, Samples

SIDE = 8
TEST_EVERY = 5  # of the samples of each class, in file order, every fifth is tested: 355 of 1,797
MEAN, STD = 4.884164579855314, 6.016787548672236  # of all 1,797 images; values are 0..16


def load_digits(data_dir: Path | None = None, name: str = "digits") -> DataSet:
    """Load the data set, without importing scikit-learn (a second).

    Raises:
        UserError: scikit-learn is not installed.
    """
    table = _read_table(_packaged_file())
    # (N, 1, 8, 8)
    images = torch.from_numpy(table[:, :-1].reshape(-1, 1, SIDE, SIDE).astype(np.uint8))
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    tested = torch.from_numpy(test_rows(table[:, -1]))
    del data_dir  # nothing is read from there
    return DataSet(
        name=name,
        train=Samples((images[~tested],), (labels[~tested],)),
        test=Samples((images[tested],), (labels[tested],)),
        names=tuple("0123456789"),
        mean=MEAN,
        std=STD,
    )


def test_rows(labels: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Mark every fifth sample of each class, in file order: stratified, and equal for all seeds."""
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        tested[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return tested


def _packaged_file() -> Path:
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "data digits: scikit-learn contains this data set and is not installed; "
            "pip install scikit-learn"
        )
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"


def _read_table(path: Path) -> npt.NDArray[np.float64]:
    """Read the table (1797, 65): 64 values of 0..16 and the label."""
    with gzip.open(path, "rt") as lines:
        return np.loadtxt(lines, delimiter=",")
