"""Music as sequences of spectrum frames, from `.npy` files in the course lab's layout.

A file is (140, T): 128 mel bands above 12 pitch classes, one column per frame or per beat; it may
be packed with gzip. `train_labels.txt` and `test_labels.txt` have a header line and then
`ID<tab>GENRE`, or for emotions `ID,VALENCE,ENERGY,DANCEABILITY`, in the order of the header.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from anlp.core.errors import UserError, did_you_mean
from anlp.core.files import refuse_unreadable
from anlp.data.samples import DataSet, Origin, Samples
from anlp.data.sequences import feature_moments, pad
from anlp.datasets import catalogue

MEL, CHROMA = 128, 12
ROWS: Mapping[str, slice] = {
    "mel": slice(0, MEL),
    "chroma": slice(MEL, MEL + CHROMA),
    "fused": slice(0, MEL + CHROMA),
}
EMOTIONS = ("valence", "energy", "danceability")
SUFFIXES = (".fused.full.npy", ".npy", ".fused.full.npy.gz", ".npy.gz")
SHIPPED_MAPPING = Path(__file__).with_name("genres.yaml")
TEST_EVERY = 5  # where nothing is labelled for testing, every fifth piece is tested
MADE_GENRES = ("Blues", "Classical", "Metal", "Pop")
MADE_PIECES = 48


@dataclass(frozen=True, slots=True)
class Labelled:
    """A line of a labels file."""

    number: int
    piece: str
    labels: tuple[str, ...]

    @property
    def base(self) -> str:
        """Return the piece without endings."""
        return self.piece.split(".")[0]


def load_genres(data_dir: Path, name: str, *, features: str, mapping: str) -> DataSet:
    """Load pieces with their genre, after merging and dropping.

    Args:
        data_dir: the data folder.
        name: of the folder in it.
        features: mel, chroma or fused.
        mapping: `lab`, `none`, or the name of a YAML file in the folder.

    Raises:
        UserError: a file is missing or damaged, or a genre is unknown.
    """
    folder = _folder(data_dir, name)
    table = read_mapping(folder, mapping)
    parts = {part: _mapped(folder, part, table) for part in ("train", "test")}
    names = tuple(sorted({genre for _, genre in parts["train"]}))
    unknown = sorted({genre for _, genre in parts["test"]} - set(names))
    if unknown:
        raise UserError(
            f"{folder / 'test_labels.txt'}: genre {unknown[0]!r} has no training pieces; "
            "merge or drop it (mapping)"
        )
    if len(names) < 2:
        raise UserError(
            f"{folder / 'train_labels.txt'}: one genre is left, {names[0]}; "
            f"look at mapping: {mapping}"
        )
    number = {genre: k for k, genre in enumerate(names)}
    samples: dict[str, Samples] = {}
    for part, labelled in parts.items():
        pieces = [_read_piece(folder, part, line, features) for line, _ in labelled]
        classes = torch.tensor([number[genre] for _, genre in labelled])
        samples[part] = pad(pieces, (classes,))
    return _data_set(name, samples["train"], samples["test"], names, _origins(folder, table))


def load_emotions(data_dir: Path, name: str, *, features: str, target: str) -> DataSet:
    """Load pieces with their valence, energy or danceability, or all; every fifth is tested.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = _folder(data_dir, name)
    path = folder / "train_labels.txt"
    lines = read_labels(path, len(EMOTIONS))
    if len(lines) < TEST_EVERY:
        raise UserError(f"{path}: {len(lines)} pieces, expected at least {TEST_EVERY}")
    wanted = EMOTIONS if target == "all" else (target,)
    columns = _columns(path)
    chosen = {name: columns[name] for name in wanted}
    values = torch.tensor([_values(path, line, chosen) for line in lines])
    pieces = [_read_piece(folder, "train", line, features) for line in lines]
    tested = torch.arange(len(lines)) % TEST_EVERY == TEST_EVERY - 1
    parts: list[Samples] = []
    for rows in (~tested, tested):
        positions = torch.nonzero(rows).flatten().tolist()
        parts.append(pad([pieces[position] for position in positions], (values[rows],)))
    train, test = parts
    return _data_set(name, train, test, wanted)


