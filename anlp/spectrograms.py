"""`python -m anlp.spectrograms AUDIO OUT`: music files to spectrograms for the music tasks.

A `.npy` file has 128 mel bands (torchaudio) above 12 pitch classes (librosa), one column per frame
of 23 ms, or per beat with `--beat`. A spectrogram that is not older than its sound is kept; files
are computed in parallel. A spectrogram is written whole, by rename: after an interruption the next
command goes on from there.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anlp.console.command import run_command
from anlp.console.progress import Progress
from anlp.core.errors import EXIT_OK, EXIT_RUNS_FAILED, UserError
from anlp.core.files import advise, describe_fault, write_whole
from anlp.datasets.walk import by_ending, entries_under, is_hidden
from anlp.records.files import read_json, write_json

RATE = 22_050  # Hz
HOP = 512  # samples: 1,293 frames for a clip of 30 s
WINDOW = 2048
BANDS, PITCHES = 128, 12
FLOOR_DB = -80.0
MADE_HOW = ".spectrograms.json"  # in the folder that is written: what its files are
ENDINGS = frozenset({".wav", ".mp3", ".flac", ".ogg", ".m4a"})
Frames = npt.NDArray[np.float32]

EXAMPLES = """examples:
  python -m anlp.spectrograms fma_small data/fma_genre_spectrograms
  python -m anlp.spectrograms fma_small data/fma_genre_spectrograms_beat --beat --workers 8"""


def spectrogram_of(path: Path, *, beat: bool) -> Frames:
    """Compute (140, T) of one file.

    Mel energies in decibels below its loudest (0 to -80), then pitch classes from 0 to 1.

    Raises:
        ValueError: the file cannot be read, or holds no sound.
    """
    # imported by the workers only: the command itself starts at once
    import librosa
    import torch
    from torchaudio import transforms

    torch.set_num_threads(1)
    try:
        wave, _ = librosa.load(path, sr=RATE, mono=True)
        if len(wave) < WINDOW or not np.any(wave):
            raise ValueError("it holds no sound, or less than a tenth of a second")
        mel = transforms.MelSpectrogram(RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS)(
            torch.from_numpy(wave)
        )
        decibels = librosa.power_to_db(mel.numpy(), ref=np.max, top_db=-FLOOR_DB)
        chroma = librosa.feature.chroma_stft(y=wave, sr=RATE, n_fft=WINDOW, hop_length=HOP)
        frames = np.concatenate([decibels, chroma[:, : decibels.shape[1]]])
        found = _by_beat(wave, frames) if beat else frames
    except Exception as error:  # decoders raise almost anything for a damaged file
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: cannot be read as sound ({reason})") from error
    if not np.isfinite(found).all():
        raise ValueError(f"{path}: its spectrogram has NaN or infinite values; look at the file")
    return found.astype(np.float32)


def _by_beat(wave: npt.NDArray[Any], frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the median of the frames of each beat; of all frames where there is no beat."""
    import librosa  # loaded by now

    _, beats = librosa.beat.beat_track(y=wave, sr=RATE, hop_length=HOP)
    if not len(beats):
        alone: npt.NDArray[Any] = np.median(frames, axis=1, keepdims=True)
        return alone
    synced: npt.NDArray[Any] = librosa.util.sync(frames, beats.tolist(), aggregate=np.median)
    return synced


def _compute(source: Path, target: Path, beat: bool) -> str:
    """Compute a spectrogram and return what went wrong; empty where nothing did.

    Drafts of the file that a killed command left are removed.
    """
    try:
        frames = spectrogram_of(source, beat=beat)
        buffer = io.BytesIO()
        np.save(buffer, frames, allow_pickle=False)
        write_whole(target, buffer.getvalue(), sync=False)
        for left in target.parent.glob(f".{target.name}.*.tmp"):
            left.unlink(missing_ok=True)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"cannot be written: {describe_fault(error)}"
    return ""


def find_work(audio: Path, out: Path) -> list[tuple[Path, Path]]:
    """Return sound files with the path of their spectrogram, without those that are done.

    Raises:
        UserError: there is no sound in the folder, or two files would become one spectrogram.
    """
    sources = [path for path in _visible(audio) if path.suffix.lower() in ENDINGS]
    if not sources:
        raise UserError(
            f"{audio}: no sound files; expected {', '.join(sorted(ENDINGS))} under train/ and test/"
        )
    targets: dict[Path, Path] = {}
    for path in sources:
        target = out / path.relative_to(audio).parent / f"{path.stem.split('.')[0]}.fused.full.npy"
        if target in targets:
            raise UserError(
                f"{path} and {targets[target]} would both become {target}; remove or rename one"
            )
        targets[target] = path
    return [(source, target) for target, source in targets.items() if not _is_done(source, target)]


