"""MNIST from its four idx files, plain or gzip'ed, as tensors of bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.data.samples import DataSet, Samples
from anlp.datasets import catalogue

MEAN, STD = 33.318421449829934, 78.56748998339798  # of the 60,000 training images, 0..255
CLASSES, SIDE = 10, 28
IMAGES = {"train": 60_000, "t10k": 10_000}  # by the beginning of the files' names
AGAIN = "remove it, and submit downloads it again"
IDX_BYTES = 0x08  # the type code of unsigned bytes, the only one these files use


def load_mnist(data_dir: Path, name: str = "mnist") -> DataSet:
    """Load the data set from downloaded files; nothing is downloaded here.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    files = catalogue.find(name, data_dir)
    if files is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    return DataSet(
        name=name,
        train=_read_samples(
            files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], IMAGES["train"]
        ),
        test=_read_samples(
            files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], IMAGES["t10k"]
        ),
        names=tuple("0123456789"),
        mean=MEAN,
        std=STD,
    )


def _read_samples(images: Path, labels: Path, count: int) -> Samples:
    pixels, classes = read_idx(images), read_idx(labels)
    for path, found, wanted in ((images, pixels, (count, SIDE, SIDE)), (labels, classes, (count,))):
        if tuple(found.shape) != wanted:
            raise UserError(
                f"{path}: expected the shape {wanted}, got {tuple(found.shape)}; {AGAIN}"
            )
    if classes.max() >= CLASSES:
        raise UserError(
            f"{labels}: expected labels from 0 to {CLASSES - 1}, got {int(classes.max())}; {AGAIN}"
        )
    return Samples((pixels.unsqueeze(1),), (classes.to(torch.int64),))  # (N, 1, 28, 28), (N,)


def read_idx(path: Path) -> Tensor:
    """Read the array of bytes in an idx file.

    Raises:
        UserError: not an idx file of bytes, or cut short.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return parse_idx(content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        refuse_unreadable(path, error)
        raise UserError(f"{path}: not a readable idx file ({error}); {AGAIN}") from error


def parse_idx(content: bytes) -> Tensor:
    """Parse the content of an idx file: two zeros, type, number of dimensions, sizes, values.

    Raises:
        ValueError: anything else.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, IDX_BYTES)):
        raise ValueError(f"expected it to begin with 00 00 08, got {content[:3].hex(' ')}")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError("cut short within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    if values.size != np.prod(shape):
        raise ValueError(f"expected {np.prod(shape)} values, got {values.size}")
    return torch.from_numpy(values.reshape(shape).copy())