def make_genres(
    data_dir: Path, name: str = "made", *, features: str, mapping: str = "none"
) -> DataSet:
    """Make pieces of four genres, each with bands of its own, for tests and smoke runs."""
    del data_dir, mapping
    pieces, kinds = _made(features)
    cut = MADE_PIECES * 2 // 3
    train, test = pad(pieces[:cut], (kinds[:cut],)), pad(pieces[cut:], (kinds[cut:],))
    return _data_set(name, train, test, MADE_GENRES)


def make_emotions(data_dir: Path, name: str = "made", *, features: str, target: str) -> DataSet:
    """Make the pieces of `make_genres` with quantities that follow from their bands."""
    del data_dir
    pieces, kinds = _made(features)
    cut = MADE_PIECES * 2 // 3
    wanted = EMOTIONS if target == "all" else (target,)
    values = torch.stack(
        [(kinds + k) % len(MADE_GENRES) / len(MADE_GENRES) for k in range(len(wanted))], 1
    )
    train, test = pad(pieces[:cut], (values[:cut],)), pad(pieces[cut:], (values[cut:],))
    return _data_set(name, train, test, wanted)


def read_mapping(folder: Path, mapping: str) -> Mapping[str, str | None] | None:
    """Read the table of genres; None: every genre stays as it is.

    Raises:
        UserError: no such file, or not a table of texts.
    """
    if mapping == "none":
        return None
    path = SHIPPED_MAPPING if mapping == "lab" else folder / mapping
    if not catalogue.is_plain(mapping) or not path.is_file():
        raise UserError(
            f"mapping: expected lab, none, or the name of a YAML file in {folder}, got {mapping!r}"
        )
    try:
        table = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        refuse_unreadable(path, error)
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not a readable table of genres ({reason}); use mapping: lab or none"
        ) from error
    if not isinstance(table, dict) or not all(
        value is None or isinstance(value, str) for value in table.values()
    ):
        raise UserError(f"{path}: expected lines `GENRE: GENRE`, or `GENRE: null` to drop one")
    return {str(genre): merged for genre, merged in table.items()}


