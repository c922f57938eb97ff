"""Open, write and replace files of shared folders: whole, by the umask, never through a link.

A reader sees the old file or the new one, never half of one. What cannot be written is an
`UnwritableError`, so that callers tell it from a file that cannot be read.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from anlp.core.errors import UserError

READABLE = 0o666  # by everyone, less what the umask takes away
EXECUTABLE = 0o777  # as above
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SAFELY = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 16

# What to do about a file that cannot be written, by the error's number.
_ADVICE = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space: the quota is used up",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "fix the permissions",
    errno.EPERM: "fix the permissions",
    errno.EROFS: "use another disk: this one is read-only",
    errno.ENOENT: "check that path: a folder of it is missing",
    errno.ENOTDIR: "move that file away: a folder is expected",
    errno.EISDIR: "move that folder away: a file is expected",
    errno.EEXIST: "move away what has this name",
    errno.ELOOP: "remove that symbolic link",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "wait until the machine has fewer open files",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EAGAIN: "raise the limit of processes and threads (ulimit -u), or run fewer at a time",
    errno.ENOMEM: "free memory, or raise its limit (ulimit -v)",
    errno.EIO: "ask who runs that disk",
    errno.ESTALE: "ask who runs that disk: its server lost the folder",
}


class UnwritableError(OSError):
    """A file or folder could not be written; number, text and name are those of the cause."""


def advise(error: OSError) -> str:
    """Return what to do about a file that cannot be read or written, for the end of a sentence.

    >>> advise(OSError(errno.ENOSPC, "No space left on device"))
    'free space on that disk'
    """
    if error.errno == errno.ENOENT and _has_folder(error.filename):
        return "check the name: there is no such file"
    return _ADVICE.get(error.errno or 0, "check the disk and the permissions")


def _has_folder(name: object) -> bool:
    """Tell whether the folder of a file is there."""
    return isinstance(name, str | os.PathLike) and Path(name).parent.is_dir()


def describe_fault(error: OSError) -> str:
    """Return `PATH: No space left on device; free space on that disk`."""
    name = error.filename if error.filename is not None else "a file"
    return f"{name}: {error.strerror or error}; {advise(error)}"


def refuse_unreadable(path: Path, error: BaseException) -> None:
    """Raise where a file could not be read at all: its content is then not to blame.

    Raises:
        UserError: permissions, a missing file, too many open files and the like.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advise(error)}") from error


def is_unwritable(error: BaseException) -> bool:
    """Tell whether a file could not be written, or any disk, quota or memory disk is full."""
    return isinstance(error, UnwritableError) or (
        isinstance(error, OSError) and error.errno in OUT_OF_SPACE
    )


def write_whole(path: Path, content: bytes, *, mode: int = READABLE, sync: bool = True) -> None:
    """Write `content` by rename.

    Args:
        path: replaced where it exists.
        content: of the whole file.
        mode: permissions of a file, before the umask; 0o600 keeps it from other users.
        sync: whether the content is on the disk before the name appears, against power cuts.

    Raises:
        UnwritableError: the disk is full, read-only, gone or forbidden.
    """
    with _writing(path), _draft(path, content, mode=mode, sync=sync) as draft:
        draft.replace(path)


def create_whole(path: Path, content: bytes, *, mode: int = READABLE, sync: bool = False) -> bool:
    """Create a file with its whole content; return False, and change nothing, where it exists.

    Raises:
        UnwritableError: the disk is full, read-only, gone or forbidden.
    """
    with _writing(path), _draft(path, content, mode=mode, sync=sync) as draft:
        try:
            os.link(draft, path)
            is_new = True
        except FileExistsError:
            is_new = False
        draft.unlink()
    return is_new


def append_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Append `content`; a file that a killed writer left without its last line break gets one.

    Raises:
        UnwritableError: it cannot be written, or is a symbolic link or no plain file.
    """
    with _writing(path):
        descriptor = open_to_append(path)
        try:
            _write_all(descriptor, _finish_torn_line(descriptor) + content)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_to_append(path: Path) -> int:
    """Return a descriptor that appends to a plain file; see `open_to_write`."""
    return open_to_write(path, os.O_APPEND)


def open_to_write(path: Path, flags: int = 0) -> int:
    """Return a descriptor to a plain file, which is created where it is missing, and not emptied.

    A symbolic link is not followed: in a folder of a group, others could lead it anywhere.

    Raises:
        UnwritableError: it cannot be written, or is a symbolic link or no plain file.
    """
    with _writing(path):
        descriptor = os.open(path, _SAFELY | flags, READABLE)
        kind = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
            os.close(descriptor)
            raise OSError(errno.EEXIST, "expected a plain file", str(path))
        os.set_blocking(descriptor, True)
    return descriptor


class AppendedFile(io.FileIO):
    """A file without a buffer that is only appended to, opened as by `open_to_append`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(open_to_append(path), "ab")

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # any buffer, as for FileIO
        """Write all of it; see `UnwritableError`."""
        try:  # without `_writing`: programs print millions of lines
            done = super().write(data) or 0
        except OSError:
            done = 0  # tried again, for the error with the file's name
        if done < len(data):
            with _writing(self.path):
                _write_all(self.fileno(), memoryview(data)[done:])
        return len(data)


def make_folder(path: Path) -> None:
    """Create a folder with those above it, where it is missing.

    A link to a folder is followed where this user, the owner of the folder or the superuser made
    it: in a folder of a group, others could lead it anywhere.

    Raises:
        UnwritableError: it cannot be created, something else has its name, or it is a link that
            another user made.
    """
    with _writing(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            if path.is_symlink():
                raise OSError(errno.ELOOP, "a symbolic link to nothing", str(path)) from error
            raise
        link = path.lstat()
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid(), path.stat().st_uid):
            raise OSError(errno.ELOOP, "a symbolic link that another user made", str(path))


def read_at_most(path: Path, limit: int) -> bytes:
    """Return the content of a file, cut after `limit` + 1 bytes: longer than `limit` is too long.

    A pipe that no process writes to is empty.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    content = bytearray()
    with io.FileIO(descriptor) as file:
        while len(content) <= limit:
            piece = file.read(min(_PIECE, limit + 1 - len(content)))
            if not piece:
                break
            content += piece
    return bytes(content)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system answers into an `UnwritableError` that names the file."""
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        at = path if name.endswith(".tmp") or not name else name  # a draft's name tells nothing
        raise UnwritableError(error.errno, error.strerror or str(error), str(at)) from error


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of it: a disk that is nearly full takes a part and reports an error only then."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _finish_torn_line(descriptor: int) -> bytes:
    """Return a line break if a writer was killed within its line, else nothing."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


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
