from __future__ import annotations

import gzip
import itertools
import math
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.io import wavfile
from torch import Tensor, nn
from torch.nn import functional

from anlp.core.errors import UserError
from anlp.core.training_settings import TrainingSettings
from anlp.data import arabic_digits, wav_digits
from anlp.data.arabic_digits import (
    NAMES,
    load_arabic_digits,
    make_sequences,
    parse_blocks,
    read_blocks,
    speakers_of,
)
from anlp.data.audio import read_wav
from anlp.data.samples import Samples
from anlp.data.sequences import feature_moments, pad
from anlp.data.wav_digits import load_wav_digits
from anlp.models.pooling import pool
from anlp.models.recurrent import Headed, Pooled, Recurrent
from anlp.tasks import make_spec
from anlp.workloads.splits import make_splits

LINE = " ".join(["1.5"] * 13)
MFCC: dict[str, Any] = {"features": "mfcc", "coefficients": 13, "bands": 40}


def sequences() -> tuple[list[Tensor], Samples]:
    draw = torch.Generator().manual_seed(0)
    parts = [torch.randn(length, 5, generator=draw) for length in (7, 3, 11, 1)]
    return parts, pad(parts, (torch.arange(4),))


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    cell, heads, pooling, directions, layers = name.split()
    if cell == "linear":
        return Headed(Pooled(5, units=8, squeeze=4, pooling=pooling), 3, dropout=0.1)
    net = Recurrent(
        5,
        cell=cell,
        hidden=8,
        layers=int(layers),
        heads=int(heads),
        pooling=pooling,
        bidirectional=directions == "both",
        dropout=0.1,
    )
    return Headed(net, 3, dropout=0.1)


MODELS = [
    *(f"linear 0 {pooling} one 1" for pooling in ("mean", "max", "sum")),
    *map(
        " ".join,
        itertools.product(
            ("gru", "lstm"),
            ("0", "1", "4"),
            ("mean", "max", "sum", "last"),
            ("one", "both"),
            ("1", "3"),
        ),
    ),
]


@pytest.mark.parametrize("name", MODELS)
def test_a_padded_batch_gives_what_each_sequence_alone_gives(name: str) -> None:
    model = make(name).eval()
    parts, batch = sequences()

    with torch.inference_mode():
        together = model(*batch.inputs)
        alone = torch.cat([model(part.unsqueeze(0), torch.tensor([len(part)])) for part in parts])

    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = make(name).eval()  # without dropout: a unit that is left out has no gradient
    _, batch = sequences()

    torch.autograd.backward(functional.cross_entropy(model(*batch.inputs), torch.arange(4) % 3))

    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ] == []


@pytest.mark.parametrize("how", ["mean", "max", "sum", "last"])
def test_pooling_takes_only_frames_of_the_sequence(how: str) -> None:
    parts, batch = sequences()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda part: part.mean(0),
        "max": lambda part: part.amax(0),
        "sum": lambda part: part.sum(0),
        "last": lambda part: part[-1],
    }
    expected = ways[how]
    frames, lengths = batch.inputs

    found = pool(frames, lengths, how)

    assert torch.allclose(found, torch.stack([expected(part) for part in parts]), atol=1e-6)


def test_moments_of_features_leave_the_padding_out() -> None:
    parts, batch = sequences()

    mean, std = feature_moments(batch)

    assert torch.allclose(mean, torch.cat(parts).mean(0), atol=1e-6)
    assert torch.allclose(std, torch.cat(parts).std(0), atol=1e-6)


