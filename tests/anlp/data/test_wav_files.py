"""Wav files as recorders leave them: killed before they wrote the sizes, or with wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from anlp.core.errors import UserError
from anlp.data.audio import read_wav

RATE = 8000
SAMPLES = struct.pack("<500h", *range(-250, 250))
UNKNOWN = 0xFFFFFFFF


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def form(coding: int = 1, channels: int = 1, bits: int = 16, frame: int = 2) -> bytes:
    packed = struct.pack("<HHIIHH", coding, channels, RATE, RATE * frame, frame, bits)
    return chunk(b"fmt ", packed)


def wav(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF") -> bytes:
    return chunk(name, b"WAVE" + b"".join(chunks), size)


PLAIN = wav(form(), chunk(b"data", SAMPLES))
LARGE = chunk(b"ds64", struct.pack("<QQQI", 0, len(SAMPLES), 500, 0))
TEXT = chunk(b"LIST", b"INFOIART\x04\x00\x00\x00Theo")


@pytest.mark.parametrize(
    "content",
    [
        wav(form(), chunk(b"data", SAMPLES), size=0),
        wav(form(), chunk(b"data", SAMPLES), size=UNKNOWN),
        wav(form(), chunk(b"data", SAMPLES), size=len(PLAIN)),  # 8 too large
        wav(form(), chunk(b"data", SAMPLES), size=len(PLAIN) - 16),  # 8 too small
        wav(form(), chunk(b"data", SAMPLES, 0), size=0),
        wav(form(), chunk(b"data", SAMPLES, 0), size=36),  # as written before the first sample
        wav(form(), chunk(b"data", SAMPLES, UNKNOWN), size=UNKNOWN),
        wav(form(), chunk(b"data", SAMPLES, 0x7FFFF000), size=0x7FFFF024),  # as a pipe has it
        wav(form(), chunk(b"data", SAMPLES + b"\x01", 0), size=0),  # killed within a sample
        wav(TEXT, form(), chunk(b"data", SAMPLES), TEXT),
        wav(form(), chunk(b"data", SAMPLES), b"LI"),
        wav(LARGE, form(), chunk(b"data", SAMPLES, UNKNOWN), name=b"RF64", size=UNKNOWN),
        wav(LARGE, form(), chunk(b"data", SAMPLES, UNKNOWN), TEXT, name=b"RF64", size=UNKNOWN),
    ],
)
def test_samples_are_read_where_it_is_clear_which_they_are(content: bytes) -> None:
    rate, wave = read_wav(Path("a.wav"), content)

    assert rate == RATE
    assert torch.equal(wave, read_wav(Path("a.wav"), PLAIN)[1])
    assert len(wave) == 500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (wav(form()), "no data chunk"),
        (wav(form(), TEXT), "no data chunk"),
        (b"RIFF\0\0\0\0WAVE", "no data chunk"),
        (wav(chunk(b"data", SAMPLES)), "no fmt chunk"),
        (wav(form()[:-4], chunk(b"data", SAMPLES)), "chunk"),
        (wav(form(channels=0), chunk(b"data", SAMPLES)), "0 channels"),
        (wav(form(frame=0), chunk(b"data", SAMPLES)), "0 bytes for a sample"),
        (wav(form(bits=0), chunk(b"data", SAMPLES)), "0 bits"),
        (wav(form(channels=2, frame=3), chunk(b"data", SAMPLES)), "3 bytes for a sample"),
        (wav(form(coding=85), chunk(b"data", SAMPLES)), "MPEGLAYER3"),
        (wav(form(), chunk(b"data", SAMPLES, 1200)), "1200 bytes .* announced, 1000 are there"),
        (wav(form(), chunk(b"data", b"", 0), size=0), "it has no sound"),
        (wav(form(), chunk(b"data", b"", 0), TEXT), "it has no sound"),
        (b"\0" * 4000, "does not begin as a wav file"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_file_and_the_reason(
    content: bytes, reason: str
) -> None:
    with pytest.raises(UserError, match=rf"^set/a\.wav: .*{reason}.*; remove or replace it$"):
        read_wav(Path("set/a.wav"), content)


@pytest.mark.parametrize("size", range(len(PLAIN[:60])))
def test_a_header_cut_anywhere_names_the_file(size: int) -> None:
    with pytest.raises(UserError, match=r"^a\.wav: "):
        read_wav(Path("a.wav"), PLAIN[:size])


@contextmanager
def suppress_refusal() -> Iterator[None]:
    """Let a refusal that names the file pass, and nothing else."""
    try:
        yield
    except UserError as error:
        if not str(error).startswith("a.wav: "):
            raise


def test_every_damaged_byte_of_a_header_is_read_or_refused_with_the_file() -> None:
    for at in range(44):
        for value in (0, 1, 127, 255):
            with suppress_refusal():
                read_wav(Path("a.wav"), PLAIN[:at] + bytes([value]) + PLAIN[at + 1 :])
