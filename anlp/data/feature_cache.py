"""Features that take long to compute, kept beside the data they were computed from."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anlp.record import write_whole
from anlp.spec import Scalar, canonical_json

VERSION = 2
Arrays = Mapping[str, npt.NDArray[np.generic]]


def cached(
    source: Path, options: Mapping[str, Scalar], compute: Callable[[], Arrays], spare: Path | None = None
) -> Arrays:
    """What `compute` returns, from `.features` beside `source` where it was computed before.

    Args:
        source: a file or folder; what was computed before it changed is not used (number of files, and the latest
            time of modification of anything in it).
        options: of the computation.
        compute: called where nothing is kept, and where no place can be written every time.
        spare: a folder whose `.features` are used where the data folder cannot be written; None: there is none.
    """
    key = canonical_json({"version": VERSION, "source": source.name, **_state_of(source), **options})
    file = f"{source.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    places = [folder / ".features" / file for folder in (source.parent, spare) if folder is not None]
    for path in places:
        if (found := _read(path)) is not None:
            return found
    found = compute()
    for path in places:
        with contextlib.suppress(OSError):  # a read-only data folder
            _write(path, found)
            break
    return found


def _state_of(source: Path) -> dict[str, Scalar]:
    """A folder's own time says nothing about what is two levels down."""
    entries = [source, *(source.rglob("*") if source.is_dir() else ())]
    return {"entries": len(entries), "changed": max(entry.lstat().st_mtime_ns for entry in entries)}


def _read(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, buffer.getvalue())
