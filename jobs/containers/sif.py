"""Checks that an image's file is whole, and computes its checksum once while it stays unchanged."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from anlp.core.errors import UserError
from anlp.records.files import read_json, write_json

MEMORY = ".images.json"  # in the folder of all grids: path -> checksum, and size and times then
MAGIC = b"SIF_MAGIC"
DATA = struct.Struct("<qq")  # where its data begins and how long it is, in bytes
DATA_AT = (
    112  # bytes from the beginning of the file: https://github.com/apptainer/sif, the global header
)
SUFFIX = ".sha256"


def require_whole(image: Path) -> None:
    """Return if nothing is missing at the end of a SIF file; Apptainer would notice on the node.

    Raises:
        UserError: it is shorter than it says.
    """
    with image.open("rb") as file:
        head = file.read(DATA_AT + DATA.size)
    if MAGIC not in head or len(head) < DATA_AT + DATA.size:
        return
    begin, length = DATA.unpack_from(head, DATA_AT)
    size = image.stat().st_size
    if size < begin + length:
        raise UserError(
            f"container: {image}: {size / 1e6:.1f} of {(begin + length) / 1e6:.1f} MB are there, "
            "so it was not copied to its end; copy it again"
        )


def read_digest(image: Path, memory: Path | None) -> str:
    """Return the image's sha256, from `memory` where the file has not changed since.

    Args:
        image: the file.
        memory: where checksums are remembered; None: nowhere.

    Raises:
        UserError: it changes while it is read, or a file IMAGE.sha256 beside it says another one.
    """
    known = (read_json(memory) if memory else None) or {}
    look = _look(image)
    entry = known.get(str(image))
    if (
        isinstance(entry, dict)
        and entry.get("look") == look
        and isinstance(entry.get("sha256"), str)
    ):
        digest: str = entry["sha256"]
    else:
        digest = _sha256(image)
        if _look(image) != look:
            raise UserError(
                f"container: {image}: it changes while it is read; "
                "submit again when the copy is complete"
            )
        if memory:
            write_json(memory, {**known, str(image): {"look": look, "sha256": digest}})
    _compare(image, digest)
    return digest


def _look(image: Path) -> list[int]:
    """Return values that change whenever the content may have changed."""
    found = image.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.sha256()
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _compare(image: Path, digest: str) -> None:
    """Compare with the checksum that the builder wrote beside the image, where there is one."""
    note = image.with_name(image.name + SUFFIX)
    if not note.is_file():
        return
    wanted = note.read_text(errors="replace").split()[:1]
    if wanted != [digest]:
        raise UserError(
            f"container: {image}: its checksum is not the one in {note.name}: a damaged copy, "
            f"or another build; copy both again, or remove {note.name}"
        )
