"""Spoken digits from wav files named `DIGIT_SPEAKER_INDEX.wav`, as padded sequences of MFCC or mel features."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anlp import staging
from anlp.data.audio import make_transform, read_wav
from anlp.data.feature_cache import Arrays, cached
from anlp.data.samples import DataSet, Samples
from anlp.data.sequences import feature_moments, pad
from anlp.errors import UserError
from anlp.spec import Scalar

NAMED = re.compile(r"(\d)_(\w+?)_(\d+)\.wav")
ARCHIVE = "recordings.tar.gz"
TEST_EVERY = 5  # random: of the recordings of each digit and speaker, every fifth is tested
LEAST_SPEAKERS = 3  # one to train on, one to select by, one to test


@dataclass(frozen=True, slots=True, order=True)
class Recording:
    """What a file's name says."""

    digit: int
    speaker: str
    index: int


def load_wav_digits(
    data_dir: Path,
    name: str,
    *,
    features: str,
    coefficients: int,
    bands: int,
    split: str,
    test_speaker: str = "",
) -> DataSet:
    """The recordings in a folder, in its folder `recordings` or its `recordings.tar.gz`; features are computed once.

    Args:
        data_dir: the data folder.
        name: of the folder in it.
        features: mfcc or mel.
        coefficients: mfcc: per frame.
        bands: mel bands per frame.
        split: "speaker": one speaker is tested and the one before by name selects (before the first: the last);
            "random": every fifth recording of each digit and speaker is tested.
        test_speaker: of a split by speakers; "": the last by name.

    Raises:
        UserError: no such folder, no recordings in it, one that is not readable, or too few speakers to split by.
    """
    found = staging.find(name, data_dir)
    if found is None:
        raise UserError(staging.where_to_put(name, data_dir))
    options: dict[str, Scalar] = {"features": features, "coefficients": coefficients, "bands": bands}
    arrays = cached(found[""], options, lambda: _compute(found[""], features, coefficients, bands))
    frames = np.split(arrays["frames"], arrays["ends"][:-1])
    sequences = [torch.from_numpy(part) for part in frames]
    named = zip(arrays["digit"].tolist(), arrays["speaker"].tolist(), arrays["index"].tolist(), strict=True)
    recordings = [Recording(*each) for each in named]
    tested, selecting = _parts(found[""], recordings, split, test_speaker)
    trained = [k for k in range(len(recordings)) if k not in tested | selecting]
    train = _samples(recordings, sequences, trained)
    mean, std = feature_moments(train)
    return DataSet(
        name=name,
        train=train,
        test=_samples(recordings, sequences, sorted(tested)),
        names=tuple("0123456789"),
        mean=mean,
        std=std,
        val=_samples(recordings, sequences, sorted(selecting)) if selecting else None,
    )


def _parts(folder: Path, recordings: list[Recording], split: str, test_speaker: str) -> tuple[set[int], set[int]]:
    """Which recordings are tested, and which select where the split itself says so."""
    if split == "random":
        return _every_fifth(recordings), set()
    speakers = sorted({recording.speaker for recording in recordings})
    if len(speakers) < LEAST_SPEAKERS:
        raise UserError(
            f"{folder}: split: speaker needs at least {LEAST_SPEAKERS} speakers, found {', '.join(speakers)}; "
            "use split: random"
        )
    if test_speaker and test_speaker not in speakers:
        raise UserError(f"{folder}: test_speaker: expected one of {', '.join(speakers)}, got {test_speaker!r}")
    tested = speakers.index(test_speaker) if test_speaker else len(speakers) - 1
    of = [{k for k, r in enumerate(recordings) if r.speaker == name} for name in speakers]
    return of[tested], of[tested - 1]


def _every_fifth(recordings: list[Recording]) -> set[int]:
    """Of each digit and speaker."""
    ranks: Counter[tuple[int, str]] = Counter()
    tested = set()
    for number, recording in enumerate(recordings):
        key = recording.digit, recording.speaker
        ranks[key] += 1
        if ranks[key] % TEST_EVERY == 0:
            tested.add(number)
    return tested


def _samples(recordings: list[Recording], sequences: list[Tensor], rows: list[int]) -> Samples:
    return pad([sequences[row] for row in rows], (torch.tensor([recordings[row].digit for row in rows]),))


def _compute(folder: Path, features: str, coefficients: int, bands: int) -> Arrays:
    """Frames of all recordings one behind the other, where each ends, and whose they are."""
    found = sorted(_read_recordings(folder), key=lambda pair: pair[0])
    if not found:
        raise UserError(f"{folder}: no recordings; expected files such as 3_theo_12.wav, or {ARCHIVE} with them")
    transforms: dict[int, nn.Module] = {}
    frames = []
    for recording, content in found:
        path = folder / f"{recording.digit}_{recording.speaker}_{recording.index}.wav"
        rate, wave = read_wav(path, content)
        if rate not in transforms:
            transforms[rate] = make_transform(features, rate, coefficients=coefficients, bands=bands)
        frames.append(transforms[rate](wave).T)  # (T, F)
    return {
        "frames": torch.cat(frames).numpy(),
        "ends": np.cumsum([len(part) for part in frames]),
        "digit": np.array([recording.digit for recording, _ in found]),
        "speaker": np.array([recording.speaker for recording, _ in found]),
        "index": np.array([recording.index for recording, _ in found]),
    }


def _read_recordings(folder: Path) -> Iterator[tuple[Recording, bytes]]:
    """Recordings with the content of their files; the first place that has any counts."""
    for place in (folder, folder / "recordings"):
        paths = [path for path in sorted(place.glob("*.wav")) if _parse_name(path.name)]
        if paths:
            yield from ((recording, path.read_bytes()) for path in paths if (recording := _parse_name(path.name)))
            return
    if (folder / ARCHIVE).is_file():
        yield from _read_archive(folder / ARCHIVE)


def _read_archive(path: Path) -> Iterator[tuple[Recording, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                recording = _parse_name(Path(member.name).name)
                content = archive.extractfile(member) if recording and member.isfile() else None
                if recording and content:
                    yield recording, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable archive ({error}); fetch it again") from error


def _parse_name(name: str) -> Recording | None:
    match = NAMED.fullmatch(name)
    return Recording(int(match[1]), match[2], int(match[3])) if match else None
