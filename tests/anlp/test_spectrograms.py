from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from anlp.core.errors import UserError
from anlp.data.spectrograms import load_genres
from anlp.spectrograms import main, spectrogram_of

pytest.importorskip(
    "librosa", reason="librosa computes pitch classes and beats; pip install '.[music]'"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]  # of the libraries that read sound

RATE = 22_050


def write_tone(path: Path, hertz: float, seconds: float = 3.0) -> None:
    """A tone with a click twice a second, so that it has a beat."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(RATE * seconds)) / RATE
    wave = 0.3 * np.sin(2 * math.pi * hertz * time)
    wave[:: RATE // 2] = 1.0
    wavfile.write(path, RATE, (wave * 32767).astype(np.int16))


def test_a_tone_is_loudest_in_its_pitch_class_and_has_one_column_per_frame(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 440.0)

    frames = spectrogram_of(tmp_path / "a.wav", beat=False)

    assert frames.shape == (140, 3 * RATE // 512 + 1)
    assert frames[:128].max() == pytest.approx(0.0)
    assert frames[:128].min() >= -80.0
    assert frames[128:].mean(1).argmax() == 9  # C, C#, ..., A


def test_beats_are_fewer_than_frames(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 440.0, seconds=8.0)

    beats, frames = (
        spectrogram_of(tmp_path / "a.wav", beat=beat).shape[1] for beat in (True, False)
    )

    assert 4 <= beats < frames / 5


def test_sound_without_a_beat_is_one_column(tmp_path: Path) -> None:
    time = np.arange(RATE // 3) / RATE
    wavfile.write(
        tmp_path / "a.wav", RATE, (3000 * np.sin(2 * math.pi * 440 * time)).astype(np.int16)
    )

    assert spectrogram_of(tmp_path / "a.wav", beat=True).shape == (140, 1)


def test_a_folder_of_sound_becomes_one_that_the_task_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, out = tmp_path / "audio", tmp_path / "data" / "music"
    for part in ("train", "test"):
        for number, hertz in enumerate((440.0, 660.0)):
            write_tone(audio / part / f"{number}.wav", hertz, seconds=1.0)
        (audio / f"{part}_labels.txt").write_text("Id\tGenre\n0.wav\tRock\n1.wav\tBlues\n")

    assert main([str(audio), str(out), "--workers", "2"]) == 0

    data = load_genres(tmp_path / "data", "music", features="fused", mapping="lab")
    assert (len(data.train), len(data.test), data.names) == (2, 2, ("Blues", "Rock"))
    assert "4 computed, 0 could not be read" in capsys.readouterr().out
    assert main([str(audio), str(out)]) == 0
    assert "0 computed" in capsys.readouterr().out


def test_a_file_that_is_no_sound_is_named_and_the_others_are_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tone(tmp_path / "audio" / "train" / "0.wav", 440.0, seconds=1.0)
    (tmp_path / "audio" / "train" / "1.wav").write_bytes(b"no sound")

    assert main([str(tmp_path / "audio"), str(tmp_path / "out"), "--workers", "1"]) == 1

    said = capsys.readouterr()
    assert "1.wav: cannot be read as sound" in said.err
    assert "1 computed, 1 could not be read" in said.out


def test_a_folder_without_sound_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sound files; expected"):
        main([str(tmp_path), str(tmp_path / "out")])