def read_labels(path: Path, columns: int) -> list[Labelled]:
    """Read the lines below the header, each with a piece and so many labels.

    A repeated line counts once.

    Raises:
        UserError: the file cannot be read, has no header or no piece, a line has another number of
            columns, or a piece has two different labels.
    """
    lines = _lines(path)
    found: dict[str, Labelled] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            one = _parse_line(path, number, line, columns)
            if found.setdefault(one.base, one).labels != one.labels:
                raise UserError(
                    f"{path}:{number}: {one.base} has other labels on line {found[one.base].number}"
                )
    if not found:
        raise UserError(f"{path}: no pieces in it; expected a header, then a line for each piece")
    first = lines[0].replace("\t", ",").split(",")[0].split(".")[0].strip()
    if first and _file_of(path.parent / path.name.removesuffix("_labels.txt"), first) is not None:
        raise UserError(f"{path}:1: expected a header, got the piece {first}; put a line above it")
    return list(found.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        refuse_unreadable(path, error)
        raise UserError(f"{path}: not a readable labels file ({error})") from error


def _parse_line(path: Path, number: int, line: str, columns: int) -> Labelled:
    piece, *labels = line.split("\t" if "\t" in line else ",")
    if len(labels) != columns or not all(map(str.strip, labels)):
        raise UserError(f"{path}:{number}: expected an id and {columns} labels, got {line!r}")
    return Labelled(number, piece.strip(), tuple(label.strip() for label in labels))


def _columns(path: Path) -> Mapping[str, int]:
    """Return the position of each emotion among the labels: by the header, which may name them."""
    header = [name.strip().lower() for name in _lines(path)[0].replace("\t", ",").split(",")[1:]]
    named = [name for name in EMOTIONS if name in header]
    if named and sorted(header) != sorted(EMOTIONS):
        raise UserError(
            f"{path}:1: expected the columns {', '.join(EMOTIONS)} in any order, "
            f"got {', '.join(header)}"
        )
    order = header if named else list(EMOTIONS)
    return {name: order.index(name) for name in EMOTIONS}


def _folder(data_dir: Path, name: str) -> Path:
    found = catalogue.find(name, data_dir)
    if found is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    return found[""]


def _mapped(
    folder: Path, part: str, table: Mapping[str, str | None] | None
) -> list[tuple[Labelled, str]]:
    path = folder / f"{part}_labels.txt"
    kept = []
    for line in read_labels(path, 1):
        (genre,) = line.labels
        if table is not None and genre not in table:
            raise UserError(
                f"{path}:{line.number}: unknown genre {genre!r}{did_you_mean(genre, table)}"
            )
        merged = genre if table is None else table[genre]
        if merged is not None:
            kept.append((line, merged))
    if not kept:
        raise UserError(f"{path}: the mapping drops every piece; look at the setting mapping")
    return kept


def _origins(folder: Path, table: Mapping[str, str | None] | None) -> tuple[Origin, ...]:
    """Return what became of each genre of the labels files."""
    counts = {
        part: Counter(line.labels[0] for line in read_labels(folder / f"{part}_labels.txt", 1))
        for part in ("train", "test")
    }
    return tuple(
        Origin(
            genre,
            (genre if table is None else table[genre]) or "",
            counts["train"][genre],
            counts["test"][genre],
        )
        for genre in sorted({*counts["train"], *counts["test"]})
    )


def _values(path: Path, line: Labelled, columns: Mapping[str, int]) -> list[float]:
    found = []
    for name, column in columns.items():
        text = line.labels[column]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise UserError(f"{path}:{line.number}: {name}: expected a number, got {text!r}")
        found.append(value)
    return found


def _file_of(folder: Path, base: str) -> Path | None:
    paths = (folder / f"{base}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _read_piece(folder: Path, part: str, line: Labelled, features: str) -> Tensor:
    """Read (T, F) frames of a piece.

    Raises:
        UserError: its file is missing, or no finite array of 140 rows.
    """
    path = _file_of(folder / part, line.base)
    if path is None:
        wanted = folder / part / f"{line.base}{SUFFIXES[0]}"
        raise UserError(
            f"{wanted}: missing, and {part}_labels.txt:{line.number} names it; "
            "put it there or drop the line"
        )
    frames = _read_array(path)
    if frames.ndim != 2 or frames.shape[0] != MEL + CHROMA or frames.shape[1] == 0:
        raise UserError(
            f"{path}: expected {MEL + CHROMA} rows of frames, got an array of shape {frames.shape}"
        )
    with np.errstate(over="ignore"):  # values too large become infinite, see below
        chosen = frames[ROWS[features]].T.astype(np.float32)
    if not np.isfinite(chosen).all():
        raise UserError(
            f"{path}: it holds NaN or infinite values; compute it again, "
            "or drop its line in the labels"
        )
    return torch.from_numpy(np.ascontiguousarray(chosen))


def _read_array(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Read an array of numbers; nothing in the file is executed.

    Raises:
        UserError: not a whole `.npy` file, or not one of numbers.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            frames = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        refuse_unreadable(path, error)
        raise UserError(f"{path}: not a readable .npy file ({error}); fetch it again") from error
    if not np.issubdtype(frames.dtype, np.floating) and not np.issubdtype(frames.dtype, np.integer):
        raise UserError(
            f"{path}: expected numbers, got an array of {frames.dtype}; compute it again"
        )
    return frames


def _data_set(
    name: str,
    train: Samples,
    test: Samples,
    names: tuple[str, ...],
    origins: tuple[Origin, ...] = (),
) -> DataSet:
    mean, std = feature_moments(train)
    return DataSet(name, train, test, names, mean, std, origins=origins)


def _made(features: str) -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(0)
    width = ROWS[features].stop - ROWS[features].start
    kinds = torch.arange(MADE_PIECES) % len(MADE_GENRES)
    pieces = []
    for kind in kinds.tolist():
        frames = torch.randn(
            20 + int(torch.randint(0, 20, (), generator=draw)), width, generator=draw
        )
        frames[:, kind :: len(MADE_GENRES)] += 2.0
        pieces.append(frames)
    return pieces, kinds
