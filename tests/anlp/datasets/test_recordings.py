from __future__ import annotations

from pathlib import Path

import pytest

from anlp.datasets.recordings import check_recordings


def write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"sound")


def check(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    check_recordings(data, "own", split="random")
    return capsys.readouterr().err


def test_sounds_that_are_left_out_are_counted_before_submission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    write(folder, "3_a_0.wav", "3_a_1.WAV", "3_a_2.flac", "readme.txt", "._3_a_0.wav")
    write(folder / "recordings", "4_a_0.wav", "4_a_1.mp3")
    write(folder, "recordings.tar.gz")

    said = check(tmp_path, capsys)

    assert said.startswith(f"note: {folder}: 4 files (")
    for part in ("1 .flac", "1 .mp3", "1 .wav", "1 .gz"):
        assert part in said


def test_nothing_is_said_where_nothing_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "own" / "recordings", "3_a_0.wav")

    assert check(tmp_path, capsys) == ""
