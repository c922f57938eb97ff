"""What lies under a folder, links followed; light, for the login node."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from anlp.core.errors import UserError
from anlp.core.files import advise
from anlp.core.units import count


def entries_under(folder: Path) -> list[Path]:
    """Return every file and folder under a folder, in the order of their paths.

    Links to folders are followed, as is usual for data on cluster storage; one to a folder that
    holds the link is not.

    Raises:
        UserError: a folder cannot be listed.
    """
    return sorted(_entries(folder, frozenset({os.path.realpath(folder)})))


def _entries(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed ({error.strerror}); {advise(error)}"
        ) from error
    for path in found:
        yield path
        if path.is_dir():
            real = os.path.realpath(path)
            if real not in above:
                yield from _entries(path, above | {real})


def is_hidden(path: PurePath) -> bool:
    """Tell whether a file is the system's own: in a hidden folder, or in the __MACOSX of a Mac."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def by_ending(paths: Iterable[PurePath]) -> str:
    """Say how many files there are of each ending.

    >>> by_ending([PurePath("a.txt"), PurePath("b.TXT"), PurePath("c")])
    '3 files (2 .txt, 1 without ending)'
    """
    endings = Counter(path.suffix.lower() or "without ending" for path in paths)
    listed = ", ".join(f"{number} {ending}" for ending, number in endings.most_common())
    return f"{count(endings.total(), 'file')} ({listed})"
