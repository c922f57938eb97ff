"""Write files whole: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

READABLE = 0o666  # by everyone, less what the umask takes away


def write_whole(path: Path, content: bytes, *, mode: int = READABLE, sync: bool = True) -> None:
    """Write `content` by rename.

    Args:
        path: replaced where it exists.
        content: of the whole file.
        mode: permissions of a file, before the umask; 0o600 keeps it from other users.
        sync: whether the content is on the disk before the name appears, against power cuts.
    """
    with _draft(path, content, mode=mode, sync=sync) as draft:
        draft.replace(path)


def create_whole(path: Path, content: bytes, *, mode: int = READABLE, sync: bool = False) -> bool:
    """Create a file with its whole content; return False, and change nothing, where it exists."""
    with _draft(path, content, mode=mode, sync=sync) as draft:
        try:
            os.link(draft, path)
            is_new = True
        except FileExistsError:
            is_new = False
        draft.unlink()
    return is_new


@contextlib.contextmanager
def _draft(path: Path, content: bytes, *, mode: int, sync: bool) -> Iterator[Path]:
    """Write a file beside `path`; it is removed where anything goes wrong."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        yield draft
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
