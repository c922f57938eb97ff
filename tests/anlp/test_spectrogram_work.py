"""What `anlp.spectrograms` computes, leaves and refuses; the sound itself is in
`test_spectrograms`.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from anlp import spectrograms
from anlp.core.errors import UserError
from anlp.spectrograms import find_work


def sound(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    return folder


def made(source: Path, *, beat: bool) -> spectrograms.Frames:
    if source.stem == "bad":
        raise ValueError(f"{source}: cannot be read as sound")
    return np.full((140, 2), float(beat), dtype=np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spectrograms that take no time, in processes that are forked with them."""
    monkeypatch.setattr(spectrograms, "spectrogram_of", made)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())


def run(audio: Path, out: Path, *options: str) -> int:
    return spectrograms.main([str(audio), str(out), "--workers", "2", *options])


def test_what_is_done_is_left_unless_its_sound_is_newer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, out = (
        sound(tmp_path / "a", "train/1.wav", "train/2.mp3", "train/._1.wav"),
        tmp_path / "out",
    )
    assert run(audio, out) == 0
    assert "2 computed" in capsys.readouterr().out
    assert find_work(audio, out) == []

    later = (out / "train" / "2.fused.full.npy").stat().st_mtime + 10
    os.utime(audio / "train" / "2.mp3", (later, later))

    assert [source.name for source, _ in find_work(audio, out)] == ["2.mp3"]


def test_a_draft_that_a_killed_command_left_is_no_spectrogram(tmp_path: Path) -> None:
    audio, out = sound(tmp_path / "a", "train/1.wav"), tmp_path / "out"
    draft = out / "train" / ".1.fused.full.npy.99.tmp"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"half")

    assert len(find_work(audio, out)) == 1
    assert run(audio, out) == 0

    assert sorted(path.name for path in draft.parent.iterdir()) == ["1.fused.full.npy"]


def test_beats_and_frames_are_not_mixed_in_one_folder(tmp_path: Path) -> None:
    audio, out = sound(tmp_path / "a", "train/1.wav"), tmp_path / "out"
    assert run(audio, out) == 0

    with pytest.raises(
        UserError, match="out: its files have frames as columns, not beats; write to another folder"
    ):
        run(audio, out, "--beat")


def test_a_folder_with_spectrograms_of_others_is_left_alone(tmp_path: Path) -> None:
    audio, out = sound(tmp_path / "a", "train/1.wav"), tmp_path / "out"
    sound(out, "train/7.fused.full.npy")

    with pytest.raises(UserError, match="it holds spectrograms that this command did not make"):
        run(audio, out)


def test_two_files_that_would_become_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1.wav and .*1.mp3 would both become .*1.fused.full.npy"):
        find_work(sound(tmp_path / "a", "train/1.mp3", "train/1.wav"), tmp_path / "out")


def test_a_bad_file_is_told_and_the_others_are_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, out = sound(tmp_path / "a", "train/1.wav", "train/bad.wav"), tmp_path / "out"

    assert run(audio, out) == 1

    said = capsys.readouterr()
    assert "bad.wav: cannot be read as sound" in said.err
    assert "1 computed, 1 could not be read" in said.out
    assert "note: no *_labels.txt" in said.out


def test_a_process_that_is_killed_is_a_sentence_and_what_was_done_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(source: Path, *, beat: bool) -> spectrograms.Frames:
        if source.stem == "2":
            os._exit(9)
        return made(source, beat=beat)

    monkeypatch.setattr(spectrograms, "spectrogram_of", die)
    audio, out = sound(tmp_path / "a", "train/1.wav", "train/2.wav"), tmp_path / "out"

    with pytest.raises(
        UserError,
        match=r"was killed, .*; finished files are kept: repeat the command with fewer than",
    ):
        spectrograms.main([str(audio), str(out), "--workers", "1"])

    assert [source.name for source, _ in find_work(audio, out)] == ["2.wav"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match="cannot be written"):
        run(sound(tmp_path / "a", "train/1.wav"), tmp_path / "file" / "out")


def test_sound_behind_links_is_found(tmp_path: Path) -> None:
    sound(tmp_path / "store", "train/a.wav", "rock/b.wav")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "train").symlink_to(tmp_path / "store" / "train")
    (tmp_path / "store" / "train" / "more").symlink_to(tmp_path / "store" / "rock")

    work = find_work(tmp_path / "audio", tmp_path / "out")

    names = [str(target.relative_to(tmp_path / "out")) for _, target in work]
    assert names == ["train/a.fused.full.npy", "train/more/b.fused.full.npy"]


def test_files_that_are_left_out_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = sound(tmp_path / "audio", "train/a.wav", "train/b.wma", "train/c.WMA", "x.cue")
    sound(audio, "train_labels.txt", ".hidden")

    run(audio, tmp_path / "out")

    said = f"note: {audio}: 3 files (2 .wma, 1 .cue) left out; sound is"
    assert said in capsys.readouterr().err
