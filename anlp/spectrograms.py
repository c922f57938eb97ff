"""`python -m anlp.spectrograms AUDIO OUT`: music files to the `.npy` spectrograms that the music tasks read.

128 mel bands (torchaudio) above 12 pitch classes (librosa), one column per frame of 23 ms, or per beat with `--beat`.
What is computed already stays; files are computed side by side.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anlp.errors import EXIT_OK, EXIT_RUNS_FAILED, UserError, run_command
from anlp.progress import Progress

RATE = 22_050  # Hz
HOP = 512  # samples: 1,293 frames for a clip of 30 s
WINDOW = 2048
BANDS, PITCHES = 128, 12
FLOOR_DB = -80.0
ENDINGS = frozenset({".wav", ".mp3", ".flac", ".ogg", ".m4a"})
Frames = npt.NDArray[np.float32]

EXAMPLES = """examples:
  python -m anlp.spectrograms fma_small data/fma_genre_spectrograms
  python -m anlp.spectrograms fma_small data/fma_genre_spectrograms_beat --beat --workers 8"""


def spectrogram_of(path: Path, *, beat: bool) -> Frames:
    """(140, T) of one file: mel energies in decibels below its loudest (0 to -80), pitch classes from 0 to 1.

    Raises:
        ValueError: the file cannot be read, or holds no sound.
    """
    import librosa
    import torch
    from torchaudio import transforms

    try:
        wave, _ = librosa.load(path, sr=RATE, mono=True)
    except Exception as error:  # its decoders raise almost anything for a damaged file
        raise ValueError(f"{path}: cannot be read as sound ({type(error).__name__}: {error})") from error
    if len(wave) < WINDOW or not np.any(wave):
        raise ValueError(f"{path}: it holds no sound, or less than a tenth of a second")
    torch.set_num_threads(1)
    mel = transforms.MelSpectrogram(RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS)(torch.from_numpy(wave))
    decibels = librosa.power_to_db(mel.numpy(), ref=np.max, top_db=-FLOOR_DB)
    chroma = librosa.feature.chroma_stft(y=wave, sr=RATE, n_fft=WINDOW, hop_length=HOP)
    frames = np.concatenate([decibels, chroma[:, : decibels.shape[1]]])
    return (_by_beat(wave, frames) if beat else frames).astype(np.float32)


def _by_beat(wave: npt.NDArray[Any], frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The median of the frames of each beat."""
    import librosa

    _, beats = librosa.beat.beat_track(y=wave, sr=RATE, hop_length=HOP)
    synced: npt.NDArray[Any] = librosa.util.sync(frames, beats.tolist(), aggregate=np.median)
    return synced


def _compute(source: Path, target: Path, beat: bool) -> str:
    """What went wrong; empty where nothing did."""
    try:
        frames = spectrogram_of(source, beat=beat)
    except ValueError as error:
        return str(error)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        np.save(file, frames, allow_pickle=False)
    draft.replace(target)
    return ""


def find_work(audio: Path, out: Path) -> list[tuple[Path, Path]]:
    """Sound files with the place of their spectrogram, those that have one left out.

    Raises:
        UserError: there is no sound in the folder.
    """
    sources = sorted(path for path in audio.rglob("*") if path.suffix.lower() in ENDINGS)
    if not sources:
        raise UserError(f"{audio}: no sound files; expected {', '.join(sorted(ENDINGS))} under train/ and test/")
    pairs = [(path, out / path.relative_to(audio).parent / f"{path.stem}.fused.full.npy") for path in sources]
    return [(source, target) for source, target in pairs if not target.exists()]


def _copy_labels(audio: Path, out: Path) -> None:
    for path in audio.glob("*_labels.txt"):
        shutil.copyfile(path, out / path.name)


def _faults(work: Sequence[tuple[Path, Path]], beat: bool, workers: int) -> Iterator[str]:
    with ProcessPoolExecutor(workers) as pool, Progress("spectrograms", len(work)) as progress:
        futures = [pool.submit(_compute, source, target, beat) for source, target in work]
        for future in as_completed(futures):
            progress.add()
            if fault := future.result():
                yield fault


def main(argv: Sequence[str] | None = None) -> int:
    """Computes what is missing; 1 if a file could not be read.

    Raises:
        UserError: librosa is not installed, or there is nothing to compute.
    """
    parser = argparse.ArgumentParser(
        prog="python -m anlp.spectrograms",
        description="Computes spectrograms of music, in the layout that the tasks fma_genre and fma_emotion read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audio", type=Path, help="folder with train/ and test/ and, beside them, *_labels.txt")
    parser.add_argument("out", type=Path, help="folder to write to, in the data folder")
    parser.add_argument("--beat", action="store_true", help="one column per beat instead of per frame")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="files at a time")
    given = parser.parse_args(argv)
    if importlib.util.find_spec("librosa") is None:
        raise UserError("anlp.spectrograms: librosa is not installed; pip install '.[music]'")
    work = find_work(given.audio, given.out)
    for folder in {target.parent for _, target in work}:
        folder.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    _copy_labels(given.audio, given.out)
    faults = 0
    for fault in _faults(work, given.beat, max(1, given.workers)):
        faults += 1
        print(fault, file=sys.stderr)
    print(f"{len(work) - faults} computed, {faults} could not be read, in {given.out}")
    return EXIT_RUNS_FAILED if faults else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(run_command(main))
