"""Spoken digits from wav files named `DIGIT_SPEAKER_INDEX.wav`, as MFCC or mel features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anlp.core.errors import UserError
from anlp.core.files import advise
from anlp.core.spec import Scalar
from anlp.data.audio import least_samples, make_transform, read_wav
from anlp.data.feature_cache import Arrays, cached
from anlp.data.samples import DataSet, Samples
from anlp.data.sequences import feature_moments, pad
from anlp.datasets import catalogue
from anlp.datasets.recordings import (
    ARCHIVE,
    Recording,
    read_recordings,
    say_left_out,
    tested_and_selecting,
)

TEST_EVERY = 5  # random: of the recordings of each digit and speaker, every fifth is tested


def load_wav_digits(
    data_dir: Path, name: str, *, split: str, test_speaker: str = "", **features: Scalar
) -> DataSet:
    """Load the recordings in a folder; features are computed once.

    They are in the folder itself, in its folder `recordings` or in its `recordings.tar.gz`.

    Args:
        data_dir: the data folder.
        name: of the folder in it.
        split: "speaker": one speaker is the test set and the one before by name is for validation
            (before the first: the last); "random": every fifth recording of each digit and speaker
            is tested.
        test_speaker: of a split by speakers; "": the last by name.
        features: `features` (mfcc or mel), `coefficients` (mfcc: per frame) and `bands` (of the mel
            scale, per frame).

    Raises:
        UserError: no such folder, no or unreadable recordings, or too few speakers to split by.
    """
    found = catalogue.find(name, data_dir)
    if found is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    say_left_out(found[""])
    arrays = cached(found[""], features, lambda: _compute(found[""], features))
    frames = np.split(arrays["frames"], arrays["ends"][:-1])
    sequences = [torch.from_numpy(part) for part in frames]
    named = zip(
        arrays["digit"].tolist(), arrays["speaker"].tolist(), arrays["index"].tolist(), strict=True
    )
    recordings = [Recording(*each) for each in named]
    tested, selecting = _parts(found[""], recordings, split, test_speaker)
    trained = [k for k in range(len(recordings)) if k not in tested | selecting]
    names = _digits(found[""], recordings, trained)
    train = _samples(names, recordings, sequences, trained)
    mean, std = feature_moments(train)
    return DataSet(
        name=name,
        train=train,
        test=_samples(names, recordings, sequences, sorted(tested)),
        names=names,
        mean=mean,
        std=std,
        val=_samples(names, recordings, sequences, sorted(selecting)) if selecting else None,
    )


def _parts(
    folder: Path, recordings: list[Recording], split: str, test_speaker: str
) -> tuple[set[int], set[int]]:
    """Return which recordings are tested, and which are for validation where the split has any."""
    if split == "random":
        tested = _every_fifth(recordings)
        if not tested:
            raise UserError(
                f"{folder}: split: random tests every {TEST_EVERY}th recording of each digit and "
                "speaker, and none has so many; add recordings, or use split: speaker"
            )
        return tested, set()
    test_name, val_name = tested_and_selecting(folder, recordings, test_speaker)
    speakers = [recording.speaker for recording in recordings]
    tested = {row for row, speaker in enumerate(speakers) if speaker == test_name}
    selecting = {row for row, speaker in enumerate(speakers) if speaker == val_name}
    return tested, selecting


def _digits(folder: Path, recordings: list[Recording], trained: list[int]) -> tuple[str, ...]:
    """Return the digits that occur, which are the classes.

    Raises:
        UserError: one is not in the training set, or there is only one.
    """
    digits = sorted({recording.digit for recording in recordings})
    in_training = {recordings[row].digit for row in trained}
    missing = [digit for digit in digits if digit not in in_training]
    if missing:
        raise UserError(
            f"{folder}: no recordings of digit {missing[0]} are left to train on; "
            "add some, or remove the others"
        )
    if len(digits) < 2:
        raise UserError(
            f"{folder}: expected recordings of at least two digits, found those of {digits[0]} only"
        )
    return tuple(map(str, digits))


def _every_fifth(recordings: list[Recording]) -> set[int]:
    """Return every fifth recording of each digit and speaker."""
    ranks: Counter[tuple[int, str]] = Counter()
    tested = set()
    for number, recording in enumerate(recordings):
        key = recording.digit, recording.speaker
        ranks[key] += 1
        if ranks[key] % TEST_EVERY == 0:
            tested.add(number)
    return tested


def _samples(
    names: tuple[str, ...], recordings: list[Recording], sequences: list[Tensor], rows: list[int]
) -> Samples:
    classes = torch.tensor([names.index(str(recordings[row].digit)) for row in rows])
    return pad([sequences[row] for row in rows], (classes,))


def _compute(folder: Path, features: Mapping[str, Scalar]) -> Arrays:
    """Compute the frames of all recordings in one array, where each ends, and whose they are."""
    found = sorted(read_recordings(folder), key=lambda pair: pair[0])
    waves = [_read(folder, recording, source) for recording, source in found]
    rate = Counter(rate for rate, _ in waves).most_common(1)[0][0]
    for (recording, source), (own_rate, wave) in zip(found, waves, strict=True):
        _check_wave(_path(folder, recording, source), own_rate, len(wave), rate)
    try:
        transform = make_transform(
            str(features["features"]),
            rate,
            coefficients=int(features["coefficients"]),
            bands=int(features["bands"]),
        )
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from error
    frames = [transform(wave).T for _, wave in waves]  # (T, F)
    return {
        "frames": torch.cat(frames).numpy(),
        "ends": np.cumsum([len(part) for part in frames]),
        "digit": np.array([recording.digit for recording, _ in found]),
        "speaker": np.array([recording.speaker for recording, _ in found]),
        "index": np.array([recording.index for recording, _ in found]),
    }


def _read(folder: Path, recording: Recording, source: Path | bytes) -> tuple[int, Tensor]:
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise UserError(
            f"{source!s}: cannot be read ({error.strerror}); {advise(error)}"
        ) from error
    return read_wav(_path(folder, recording, source), content)


def _path(folder: Path, recording: Recording, source: Path | bytes) -> Path:
    """Return the path for error messages: in an archive the name that it has there."""
    if isinstance(source, Path):
        return source
    return folder / ARCHIVE / f"{recording.digit}_{recording.speaker}_{recording.index}.wav"


def _check_wave(path: Path, own_rate: int, samples: int, rate: int) -> None:
    """Check that a recording has the rate of most of the others, and is long enough."""
    if own_rate != rate:
        raise UserError(
            f"{path}: {own_rate} Hz, but most of the others have {rate} Hz; "
            "convert it, or remove it"
        )
    if samples < least_samples(rate):
        raise UserError(
            f"{path}: {samples} samples at {rate} Hz are too short, "
            f"expected at least {least_samples(rate)}; remove or replace it"
        )
