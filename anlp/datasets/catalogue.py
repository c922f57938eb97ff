"""Where the files of data sets are, and their download; light, for the login node."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import sys
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anlp.core.errors import UserError

TIMEOUT_S = 10.0  # to connect, and between two pieces of an answer
PIECE = 1 << 18
PARTIAL, RANGE_NOT_SATISFIABLE = 206, 416  # what a server answers to a Range


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The files of a data set, or of weights that were trained before.

    Args:
        digests: md5 of the uncompressed content, by name without `.gz`; or `sha256:` with the first
            digits of that.
        folders: where to look under the data folder; downloads go to the first.
        urls: prefixes to try in turn; the name and `ending` are appended.
        ending: of what is downloaded; `.gz` is taken off when the content is checked.
    """

    digests: Mapping[str, str]
    folders: tuple[str, ...]
    urls: tuple[str, ...] = ()
    ending: str = ".gz"


TORCHVISION_CACHE = str(Path("~/.cache/torch/hub/checkpoints").expanduser())
WEIGHTS = ("weights", TORCHVISION_CACHE)
WEIGHTS_URLS = ("https://download.pytorch.org/models/",)
BUILT_IN = DataFiles({}, ())  # in a package, or made from a formula
CATALOGUE: Mapping[str, DataFiles] = {
    "digits": BUILT_IN,  # in scikit-learn
    "spirals": BUILT_IN,
    "moons": BUILT_IN,
    "regions": BUILT_IN,
    "made": BUILT_IN,  # generated in the layout of the real thing, for tests and smoke runs
    "spoken-arabic-digit": DataFiles(
        {
            "Train_Arabic_Digit.txt": "0d997a2d13f52e9354a5ea39573413d2",
            "Test_Arabic_Digit.txt": "fba8e77a83b563d15de817687d4ccbd8",
        },
        ("spoken-arabic-digit",),
        ("https://archive.ics.uci.edu/ml/machine-learning-databases/00195/",),
        ending="",
    ),
    "cifar10": DataFiles(
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},  # of the archive itself
        ("cifar10", "."),  # the second is torchvision's place
        ("https://www.cs.toronto.edu/~kriz/",),
        ending="",
    ),
    "resnet18": DataFiles(
        {"resnet18-f37072fd.pth": "sha256:f37072fd"}, WEIGHTS, WEIGHTS_URLS, ending=""
    ),
    "resnet34": DataFiles(
        {"resnet34-b627a593.pth": "sha256:b627a593"}, WEIGHTS, WEIGHTS_URLS, ending=""
    ),
    "mnist": DataFiles(
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        ("mnist", "MNIST/raw"),  # the second is torchvision's layout
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
}


def needs_files(name: str) -> bool:
    """Tell whether the data set has files at all; built-in ones have none."""
    return name not in CATALOGUE or bool(CATALOGUE[name].digests)


def is_published(name: str) -> bool:
    """Tell whether `stage` can download it; a folder of the user's own it cannot."""
    return name in CATALOGUE and bool(CATALOGUE[name].urls)


def find(name: str, data_dir: Path) -> Mapping[str, Path] | None:
    """Return the data set's files by name (without `.gz`), None if one is missing.

    Looks at names, not into files. A name that is not in the catalogue is a file or folder of the
    user's own in the data folder; its key is "".
    """
    if name not in CATALOGUE:
        own = data_dir / name
        return {"": own} if is_plain(name) and own.exists() else None
    entry = CATALOGUE[name]
    found = {
        file: path
        for file in entry.digests
        if (path := _find_file(file, entry.folders, data_dir)) is not None
    }
    return found if len(found) == len(entry.digests) else None


def stage(name: str, data_dir: Path) -> None:
    """Download what `find` misses; return after the files are whole and in place.

    Raises:
        UserError: a file is missing and cannot be downloaded.
    """
    if not is_published(name):
        if needs_files(name) and find(name, data_dir) is None:
            raise UserError(where_to_put(name, data_dir))
        return
    entry = CATALOGUE[name]
    missing = [file for file in entry.digests if _find_file(file, entry.folders, data_dir) is None]
    try:
        for file in missing:
            _download(file, entry, data_dir / entry.folders[0])
    except OSError as error:
        raise UserError(f"{where_to_put(name, data_dir)}\n{error}") from error


