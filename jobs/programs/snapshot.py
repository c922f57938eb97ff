"""Keep a copy of a project's code, so that editing it does not change runs that wait in a queue.

The store of a grid has one folder per distinct content. Equal files of its copies are one file on
disk (hard links), never one with the user's own, which may be edited in place. Copied files are
read-only; folders are not, so that `rm -r` of a grid's folder works.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.units import count, render_bytes
from jobs.programs.project_files import How, ProjectFiles

LIMIT_BYTES = 50 * 2**20
MAX_FILES = 50_000
DIGEST_LENGTH = 12
LEFT_OVER_S = 3600.0  # a draft this old belongs to a submit that was killed
CHUNK = 1 << 20
OBJECTS = ".files"
DRAFTS = ".draft-"
_NO_LINKS = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a project's code; with `snapshot: none` there is none."""

    folder: Path | None
    digest: str = ""  # of paths, contents and executable marks; the folder's name
    bytes: int = 0
    files: int = 0
    new_bytes: int = 0  # that no earlier copy of the store had
    notes: tuple[str, ...] = ()  # symbolic links that point outside of the project

    @property
    def sentence(self) -> str:
        """Return what was copied, for people."""
        if self.folder is None:
            return "no code copy: queued runs start the files as they are then"
        files = count(self.files, "file")
        new = f"{render_bytes(self.new_bytes)} of them new" if self.new_bytes else "nothing new"
        return f"code copy {self.digest}: {files} of {render_bytes(self.bytes)}, {new}"


@dataclass(frozen=True, slots=True)
class _File:
    """One file or symbolic link as it is copied."""

    path: str  # relative to the project
    size: int
    content: str  # the SHA-256, or where the link points
    kind: str  # "f", "x" executable, "l" link


def take_snapshot(
    project: Path, how: How, store: Path, *, limit_bytes: int = LIMIT_BYTES
) -> Snapshot:
    """Return a copy of the project's code, made unless the store has one of the same content.

    A copy appears whole or not at all, also if the process is killed or two make the same one.

    Args:
        project: its folder.
        how: which files; see `ProjectFiles`.
        store: the folder of copies of one grid.
        limit_bytes: most that a copy may hold.

    Raises:
        UserError: a file cannot be read, or the code is larger than the limit.
    """
    if how == "none":
        return Snapshot(None)
    project = project.resolve()
    paths = ProjectFiles(project, how, store).relative_paths()
    sizes = _sizes(project, paths)
    _check_limit(project, sizes, how, limit_bytes)
    files = list(_read_all(project, sizes))
    notes = tuple(_outside_notes(project, files))
    folder = store / digest_of(files)
    new_bytes = 0
    if not folder.is_dir():
        store.mkdir(parents=True, exist_ok=True)
        _remove_left_over(store)
        files, new_bytes = _copy(project, files, store)
        folder = store / digest_of(files)
    total = sum(file.size for file in files)
    return Snapshot(folder, folder.name, total, len(files), new_bytes, notes)


def digest_of(files: Sequence[_File]) -> str:
    """Return the name of a content: equal for equal paths, contents and executable marks."""
    found = hashlib.sha256()
    for file in files:
        found.update(os.fsencode(f"{file.kind}{file.content}\0{file.path}\0"))
    return found.hexdigest()[:DIGEST_LENGTH]


def _sizes(project: Path, paths: Sequence[str]) -> dict[str, int]:
    """Return the sizes of files and links; devices, sockets and what has vanished are left out."""
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(project / path)
            if stat.S_ISREG(status.st_mode):
                found[path] = status.st_size
            elif stat.S_ISLNK(status.st_mode):
                found[path] = 0
    return found


