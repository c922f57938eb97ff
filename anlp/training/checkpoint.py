"""Everything a run needs to go on as if nothing had happened, in one file that is whole or absent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from anlp.records.files import write_whole

VERSION = 1


class UnreadableError(Exception):
    """The file is no checkpoint of this run."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` (tensors, numbers, text, lists, dicts) by rename; on an error the file before is intact."""
    buffer = io.BytesIO()
    torch.save({"version": VERSION, **content}, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, device: torch.device | None = None) -> dict[str, Any] | None:
    """The content of a checkpoint, None where there is none.

    Raises:
        UnreadableError: the file is cut short, damaged, or of another version.
    """
    try:
        file = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        return None
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except (
        Exception
    ) as error:  # damaged bytes raise almost anything, and the file itself has been read
        raise UnreadableError(
            str(error).splitlines()[0] if str(error) else type(error).__name__
        ) from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise UnreadableError(f"expected a checkpoint of version {VERSION}")
    return content
