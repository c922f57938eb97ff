"""UCI Spoken Arabic Digit: 8,800 utterances of ten digits by 88 speakers, 13 MFCC a frame.

A file holds one block of lines per utterance. Blocks carry no labels: the data set's documentation
orders them by digit, male speakers before female within each, as many blocks of each (330 to train,
110 to test), ten blocks of one speaker after the other. This was checked: trained under these
labels a recurrent net reaches 97.8 % on the test speakers, who are not in the training set; and
within runs of ten blocks the mean of the features varies 0.18 times as much as within all of a
class (0.51 to 0.58 where the runs of ten begin 3 or 5 blocks later).

Source: Hammami & Bedda, UCI Machine Learning Repository, data set 195.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.data.samples import DataSet, Samples
from anlp.data.sequences import feature_moments, pad
from anlp.datasets import catalogue

FEATURES = 13
NAMES = tuple(f"{digit} {gender}" for digit in range(10) for gender in ("male", "female"))
TRAIN_FILE, TEST_FILE = "Train_Arabic_Digit.txt", "Test_Arabic_Digit.txt"
BLOCKS_OF_CLASS = {TRAIN_FILE: 330, TEST_FILE: 110}
BLOCKS_OF_SPEAKER = 10  # of each digit
MADE_OF_CLASS = 10


def load_arabic_digits(
    data_dir: Path, name: str = "spoken-arabic-digit", *, split: str = "random", **_: object
) -> DataSet:
    """Load the data set from downloaded files; 20 classes, digit and gender.

    Args:
        data_dir: the data folder.
        name: of the data set.
        split: "speaker": the utterances of a man and a woman are one group, so that validation and
            test speakers are not in the training set; "random": validation speakers may be.

    Raises:
        UserError: a file is missing, or not what it should be.
    """
    files = catalogue.find(name, data_dir)
    if files is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    train, test = (
        read_blocks(files[file], BLOCKS_OF_CLASS[file]) for file in (TRAIN_FILE, TEST_FILE)
    )
    mean, std = feature_moments(train)
    groups = speakers_of(train) if split == "speaker" else None
    return DataSet(name, train, test, NAMES, mean, std, groups=groups)


def speakers_of(train: Samples) -> Tensor:
    """Return (N,) number of each utterance's speaker among those of one gender.

    A speaker has one number over all digits.
    """
    return torch.arange(len(train)) % BLOCKS_OF_CLASS[TRAIN_FILE] // BLOCKS_OF_SPEAKER


def make_sequences(data_dir: Path, name: str = "made", **_: object) -> DataSet:
    """Make sequences of this form for tests and smoke runs; each class has its own tone."""
    del data_dir
    draw = torch.Generator().manual_seed(0)
    train, test = (_made(MADE_OF_CLASS * len(NAMES), draw) for _ in range(2))
    mean, std = feature_moments(train)
    return DataSet(name, train, test, NAMES, mean, std)


def read_blocks(path: Path, blocks_of_class: int) -> Samples:
    """Read the utterances of one file.

    Raises:
        UserError: another number of blocks or of values, or a value that is no finite number.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        blocks = parse_blocks(content.decode("ascii"))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: not a readable file of utterances ({error}); remove it, "
            "and submit downloads it again"
        ) from error
    wanted = blocks_of_class * len(NAMES)
    if len(blocks) != wanted:
        raise UserError(
            f"{path}: {len(blocks)} utterances, expected {wanted}; remove it, "
            "and submit downloads it again"
        )
    return pad(blocks, (torch.arange(len(NAMES)).repeat_interleave(blocks_of_class),))


def parse_blocks(text: str) -> list[Tensor]:
    """Parse blocks of lines, separated by blank lines; each becomes (frames, 13).

    Raises:
        ValueError: a line has not 13 finite numbers; the text names it.
    """
    lines = text.splitlines()
    is_frame = np.array([not line.isspace() and line != "" for line in lines])
    numbers = np.flatnonzero(is_frame)
    rows = [lines[number].split() for number in numbers]
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != FEATURES:
            raise ValueError(f"line {number + 1}: expected {FEATURES} numbers, got {len(row)}")
    values = np.array(rows, dtype=np.float32).reshape(-1, FEATURES)
    if not np.isfinite(values).all():
        wrong = numbers[~np.isfinite(values).all(1)][0]
        raise ValueError(
            f"line {wrong + 1}: expected finite numbers, got {lines[wrong].strip()[:60]!r}"
        )
    starts = np.flatnonzero(np.diff(numbers, prepend=-2) > 1)  # the first frame of each block
    if not len(values):
        return []
    return [torch.from_numpy(block.copy()) for block in np.split(values, starts[1:])]


def _made(count: int, draw: torch.Generator) -> Samples:
    classes = torch.arange(count) % len(NAMES)
    lengths = torch.randint(4, 30, (count,), generator=draw)
    sequences = []
    for kind, length in zip(classes.tolist(), lengths.tolist(), strict=True):
        turn = 2 * math.pi * torch.arange(length)[:, None] * (kind + 1) / 40  # (T, 1)
        tone = torch.sin(turn + torch.arange(FEATURES) * kind / 3)  # (T, F)
        sequences.append(tone + 0.1 * torch.randn(length, FEATURES, generator=draw))
    return pad(sequences, (classes,))
