"""Music as sequences of spectrum frames, from `.npy` files in the course lab's layout.

A file is (140, T): 128 mel bands above 12 pitch classes, one column per frame or per beat. `train_labels.txt` and
`test_labels.txt` have a header line and then `ID<tab>GENRE`, or `ID,VALENCE,ENERGY,DANCEABILITY` for emotions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from anlp import staging
from anlp.data.samples import DataSet, Samples
from anlp.data.sequences import feature_moments, pad
from anlp.errors import UserError, did_you_mean

MEL, CHROMA = 128, 12
ROWS: Mapping[str, slice] = {"mel": slice(0, MEL), "chroma": slice(MEL, MEL + CHROMA), "fused": slice(0, MEL + CHROMA)}
EMOTIONS = ("valence", "energy", "danceability")
SUFFIXES = (".fused.full.npy", ".npy")
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


def load_genres(data_dir: Path, name: str, *, features: str, mapping: str) -> DataSet:
    """Pieces with their genre, after merging and dropping.

    Args:
        data_dir: the data folder.
        name: of the folder in it.
        features: mel, chroma or fused.
        mapping: `lab`, `none`, or the name of a YAML file in the folder.

    Raises:
        UserError: a file is missing, damaged, or says something unknown; the sentence names it.
    """
    folder = _folder(data_dir, name)
    table = read_mapping(folder, mapping)
    parts = {part: _mapped(folder, part, table) for part in ("train", "test")}
    names = tuple(sorted({genre for _, genre in parts["train"]}))
    unknown = sorted({genre for _, genre in parts["test"]} - set(names))
    if unknown:
        raise UserError(f"{folder / 'test_labels.txt'}: genre {unknown[0]!r} has no training pieces")
    number = {genre: k for k, genre in enumerate(names)}
    train, test = (
        pad(
            [_read_piece(folder, part, line, features) for line, _ in labelled],
            (torch.tensor([number[genre] for _, genre in labelled]),),
        )
        for part, labelled in parts.items()
    )
    return _data_set(name, train, test, names)


def load_emotions(data_dir: Path, name: str, *, features: str, target: str) -> DataSet:
    """Pieces with their valence, energy or danceability in [0, 1], or all three; every fifth is tested.

    Raises:
        UserError: a file is missing or damaged; the sentence names it.
    """
    folder = _folder(data_dir, name)
    lines = read_labels(folder / "train_labels.txt", len(EMOTIONS))
    if len(lines) < TEST_EVERY:
        raise UserError(f"{folder / 'train_labels.txt'}: {len(lines)} pieces, expected at least {TEST_EVERY}")
    wanted = EMOTIONS if target == "all" else (target,)
    values = torch.tensor([_values(folder, line, wanted) for line in lines])
    pieces = [_read_piece(folder, "train", line, features) for line in lines]
    tested = torch.arange(len(lines)) % TEST_EVERY == TEST_EVERY - 1
    train, test = (
        pad([pieces[k] for k in torch.nonzero(rows).flatten().tolist()], (values[rows],)) for rows in (~tested, tested)
    )
    return _data_set(name, train, test, wanted)


def make_genres(data_dir: Path, name: str = "made", *, features: str, mapping: str = "none") -> DataSet:
    """Generated pieces of four genres, each with bands of its own, for tests and smoke runs."""
    del data_dir, mapping
    pieces, kinds = _made(features)
    cut = MADE_PIECES * 2 // 3
    train, test = pad(pieces[:cut], (kinds[:cut],)), pad(pieces[cut:], (kinds[cut:],))
    return _data_set(name, train, test, MADE_GENRES)


def make_emotions(data_dir: Path, name: str = "made", *, features: str, target: str) -> DataSet:
    """The same pieces with quantities that follow from their bands."""
    del data_dir
    pieces, kinds = _made(features)
    cut = MADE_PIECES * 2 // 3
    wanted = EMOTIONS if target == "all" else (target,)
    values = torch.stack([(kinds + k) % len(MADE_GENRES) / len(MADE_GENRES) for k in range(len(wanted))], 1)
    train, test = pad(pieces[:cut], (values[:cut],)), pad(pieces[cut:], (values[cut:],))
    return _data_set(name, train, test, wanted)


def read_mapping(folder: Path, mapping: str) -> Mapping[str, str | None] | None:
    """The table of genres; None: every genre stays as it is.

    Raises:
        UserError: no such file, or not a table of texts.
    """
    if mapping == "none":
        return None
    path = SHIPPED_MAPPING if mapping == "lab" else folder / mapping
    try:
        table = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable table of genres ({error}); use mapping: lab or none") from error
    if not isinstance(table, dict) or not all(value is None or isinstance(value, str) for value in table.values()):
        raise UserError(f"{path}: expected lines `GENRE: GENRE`, or `GENRE: null` to drop one")
    return {str(genre): merged for genre, merged in table.items()}


def read_labels(path: Path, columns: int) -> list[Labelled]:
    """The lines behind the header, each with a piece and so many labels.

    Raises:
        UserError: the file cannot be read, or a line has another number of columns.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable labels file ({error})") from error
    found = []
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            piece, *labels = line.replace("\t", ",").split(",")
            if len(labels) != columns:
                raise UserError(f"{path}:{number}: expected an id and {columns} labels, got {line!r}")
            found.append(Labelled(number, piece.strip(), tuple(label.strip() for label in labels)))
    return found