def _check_limit(project: Path, sizes: dict[str, int], how: How, limit_bytes: int) -> None:
    total = sum(sizes.values())
    if total <= limit_bytes and len(sizes) <= MAX_FILES:
        return
    if total > limit_bytes:
        got = f"{render_bytes(total)}, more than the limit of {render_bytes(limit_bytes)}"
        largest = ", ".join(f"{name} ({render_bytes(size)})" for name, size in _largest(sizes))
    else:
        got = f"{len(sizes):,} files, more than {MAX_FILES:,}"
        counts = _largest(dict.fromkeys(sizes, 1))
        largest = ", ".join(f"{name} ({number:,} files)" for name, number in counts)
    away = "name it in .gitignore" if how == "git" else "move it out of the project"
    wanted = 10 * (total // (10 * 10**6) + 1)
    raised = f", raise the limit with `snapshot_limit: {wanted}MB`" if total > limit_bytes else ""
    raise UserError(
        f"{project}: the copy of the code would hold {got}; the largest: {largest}. What is no "
        f"code: {away}{raised}; or `snapshot: none`: then editing changes queued runs"
    )


def _largest(sizes: dict[str, int], shown: int = 3) -> list[tuple[str, int]]:
    """Return the largest files and folders; a folder that is nearly all one part gives way to it.

    >>> _largest({"data/raw/a.bin": 90, "train.py": 2, "lib/a.py": 1, "lib/b.py": 4, "b": 1})
    [('data/raw/a.bin', 90), ('lib/', 5), ('train.py', 2)]
    """
    parts: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for path, size in sizes.items():
        names = path.split("/")
        for depth in range(len(names)):
            above = "".join(f"{name}/" for name in names[:depth])
            own = above + names[depth] + ("/" if depth < len(names) - 1 else "")
            totals[own] = totals.get(own, 0) + size
            parts.setdefault(above, {})[own] = 0
    found = sorted(parts.get("", {}), key=lambda name: (-totals[name], name))[:shown]
    return [(name, totals[name]) for name in (_narrowed(name, parts, totals) for name in found)]


def _narrowed(name: str, parts: dict[str, dict[str, int]], totals: dict[str, int]) -> str:
    while name in parts:
        heaviest = max(parts[name], key=lambda part: totals[part])
        if totals[heaviest] < 0.9 * totals[name]:
            break
        name = heaviest
    return name


def _read_all(project: Path, paths: Iterable[str]) -> Iterator[_File]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            yield _read(project, path)


def _read(project: Path, path: str) -> _File:
    """Return a file as it is now, its content as a SHA-256."""
    source = project / path
    try:
        if source.is_symlink():
            return _File(path, 0, _link_target(project, source), "l")
        digest = hashlib.sha256()
        size = 0
        with source.open("rb") as file:
            kind = "x" if os.fstat(file.fileno()).st_mode & stat.S_IXUSR else "f"
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
                size += len(chunk)
        return _File(path, size, digest.hexdigest(), kind)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(source, error) from None


def _unreadable(source: Path, error: OSError) -> UserError:
    return UserError(
        f"{source}: cannot be read for the code copy: {error.strerror}; make it readable, name it "
        "in .gitignore (snapshot: git), or use snapshot: none"
    )


def _link_target(project: Path, link: Path) -> str:
    """Return where a copied link points: relative inside of the project, else as it resolves."""
    target = link.parent / link.readlink()
    plain = Path(os.path.normpath(target))
    if plain.is_relative_to(project):
        return os.path.relpath(plain, link.parent)
    return str(plain)


def _outside_notes(project: Path, files: Sequence[_File]) -> Iterator[str]:
    for file in files:
        if file.kind == "l" and Path(file.content).is_absolute():
            yield (
                f"{file.path} is a link to {file.content}, outside of {project}: the code copy "
                "has the link, not what it points to"
            )


def _copy(project: Path, files: Sequence[_File], store: Path) -> tuple[list[_File], int]:
    """Build a copy beside the others and rename it; return its files, and the new bytes."""
    draft = store / f"{DRAFTS}{uuid.uuid4().hex[:12]}"
    tree = draft / "tree"
    copied: list[_File] = []
    new_bytes = 0
    try:
        tree.mkdir(parents=True)
        made: set[Path] = {tree}
        for file in files:
            place = tree / file.path
            if place.parent not in made:
                place.parent.mkdir(parents=True, exist_ok=True)
                made.add(place.parent)
            if file.kind == "l":
                place.symlink_to(file.content)
                copied.append(file)
                continue
            kept, is_new = _kept(project, file, store, draft)
            new_bytes += kept.size if is_new else 0
            _link(_object(store, kept), place)
            copied.append(kept)
        with contextlib.suppress(FileExistsError):  # made by another submit meanwhile
            _rename(tree, store / digest_of(copied))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return copied, new_bytes


def _rename(tree: Path, folder: Path) -> None:
    try:
        tree.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise FileExistsError from None


def _object(store: Path, file: _File) -> Path:
    return store / OBJECTS / file.content[:2] / f"{file.content}-{file.kind}"


def _kept(project: Path, file: _File, store: Path, draft: Path) -> tuple[_File, bool]:
    """Keep a file's content in the store; return what was kept, and whether it is new there.

    The content may have changed since it was read first: what is copied counts.
    """
    with contextlib.suppress(FileNotFoundError):
        if _object(store, file).stat().st_size == file.size:
            return file, False
    source, fresh = project / file.path, draft / "file"
    digest = hashlib.sha256()
    size = 0
    mode = 0o555 if file.kind == "x" else 0o444
    try:
        reading = source.open("rb")
    except OSError as error:
        raise _unreadable(source, error) from None
    with reading, os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT, mode), "wb") as writing:
        for chunk in iter(lambda: reading.read(CHUNK), b""):
            digest.update(chunk)
            size += writing.write(chunk)
    kept = _File(file.path, size, digest.hexdigest(), file.kind)
    place = _object(store, kept)
    try:
        fresh.replace(place)
    except FileNotFoundError:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(place)
    return kept, True


def _link(kept: Path, place: Path) -> None:
    """Link a file of the store into a copy; where links are not possible, copy it."""
    try:
        os.link(kept, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(kept, place)


def _remove_left_over(store: Path) -> None:
    """Remove the drafts of submits that were killed."""
    for draft in store.glob(f"{DRAFTS}*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(draft, ignore_errors=True)
