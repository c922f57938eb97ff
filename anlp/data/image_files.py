"""Files of images in a folder with a folder for each class, or in an archive of one."""

from __future__ import annotations

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.core.units import count
from anlp.datasets.walk import by_ending, entries_under, is_hidden

ENDINGS = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
        *(".pbm", ".pgm", ".ppm", ".pnm"),
    }
)
# of files that people put beside images; any other may be an image that cannot be read
BESIDE = frozenset(
    {
        *("", ".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".pdf", ".yaml", ".yml"),
        *(".py", ".sh", ".log", ".db", ".ini"),
    }
)
ARCHIVE = "images.tar.gz"
SPLITS = ("train", "test")
# the part of the data set by the name of a folder, in any case
PARTS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LAYOUT = "train/CLASS/ and test/CLASS/ (val/CLASS/, too, if you like), or CLASS/"
TEST_EVERY = 5  # of each class, where a folder has no split of its own
Image = tuple[str, str, Path, Path | bytes]  # part, class, name, and file or content


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder or archive, without what is hidden."""

    base: Path
    images: dict[PurePosixPath, Path | bytes] = field(default_factory=dict)
    others: list[PurePosixPath] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)

    @property
    def has_parts(self) -> bool:
        """Return whether there are images under train/ or test/."""
        return any(_part_of(path) in SPLITS for path in self.images)


def find_images(folder: Path) -> tuple[list[Image], list[str]]:
    """Return every image in the order of their paths, and sentences on what is left out.

    Raises:
        UserError: some images are under train/ or test/, and some are beside them; a class has no
            image, or a link leads nowhere.
    """
    archive = folder / ARCHIVE
    plain = _plain(folder)
    found = _archived(archive) if archive.is_file() else plain
    images = list(_images(found))
    _check_folders(found)
    left_out: list[str] = []
    if found is not plain and plain.images:
        beside = count(len(plain.images), "image")
        left_out.append(f"{folder}: {beside} left out, those of {ARCHIVE} are read")
    alone = [path for path in found.others if path != PurePosixPath(ARCHIVE)]
    if alone:
        left_out.append(f"{found.base}: {by_ending(alone)} left out, which are no images")
    return images, left_out


def _images(found: Found) -> Iterator[Image]:
    counts: dict[str, int] = defaultdict(int)
    has_parts = found.has_parts
    for path, source in found.images.items():
        part, kind = _part_of(path), path.parts[0]
        if part:
            yield part, path.parts[1], found.base / path, source
        elif has_parts or len(path.parts) == 1:
            place = "train/ and test/" if has_parts else "the folders of classes"
            raise UserError(
                f"{found.base / path}: beside {place}; expected {LAYOUT}; move or remove it"
            )
        else:
            counts[kind] += 1
            is_tested = counts[kind] % TEST_EVERY == 0
            yield "test" if is_tested else "train", kind, found.base / path, source


def _check_folders(found: Found) -> None:
    """Check that every folder of a class has an image.

    Raises:
        UserError: one has none, but may have been meant as a class.
    """
    depth = 2 if found.has_parts else 1
    classes = {
        path
        for path in found.folders
        if len(path.parts) == depth and (depth == 1 or path.parts[0].lower() in PARTS)
    }
    # one without images in one part only is found where the parts are compared
    with_images = {path.parts[depth - 1] for path in found.images}
    for path in sorted(path for path in classes if path.name not in with_images):
        if not found.images:
            return
        files = [other for other in found.others if other.is_relative_to(path)]
        if not files:
            raise UserError(f"{found.base / path}: no images in it; add some or remove the folder")
        if any(other.suffix.lower() not in BESIDE for other in files):
            raise UserError(
                f"{found.base / path}: none of its {by_ending(files)} can be read as an image; "
                f"expected {' '.join(sorted(ENDINGS))}; convert them or move the folder away"
            )


def _part_of(path: PurePosixPath) -> str:
    """Return the part of an image in a class's folder in a part's folder; empty for any other."""
    return PARTS.get(path.parts[0].lower(), "") if len(path.parts) > 2 else ""


def _plain(folder: Path) -> Found:
    found = Found(folder)
    for path in entries_under(folder):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if is_hidden(name):
            continue
        if path.is_dir():
            found.folders.add(name)
        elif name.suffix.lower() in ENDINGS:
            found.images[name] = path
        elif path.is_symlink() and not path.exists():
            raise UserError(f"{path}: a link to nothing; restore what it leads to, or remove it")
        else:
            found.others.append(name)
    return found


def _archived(path: Path) -> Found:
    images: dict[PurePosixPath, Path | bytes] = {}
    found = Found(path)
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name.removeprefix("./"))
                if is_hidden(name) or not name.parts:
                    continue
                found.folders.update(parent for parent in name.parents if parent.parts)
                if member.isdir():
                    found.folders.add(name)
                elif name.suffix.lower() in ENDINGS:
                    images[name] = _content(archive, member)
                elif member.issym():
                    raise KeyError(f"{name} is a link; pack with tar --dereference")
                else:
                    found.others.append(name)
    except (tarfile.TarError, EOFError, OSError, KeyError, zlib.error) as error:
        refuse_unreadable(path, error)
        reason = str(error.args[0] if isinstance(error, KeyError) else error).splitlines()[0]
        raise UserError(f"{path}: not a readable archive ({reason}); fetch it again") from error
    found.images.update(sorted(images.items()))
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the content of a file, or of the file in the archive that it is a link to.

    Raises:
        KeyError: it is neither.
    """
    file = archive.extractfile(member)
    if file is None:
        raise KeyError(f"{member.name} is no file")
    return file.read()
