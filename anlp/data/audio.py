"""Waveforms to features: MFCC and mel spectrograms by torchaudio, wav files read without a codec."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor, nn

from anlp.errors import UserError

WINDOW_S, HOP_S = 0.025, 0.010  # of a frame, as is usual for speech
FLOOR = 1e-6  # of a band's energy, before the logarithm


def read_wav(path: Path, content: bytes) -> tuple[int, Tensor]:
    """Sampling rate in Hz and samples (S,) in [-1, 1] of a wav file; channels are averaged.

    Args:
        path: where it is from, for the error.
        content: of the file.

    Raises:
        UserError: no wav file, an empty one, or one with NaN.
    """
    try:
        rate, samples = wavfile.read(io.BytesIO(content))
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable wav file ({error}); remove or replace it") from error
    if samples.size == 0:
        raise UserError(f"{path}: it has no sound; remove or replace it")
    scale = np.iinfo(samples.dtype).max if np.issubdtype(samples.dtype, np.integer) else 1.0
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: it holds NaN or infinite samples; remove or replace it")
    wave = torch.from_numpy(samples.astype(np.float32) / scale)
    return int(rate), wave.mean(1) if wave.dim() == 2 else wave


def make_transform(kind: str, rate: int, *, coefficients: int, bands: int) -> nn.Module:
    """A module that turns samples (S,) into features (F, T), T about one per 10 ms.

    Args:
        kind: "mfcc" or "mel" (log energies).
        rate: of the samples, in Hz.
        coefficients: mfcc: F.
        bands: of the mel scale; mel: F.
    """
    from torchaudio import transforms  # only data that is computed from sound needs it: half a second

    window, hop = int(WINDOW_S * rate), int(HOP_S * rate)
    size = 1 << (window - 1).bit_length()
    mel = {"n_fft": size, "win_length": window, "hop_length": hop, "n_mels": bands}
    if kind == "mfcc":
        made = transforms.MFCC(sample_rate=rate, n_mfcc=coefficients, log_mels=True, melkwargs=mel)
        return cast("nn.Module", made)
    return nn.Sequential(transforms.MelSpectrogram(sample_rate=rate, **mel), _Log())


class _Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return (x + FLOOR).log()
