"""The files with a run's tensors: `checkpoint.pt` to continue from, `weights.pt` to keep.

Each has a version of its own: a new form of checkpoints leaves the weights of finished runs
readable.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anlp.core.errors import UserError, describe_error, is_out_of_memory
from anlp.core.files import refuse_unreadable, write_whole

CHECKPOINT_VERSION = 1
WEIGHTS_VERSION = 1


class UnreadableError(Exception):
    """The file is cut short, damaged, or of another version."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint (tensors, numbers, text, lists, dicts) by rename."""
    _save(path, CHECKPOINT_VERSION, content)


def load_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any] | None:
    """Return the content of a checkpoint, None where there is none.

    Raises:
        UnreadableError: the file is cut short, damaged, or of another version.
    """
    try:
        return _load(path, CHECKPOINT_VERSION, device)
    except FileNotFoundError:
        return None


def save_weights(path: Path, weights: Mapping[str, Tensor], epoch: int) -> None:
    """Write the weights of a model (its `state_dict`) by rename, with their epoch."""
    _save(path, WEIGHTS_VERSION, {"epoch": epoch, "model": weights})


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights that a run kept, by name.

    Raises:
        UserError: the file is missing, damaged, or of another version.
    """
    try:
        weights: dict[str, Tensor] = _load(path, WEIGHTS_VERSION, None)["model"]
    except (OSError, KeyError, UnreadableError) as error:
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: the weights cannot be read ({describe_error(error)}); use another run, or "
            "repeat that one"
        ) from error
    return weights


def _save(path: Path, version: int, content: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save({"version": version, **content}, buffer)
    write_whole(path, buffer.getvalue())


def _load(path: Path, version: int, device: torch.device | None) -> dict[str, Any]:
    file = io.BytesIO(path.read_bytes())
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # damaged bytes raise almost anything; reading the file has worked
        if is_out_of_memory(error):  # the file is not to blame, and stays where it is
            raise
        raise UnreadableError(describe_error(error)) from error
    if not isinstance(content, dict):
        raise UnreadableError("expected a file that anlp wrote")
    if content.get("version") != version:
        raise UnreadableError(f"expected version {version}, got {content.get('version')}")
    return content
