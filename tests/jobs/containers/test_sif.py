"""Checksums of images: computed once, again after a change, compared with what the builder wrote
down.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from jobs.containers import sif
from jobs.containers.sif import MEMORY, read_digest, require_whole


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a b,c.sif"
    path.write_bytes(b"content")
    return path


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_image_is_read_once_for_all_submissions(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = image.parent / MEMORY
    first = read_digest(image, memory)
    monkeypatch.setattr(sif, "_sha256", lambda path: pytest.fail(f"reads {path} again"))

    assert (first, read_digest(image, memory)) == (digest_of(b"content"),) * 2


def test_another_content_of_the_same_size_and_time_is_read_anew(image: Path) -> None:
    memory = image.parent / MEMORY
    before = image.stat()
    read_digest(image, memory)
    image.write_bytes(b"CONTENT")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert read_digest(image, memory) == digest_of(b"CONTENT")


@pytest.mark.parametrize(
    "text", ["", "{", '{"x": 1}', '{"IMAGE": {"look": [1], "sha256": "0"}}', '{"IMAGE": 3}']
)
def test_a_memory_that_says_something_else_is_not_believed(image: Path, text: str) -> None:
    memory = image.parent / MEMORY
    memory.write_text(text.replace("IMAGE", str(image)))

    assert read_digest(image, memory) == digest_of(b"content")


def test_a_copy_that_is_not_what_was_built_is_refused_also_from_memory(image: Path) -> None:
    memory = image.parent / MEMORY
    note = image.with_name(image.name + ".sha256")
    note.write_text(f"{digest_of(b'content')}  {image.name}\n")
    assert read_digest(image, memory) == digest_of(b"content")
    note.write_text(f"{'0' * 64}  {image.name}\n")

    with pytest.raises(
        UserError, match=r"its checksum is not the one in a b,c.sif.sha256: a damaged copy"
    ):
        read_digest(image, memory)


def test_an_image_that_is_still_being_copied_is_refused(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(path: Path) -> str:
        path.write_bytes(path.read_bytes() + b"more")
        return "0"

    monkeypatch.setattr(sif, "_sha256", grow)

    with pytest.raises(
        UserError, match="it changes while it is read; submit again when the copy is complete"
    ):
        read_digest(image, image.parent / MEMORY)
    assert not (image.parent / MEMORY).exists()


def test_a_copy_without_its_end_is_refused(image: Path) -> None:
    head = b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\x0001\0"
    image.write_bytes(head.ljust(112, b"\0") + struct.pack("<qq", 4096, 1_000_000) + bytes(500_000))

    with pytest.raises(
        UserError, match=r"0.5 of 1.0 MB are there, so it was not copied to its end; copy it again"
    ):
        require_whole(image)