def _folder(data_dir: Path, name: str) -> Path:
    found = staging.find(name, data_dir)
    if found is None:
        raise UserError(staging.where_to_put(name, data_dir))
    return found[""]


def _mapped(folder: Path, part: str, table: Mapping[str, str | None] | None) -> list[tuple[Labelled, str]]:
    path = folder / f"{part}_labels.txt"
    kept = []
    for line in read_labels(path, 1):
        (genre,) = line.labels
        if table is not None and genre not in table:
            raise UserError(f"{path}:{line.number}: unknown genre {genre!r}{did_you_mean(genre, table)}")
        merged = genre if table is None else table[genre]
        if merged is not None:
            kept.append((line, merged))
    if not kept:
        raise UserError(f"{path}: no pieces are left; look at the mapping")
    return kept


def _values(folder: Path, line: Labelled, wanted: Sequence[str]) -> list[float]:
    found = []
    for name in wanted:
        text = line.labels[EMOTIONS.index(name)]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            path = folder / "train_labels.txt"
            raise UserError(f"{path}:{line.number}: {name}: expected a number, got {text!r}")
        found.append(value)
    return found


def _read_piece(folder: Path, part: str, line: Labelled, features: str) -> Tensor:
    """(T, F) frames of a piece.

    Raises:
        UserError: its file is missing, or no finite array of 140 rows.
    """
    base = line.piece.split(".")[0]
    paths = [folder / part / f"{base}{suffix}" for suffix in SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UserError(f"{paths[0]}: missing, and {part}_labels.txt:{line.number} names it")
    try:
        frames = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error}); fetch it again") from error
    if frames.ndim != 2 or frames.shape[0] != MEL + CHROMA or frames.shape[1] == 0:
        raise UserError(f"{path}: expected {MEL + CHROMA} rows of frames, got an array of shape {frames.shape}")
    chosen = frames[ROWS[features]].T.astype(np.float32)
    if not np.isfinite(chosen).all():
        raise UserError(f"{path}: it holds NaN or infinite values; compute it again, or drop its line in the labels")
    return torch.from_numpy(np.ascontiguousarray(chosen))


def _data_set(name: str, train: Samples, test: Samples, names: tuple[str, ...]) -> DataSet:
    mean, std = feature_moments(train)
    return DataSet(name, train, test, names, mean, std)


def _made(features: str) -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(0)
    width = ROWS[features].stop - ROWS[features].start
    kinds = torch.arange(MADE_PIECES) % len(MADE_GENRES)
    pieces = []
    for kind in kinds.tolist():
        frames = torch.randn(20 + int(torch.randint(0, 20, (), generator=draw)), width, generator=draw)
        frames[:, kind :: len(MADE_GENRES)] += 2.0
        pieces.append(frames)
    return pieces, kinds