def where_to_put(name: str, data_dir: Path) -> str:
    """Return the sentence for a data set that is not there."""
    if name not in CATALOGUE:
        return (
            f"data {name}: neither a known data set ({', '.join(sorted(CATALOGUE))}) "
            f"nor a file or folder {data_dir / name}; put it there or set ANLP_DATA"
        )
    entry = CATALOGUE[name]
    files = ", ".join(
        f"{file}[.gz]" if entry.ending or file.endswith(".txt") else file for file in entry.digests
    )
    places = " or ".join(str(data_dir / folder) for folder in entry.folders)
    return (
        f"data {name}: files are missing; expected {files} in {places}; "
        "put them there or set ANLP_DATA"
    )


def is_plain(name: str) -> bool:
    """Tell whether a name stays within the data folder."""
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _find_file(file: str, folders: tuple[str, ...], data_dir: Path) -> Path | None:
    for folder in folders:
        for ending in ("", ".gz"):
            path = data_dir / folder / (file + ending)
            if path.is_file():
                return path
    return None


def _download(file: str, entry: DataFiles, folder: Path) -> None:
    """Download a file, check it, and put it in place.

    The mirrors are tried in turn, each going on where the last broke off. What an earlier download
    left is taken over by renaming, which only one of several commands can do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part, draft = folder / f".{file}.part", folder / f".{file}.{uuid.uuid4().hex[:8]}.tmp"
    with contextlib.suppress(FileNotFoundError):
        part.replace(draft)
    faults: list[str] = []
    try:
        for url in (prefix + file + entry.ending for prefix in entry.urls):
            fault = _try_mirror(url, draft, entry.digests[file], packed=entry.ending == ".gz")
            if fault is None:
                draft.replace(folder / f"{file}{entry.ending}")
                return
            faults.append(fault)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.replace(part)
    raise OSError(f"downloading failed: {'; '.join(faults)}")


def _try_mirror(url: str, draft: Path, digest: str, *, packed: bool) -> str | None:
    """Download into `draft` and return what went wrong, None if nothing did.

    A whole file with wrong content is removed.
    """
    try:
        _fetch(url, draft)
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error}"
    try:
        _check(draft, digest, packed=packed)
    except (OSError, EOFError, zlib.error) as error:
        draft.unlink()
        return f"{url}: {error}"
    return None


def _fetch(url: str, path: Path) -> None:
    """Download what `path` lacks, or all where the server cannot start in the middle."""
    had = path.stat().st_size if path.exists() else 0
    headers = {"Range": f"bytes={had}-"} if had else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - a constant of this module
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        if error.code == RANGE_NOT_SATISFIABLE:  # it was whole already
            return
        raise
    with answer, path.open("ab" if answer.status == PARTIAL else "wb") as file:
        done = had if answer.status == PARTIAL else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        for piece in _pieces(answer):
            file.write(piece)
            done += len(piece)
            _show(f"\r{url} {done / 1e6:.1f} of {total / 1e6:.1f} MB")
    _show("\n")
    if total > had and done != total:
        raise OSError(f"the answer ended after {done} of {total} bytes")


def verify(name: str, data_dir: Path) -> None:
    """Compare the content of the files that are there with what was published.

    For files that are read without a check of their own.

    Raises:
        UserError: a file has another content.
    """
    for file, path in (find(name, data_dir) or {}).items():
        if fault := _fault(path, CATALOGUE[name].digests[file]):
            raise UserError(f"{path}: not the published file ({fault}); remove it and submit again")


def _fault(path: Path, digest: str) -> str:
    try:
        check(path, digest)
    except (OSError, EOFError, zlib.error) as error:
        return str(error)
    return ""


def check(path: Path, digest: str) -> None:
    """Check that a file has the content of its digest.

    Raises:
        OSError: it has another content.
    """
    _check(path, digest, packed=path.suffix == ".gz" and not path.name.endswith(".tar.gz"))


def _check(path: Path, digest: str, *, packed: bool) -> None:
    kind, _, wanted = digest.rpartition(":")
    # what is published
    found = hashlib.sha256() if kind == "sha256" else hashlib.md5(usedforsecurity=False)
    with gzip.open(path) if packed else path.open("rb") as content:
        for piece in _pieces(content):
            found.update(piece)
    if not found.hexdigest().startswith(wanted):
        raise OSError(f"its content has {found.name} {found.hexdigest()}, expected {wanted}")


def _pieces(stream: BinaryIO | gzip.GzipFile | io.BufferedReader) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _show(text: str) -> None:
    if sys.stderr.isatty() or not text.startswith("\r"):
        print(text, end="", file=sys.stderr, flush=True)
