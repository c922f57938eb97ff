"""Write a finished text, table or picture to a file."""

from __future__ import annotations

from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.files import describe_fault, write_whole


def write_file(path: Path, content: bytes) -> None:
    """Write the content at once and make its folder; a reader sees the old file or the new one.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"cannot be written: {describe_fault(error)}") from error