def test_blank_lines_separate_utterances() -> None:
    blocks = parse_blocks(f"            \n{LINE}\n{LINE}\n  \n{LINE}\n")

    assert [tuple(block.shape) for block in blocks] == [(2, 13), (1, 13)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" \n1 2 3\n", "line 2: expected 13 numbers, got 3"),
        (f"{LINE}\n{LINE.replace('1.5', 'nan', 1)}\n", "line 2: expected finite numbers"),
        (LINE.replace("1.5", "x", 1), "could not convert string to float"),
        (LINE, "1 utterances, expected 20"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "Train_Arabic_Digit.txt"
    path.write_text(text)

    with pytest.raises(UserError, match=rf"Train_Arabic_Digit.txt: .*{fault}"):
        read_blocks(path, 1)


def test_generated_sequences_have_every_class_and_are_always_the_same() -> None:
    first, again = make_sequences(Path()), make_sequences(Path())

    assert torch.equal(first.train.inputs[0], again.train.inputs[0])
    assert first.train.targets[0].bincount().tolist() == [10] * len(NAMES)


@pytest.fixture
def two_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's files with two speakers of each gender and two blocks of each; a block's first
    number tells it.
    """
    monkeypatch.setattr(
        arabic_digits, "BLOCKS_OF_CLASS", {arabic_digits.TRAIN_FILE: 4, arabic_digits.TEST_FILE: 2}
    )
    monkeypatch.setattr(arabic_digits, "BLOCKS_OF_SPEAKER", 2)
    (tmp_path / "spoken-arabic-digit").mkdir()
    for name, blocks in ((arabic_digits.TRAIN_FILE, 80), (arabic_digits.TEST_FILE, 40)):
        text = "".join(f" \n{number}{LINE[3:]}\n" for number in range(blocks))
        (tmp_path / "spoken-arabic-digit" / name).write_text(text)
    return tmp_path


def test_who_selects_is_not_heard_in_training(two_of_each: Path) -> None:
    data = load_arabic_digits(two_of_each, split="speaker")
    settings = make_spec("spoken_digits", {"val_fraction": 0.5}, 0).settings
    assert isinstance(settings, TrainingSettings)

    for seed in range(4):
        train, val, _ = make_splits(data, settings, seed, torch.device("cpu"))

        heard, selecting = (
            {int(v) for v in data.train.inputs[0][part.rows, 0, 0]} for part in (train, val)
        )
        assert sorted(heard | selecting) == list(range(80))
        assert (
            len({number % 4 // 2 for number in selecting}) == 1
        )  # one man and one woman, all that they said
        assert torch.equal(data.train.targets[0][val.rows].bincount(), torch.full((20,), 2))


def test_a_random_split_is_left_to_the_run(two_of_each: Path) -> None:
    data = load_arabic_digits(two_of_each, split="random")

    assert data.groups is None
    assert (len(data.train), len(data.test)) == (80, 40)
    assert speakers_of(data.train)[:6].tolist() == [0, 0, 1, 1, 0, 0]


def write_wavs(folder: Path, speakers: str = "abc", per_digit: int = 5, rate: int = 8000) -> Path:
    folder.mkdir(parents=True)
    for digit in range(10):
        for number, speaker in enumerate(speakers):
            for index in range(per_digit):
                time = np.arange(rate // 10) / rate
                wave = np.sin(2 * math.pi * (200 + 50 * digit + number) * time) * 0.5
                wavfile.write(
                    folder / f"{digit}_{speaker}_{index}.wav", rate, (wave * 32767).astype(np.int16)
                )
    return folder


@pytest.mark.slow
def test_a_tested_speaker_is_heard_neither_in_training_nor_in_selection(tmp_path: Path) -> None:
    write_wavs(tmp_path / "own")

    data = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    assert data.val is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 50, 50]
    assert data.test.targets[0].bincount().tolist() == [5] * 10


@pytest.mark.slow
@pytest.mark.parametrize(("tested", "selecting"), [("a", "c"), ("b", "a"), ("c", "b")])
def test_each_speaker_can_be_the_stranger(tmp_path: Path, tested: str, selecting: str) -> None:
    write_wavs(tmp_path / "own", per_digit=1)
    frames = {
        who: load_wav_digits(tmp_path, "own", split="speaker", test_speaker=who, **MFCC)
        for who in "abc"
    }

    data = frames[tested]

    assert data.val is not None
    assert torch.equal(data.val.inputs[0], frames[selecting].test.inputs[0])
    assert not torch.equal(data.test.inputs[0], data.val.inputs[0])
    assert len(data.train) == 10


def test_a_stranger_who_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    write_wavs(tmp_path / "own", per_digit=1)

    with pytest.raises(UserError, match=r"own: test_speaker: expected one of a, b, c, got 'd'"):
        load_wav_digits(tmp_path, "own", split="speaker", test_speaker="d", **MFCC)


@pytest.mark.slow
def test_a_random_split_tests_every_fifth_recording_of_each_speaker(tmp_path: Path) -> None:
    write_wavs(tmp_path / "own" / "recordings")

    data = load_wav_digits(tmp_path, "own", split="random", **MFCC)

    assert data.val is None
    assert (len(data.train), len(data.test)) == (120, 30)


@pytest.mark.slow
def test_features_are_computed_once_and_again_when_asked_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wavs(tmp_path / "own", per_digit=1)
    first = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)
    monkeypatch.setattr(wav_digits, "read_wav", Mock(side_effect=UserError("read again")))

    again = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    assert torch.equal(first.train.inputs[0], again.train.inputs[0])
    with pytest.raises(UserError, match="read again"):
        load_wav_digits(tmp_path, "own", split="speaker", features="mel", coefficients=13, bands=40)


@pytest.mark.slow
def test_features_are_computed_again_once_a_file_deep_in_the_folder_has_changed(
    tmp_path: Path,
) -> None:
    write_wavs(tmp_path / "own" / "recordings", per_digit=1)
    load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    (tmp_path / "own" / "recordings" / "3_b_0.wav").write_bytes(b"")

    with pytest.raises(UserError, match=r"3_b_0\.wav: not a readable wav file"):
        load_wav_digits(tmp_path, "own", split="speaker", **MFCC)


def test_features_are_computed_again_once_a_file_behind_a_link_is_replaced(tmp_path: Path) -> None:
    replaced = write_wavs(tmp_path / "store", per_digit=1) / "3_b_0.wav"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "recordings").symlink_to(tmp_path / "store")
    load_wav_digits(tmp_path, "own", split="speaker", **MFCC)
    replaced.write_bytes(b"")

    with pytest.raises(UserError, match=r"3_b_0\.wav: not a readable wav file"):
        load_wav_digits(tmp_path, "own", split="speaker", **MFCC)


def test_features_are_computed_again_once_a_file_is_replaced_by_an_older_one(
    tmp_path: Path,
) -> None:
    replaced = write_wavs(tmp_path / "own", per_digit=1) / "3_b_0.wav"
    before = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    wavfile.write(replaced, 8000, np.zeros(900, np.int16))
    os.utime(replaced, (0, 0))  # as a copy that keeps times does
    after = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    assert before.val is not None
    assert after.val is not None
    assert not torch.equal(before.val.inputs[1], after.val.inputs[1])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_damaged_features_are_computed_again(tmp_path: Path, content: bytes) -> None:
    write_wavs(tmp_path / "own", per_digit=1)
    first = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)
    (kept,) = (tmp_path / ".features").iterdir()
    kept.write_bytes(content)

    again = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    assert torch.equal(first.train.inputs[0], again.train.inputs[0])
    assert kept.stat().st_size > len(content)


def write_sound(
    path: Path, samples: int = 800, rate: int = 8000, value: float = 100, kind: Any = np.int16
) -> None:
    wavfile.write(path, rate, np.full(samples, value, kind))


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: write_sound(path, value=math.nan, kind=np.float32), "it holds NaN"),
        (lambda path: write_sound(path, 0), "it has no sound"),
        (
            lambda path: write_sound(path, 100),
            "100 samples at 8000 Hz are too short, expected at least 129",
        ),
        (
            lambda path: write_sound(path, rate=16000),
            "16000 Hz, but most of the others have 8000 Hz; convert it",
        ),
        (
            lambda path: write_sound(path, rate=0),
            "expected a sampling rate of at least 1000 Hz, got 0",
        ),
        (lambda path: path.write_bytes(b""), "not a readable wav file"),
        (lambda path: cut(path, 30), "not a readable wav file"),
        (lambda path: cut(path, 500), "not a readable wav file .*cut short"),
        (
            lambda path: (path.unlink(), path.mkdir()),
            "cannot be read .Is a directory.; move that folder away",
        ),
        (
            lambda path: path.rename(path.with_name("3_b.wav")),
            "expected DIGIT_SPEAKER_INDEX.wav, such as",
        ),
    ],
)
def test_a_recording_that_cannot_be_used_is_named(
    tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    folder = write_wavs(tmp_path / "own", per_digit=1)
    damage(folder / "3_b_0.wav")

    with pytest.raises(UserError, match=rf"3_b(_0)?\.wav: {sentence}"):
        load_wav_digits(tmp_path, "own", split="speaker", **MFCC)


def test_silence_in_eight_bits_is_silence(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "x.wav", 8000, np.full(800, 128, np.uint8))

    _, wave = read_wav(tmp_path / "x.wav", (tmp_path / "x.wav").read_bytes())

    assert torch.equal(wave, torch.zeros(800))


def test_more_bands_than_the_rate_has_frequencies_for_are_refused(tmp_path: Path) -> None:
    write_wavs(tmp_path / "own", per_digit=1)

    with pytest.raises(UserError, match="own: bands: 200 are too many at 8000 Hz"):
        load_wav_digits(
            tmp_path, "own", split="speaker", features="mel", coefficients=13, bands=200
        )


def test_a_feature_that_never_changes_in_training_does_not_blow_up_in_testing() -> None:
    _, batch = sequences()
    frames = batch.inputs[0].clone()
    frames[..., 0] = -13.815511

    _, std = feature_moments(Samples((frames, batch.inputs[1]), batch.targets))

    assert std[0] == 1


def write_archive(tmp_path: Path) -> Path:
    """The folder `plain`, and the same packed in the folder `packed`."""
    folder = write_wavs(tmp_path / "plain", per_digit=1)
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "recordings.tar.gz", "w:gz") as archive:
        archive.add(folder, "recordings")
        archive.add(
            folder / "3_b_0.wav", "recordings/._3_b_0.wav"
        )  # as archives made on a Mac have them
    return tmp_path / "packed" / "recordings.tar.gz"


def test_an_archive_that_is_damaged_in_the_middle_is_not_taken_for_a_shorter_one(
    tmp_path: Path,
) -> None:
    path = write_archive(tmp_path)
    with gzip.open(path) as packed:
        content = bytearray(packed.read())
    content[content.index(b"recordings/5_b_0.wav")] ^= (
        255  # a header that `tarfile` takes for the end
    )
    path.write_bytes(
        gzip.compress(content)[:-8] + path.read_bytes()[-8:]
    )  # the checksum of what it was

    with pytest.raises(
        UserError, match=r"recordings\.tar\.gz: not a readable archive .*; fetch it again"
    ):
        load_wav_digits(tmp_path, "packed", split="speaker", **MFCC)


@pytest.mark.slow
def test_an_archive_is_read_like_the_folder(tmp_path: Path) -> None:
    write_archive(tmp_path)

    plain, packed = (
        load_wav_digits(tmp_path, name, split="speaker", **MFCC) for name in ("plain", "packed")
    )

    assert torch.equal(plain.train.inputs[0], packed.train.inputs[0])


@pytest.mark.parametrize(
    ("make_folder", "sentence"),
    [
        (lambda folder: None, "neither a known data set"),
        (lambda folder: folder.mkdir(), "no recordings; expected files such as 3_theo_12.wav"),
        (
            lambda folder: write_wavs(folder, "ab", 1),
            "split: speaker needs at least 3 speakers, found a, b",
        ),
        (lambda folder: folder.write_text("x"), "own: expected a folder with recordings such as"),
        (
            lambda folder: remove(write_wavs(folder).glob("7_a*")),
            "no recordings of digit 7 are left",
        ),
        (
            lambda folder: remove(write_wavs(folder).glob("[1-9]*")),
            "at least two digits, found .*0",
        ),
    ],
)
def test_faults_of_a_folder_are_sentences(
    tmp_path: Path, make_folder: Callable[[Path], object], sentence: str
) -> None:
    make_folder(tmp_path / "own")

    with pytest.raises(UserError, match=sentence):
        load_wav_digits(tmp_path, "own", split="speaker", **MFCC)


@pytest.mark.slow
def test_too_few_recordings_to_test_every_fifth_are_told(tmp_path: Path) -> None:
    write_wavs(tmp_path / "own", per_digit=4)

    with pytest.raises(
        UserError, match=r"own: split: random tests every 5th recording .* none has so many"
    ):
        load_wav_digits(tmp_path, "own", split="random", **MFCC)


@pytest.mark.slow
def test_digits_without_a_recording_are_no_classes(tmp_path: Path) -> None:
    remove(write_wavs(tmp_path / "own", per_digit=1).glob("[0-6]*"))

    data = load_wav_digits(tmp_path, "own", split="speaker", **MFCC)

    assert data.names == ("7", "8", "9")
    assert sorted(data.train.targets[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"features": "mfcc"}, "data: spoken-arabic-digit needs features: given"),
        ({"data": "fsdd"}, "data: fsdd needs features: mfcc or mel"),
        (
            {"data": "fsdd", "features": "mfcc", "coefficients": 41},
            "coefficients: at most as many as bands .40., got 41",
        ),
        (
            {"test_speaker": "theo"},
            "data: spoken-arabic-digit has a test set of its own: leave test_speaker out",
        ),
        ({"model": "linear", "pooling": "last"}, "model: linear needs pooling: mean, max or sum"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make_spec("spoken_digits", values, 0)
