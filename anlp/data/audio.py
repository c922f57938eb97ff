"""Waveforms to features: MFCC and mel spectrograms by torchaudio; wav files without a codec."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.io import wavfile
from torch import Tensor, nn

from anlp.core.errors import UserError
from anlp.data.wav_header import repaired

WINDOW_S, HOP_S = 0.025, 0.010  # of a frame, as is usual for speech
LEAST_RATE = 1000  # Hz
FLOOR = 1e-6  # of a band's energy, before the logarithm


def read_wav(path: Path, content: bytes) -> tuple[int, Tensor]:
    """Read a wav file: sampling rate in Hz, and samples (S,) in [-1, 1]; channels are averaged.

    Where the recorder never wrote the size of the samples, they go to the end of the file.

    Args:
        path: where it is from, for the error.
        content: of the file.

    Raises:
        UserError: no wav file, one that is cut short or empty, or one with NaN.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)  # the file is cut short
            rate, samples = wavfile.read(io.BytesIO(repaired(content)))
    except Exception as error:  # scipy raises almost anything for a damaged header
        raise UserError(
            f"{path}: not a readable wav file ({error}); remove or replace it"
        ) from error
    if samples.size == 0:
        raise UserError(f"{path}: it has no sound; remove or replace it")
    if rate < LEAST_RATE:
        raise UserError(
            f"{path}: expected a sampling rate of at least {LEAST_RATE} Hz, got {rate}; "
            "remove or replace it"
        )
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: it holds NaN or infinite samples; remove or replace it")
    wave = torch.from_numpy(_scaled(samples))
    return int(rate), wave.mean(1) if wave.dim() == 2 else wave


def _scaled(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return samples in [-1, 1]; those of 8 bits are stored without a sign, silence is 128."""
    wave = samples.astype(np.float32)
    if samples.dtype == np.uint8:
        wave -= 128
    if np.issubdtype(samples.dtype, np.integer):
        wave /= 127 if samples.dtype == np.uint8 else np.iinfo(samples.dtype).max
    return wave


def least_samples(rate: int) -> int:
    """Return how many samples a sound needs at least to have a frame."""
    return _size_of_transform(rate) // 2 + 1


def _size_of_transform(rate: int) -> int:
    return 1 << (int(WINDOW_S * rate) - 1).bit_length()


def make_transform(kind: str, rate: int, *, coefficients: int, bands: int) -> nn.Module:
    """Make a module that turns samples (S,) into features (F, T), T about one per 10 ms.

    Args:
        kind: "mfcc" or "mel" (log energies).
        rate: of the samples, in Hz.
        coefficients: mfcc: F; at most as many as bands.
        bands: of the mel scale; mel: F.

    Raises:
        ValueError: more bands than the rate has frequencies for: some would always be empty.
    """
    # imported here: it takes half a second, and only data computed from sound needs it
    from torchaudio import functional, transforms

    window, hop = int(WINDOW_S * rate), int(HOP_S * rate)
    size = _size_of_transform(rate)
    has_room = bands <= size // 2
    if has_room:
        edges = functional.melscale_fbanks(size // 2 + 1, 0.0, rate / 2, bands, rate)
        has_room = bool(edges.any(0).all())
    if not has_room:
        raise ValueError(
            f"bands: {bands} are too many at {rate} Hz: some would hold no frequency; take fewer"
        )
    mel = {"n_fft": size, "win_length": window, "hop_length": hop, "n_mels": bands}
    if kind == "mfcc":
        made = transforms.MFCC(sample_rate=rate, n_mfcc=coefficients, log_mels=True, melkwargs=mel)
        return cast("nn.Module", made)
    return nn.Sequential(transforms.MelSpectrogram(sample_rate=rate, **mel), _Log())


class _Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithm of energies, in the shape of `x`."""
        return (x + FLOOR).log()
