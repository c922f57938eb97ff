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

from anlp.core.files import write_whole
from anlp.core.spec import Scalar, canonical_json
from anlp.datasets.walk import entries_under

VERSION = 3
Arrays = Mapping[str, npt.NDArray[np.generic]]


def cached(
    source: Path,
    options: Mapping[str, Scalar],
    compute: Callable[[], Arrays],
    spare: Path | None = None,
) -> Arrays:
    """Return what `compute` returns, from `.features` beside `source` where it was computed before.

    Args:
        source: a file or folder; features computed before it changed (name, size or time of
            modification of anything in it) are not used.
        options: of the computation.
        compute: called where nothing is kept; where no place can be written, every time.
        spare: a folder whose `.features` are used where the data folder cannot be written.
    """
    key = canonical_json(
        {"version": VERSION, "source": source.name, **_state_of(source), **options}
    )
    file = f"{source.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    places = [
        folder / ".features" / file for folder in (source.parent, spare) if folder is not None
    ]
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
    """Return what changes when any file of a folder changes.

    A folder's own time does not tell of files two levels down, and the latest time not of older
    files.
    """
    entries = [source, *(entries_under(source) if source.is_dir() else ())]
    state = hashlib.sha256()
    for entry in entries:
        # a link to nothing has a state, too; the loader reports it
        found = entry.stat() if entry.exists() else entry.lstat()
        state.update(
            f"{entry.relative_to(source)}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(
                errors="surrogateescape"
            )
        )
    return {"entries": len(entries), "state": state.hexdigest()}


def _read(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, buffer.getvalue())