def find_left_out(audio: Path) -> str:
    """Say which files of the folder are no sound for this command; empty where all are."""
    others = [
        path
        for path in _visible(audio)
        if path.suffix.lower() not in ENDINGS and not path.name.endswith("_labels.txt")
    ]
    if not others:
        return ""
    return f"{audio}: {by_ending(others)} left out; sound is {' '.join(sorted(ENDINGS))}"


def _visible(audio: Path) -> list[Path]:
    """Return the files of a folder, links followed, without those of the system."""
    if not audio.is_dir():
        return []
    found = [path for path in entries_under(audio) if not is_hidden(path.relative_to(audio))]
    return [path for path in found if not path.is_dir()]


def _is_done(source: Path, target: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def _copy_labels(audio: Path, out: Path) -> None:
    for path in audio.glob("*_labels.txt"):
        shutil.copyfile(path, out / path.name)


def _claim_folder(out: Path, beat: bool) -> None:
    """Record what the files of a folder are.

    Raises:
        UserError: they are something else already.
    """
    how = {
        "columns": "beats" if beat else "frames",
        "rate": RATE,
        "hop": HOP,
        "window": WINDOW,
        "bands": BANDS,
    }
    noted = read_json(out / MADE_HOW)
    if noted is not None and noted != how:
        was = noted.get("columns", "something else")
        raise UserError(
            f"{out}: its files have {was} as columns, not {how['columns']}; write to another folder"
        )
    if noted is None and _has_spectrograms(out):
        raise UserError(
            f"{out}: it holds spectrograms that this command did not make; write to another folder"
        )
    write_json(out / MADE_HOW, how)


def _has_spectrograms(out: Path) -> bool:
    return any(path.name.endswith(".fused.full.npy") for path in entries_under(out))


def _faults(work: Sequence[tuple[Path, Path]], beat: bool, workers: int) -> Iterator[str]:
    with ProcessPoolExecutor(workers) as pool, Progress("spectrograms", len(work)) as progress:
        futures = [pool.submit(_compute, source, target, beat) for source, target in work]
        try:
            for future in as_completed(futures):
                progress.add()
                if fault := future.result():
                    yield fault
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed, most likely for lack of memory; finished files are "
                f"kept: repeat the command with fewer than --workers {workers}"
            ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Compute what is missing; the exit code is 1 if a file could not be read.

    Raises:
        UserError: librosa is not installed, or there is nothing to compute.
    """
    parser = argparse.ArgumentParser(
        prog="python -m anlp.spectrograms",
        description="Computes spectrograms of music, in the layout of the tasks fma_genre and "
        "fma_emotion.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "audio", type=Path, help="folder with train/ and test/ and, beside them, *_labels.txt"
    )
    parser.add_argument("out", type=Path, help="folder to write to, in the data folder")
    parser.add_argument(
        "--beat", action="store_true", help="one column per beat instead of per frame"
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers",
        type=_positive,
        default=cores,
        metavar="N",
        help="files at a time (%(default)s)",
    )
    given = parser.parse_args(argv)
    if importlib.util.find_spec("librosa") is None:
        raise UserError("anlp.spectrograms: librosa is not installed; pip install '.[music]'")
    work = find_work(given.audio, given.out)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        _claim_folder(given.out, given.beat)
        for folder in {target.parent for _, target in work}:
            folder.mkdir(parents=True, exist_ok=True)
        _copy_labels(given.audio, given.out)
    except OSError as error:
        raise UserError(
            f"{error.filename or given.out}: cannot be written ({error.strerror}); {advise(error)}"
        ) from error
    if left_out := find_left_out(given.audio):
        print(f"note: {left_out}", file=sys.stderr)
    faults = 0
    for fault in _faults(work, given.beat, given.workers):
        faults += 1
        print(fault, file=sys.stderr)
    print(f"{len(work) - faults} computed, {faults} could not be read, in {given.out}")
    if not any(given.out.glob("*_labels.txt")):
        print(
            f"note: no *_labels.txt in {given.audio}; "
            "the tasks want train_labels.txt and test_labels.txt beside train/"
        )
    return EXIT_RUNS_FAILED if faults else EXIT_OK


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


if __name__ == "__main__":
    raise SystemExit(run_command(main))
