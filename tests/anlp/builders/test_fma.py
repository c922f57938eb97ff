from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from anlp.builders import fma_emotion, fma_genre
from anlp.core.errors import UserError
from anlp.data import DatasetCache
from anlp.data.samples import Origin
from anlp.data.sequences import pad
from anlp.data.spectrograms import load_emotions, load_genres, read_mapping
from anlp.models.pooling import parts
from anlp.models.recurrent import Headed
from anlp.models.spectrogram_cnn import SpectrogramCnn
from anlp.tasks import make_spec
from anlp.training import checkpoint
from anlp.workloads.objectives import Regression

CPU = torch.device("cpu")


def write_piece(folder: Path, number: int, frames: int = 9, rows: int = 140) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(number)
    np.save(folder / f"{number}.fused.full.npy", draw.normal(size=(rows, frames)))


def write_lab(
    folder: Path, genres: tuple[str, ...] = ("Rock", "Psych-Rock", "Indie-Rock", "Blues")
) -> Path:
    """The course lab's layout: two training pieces and one test piece of each genre."""
    for part, copies in (("train", 2), ("test", 1)):
        lines = ["Id\tGenre"]
        for number, genre in enumerate(genres * copies):
            write_piece(folder / part, number, frames=5 + number)
            lines.append(f"{number}.fused.full.npy.gz\t{genre}")
        (folder / f"{part}_labels.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_emotions(folder: Path, count: int = 10) -> Path:
    lines = ["Id,valence,energy,danceability"]
    for number in range(count):
        write_piece(folder / "train", number)
        lines.append(f"{number},{number / count},0.5,{1 - number / count}")
    (folder / "train_labels.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_genres_are_merged_and_dropped_and_lengths_kept(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")

    data = load_genres(tmp_path, "lab", features="fused", mapping="lab")

    assert data.names == ("Blues", "Rock")
    assert data.train.targets[0].tolist() == [1, 1, 0, 1, 1, 0]
    assert data.train.inputs[1].tolist() == [5, 6, 8, 9, 10, 12]
    assert data.train.inputs[0].shape == (6, 12, 140)


@pytest.mark.parametrize(
    ("features", "rows"), [("mel", slice(0, 128)), ("chroma", slice(128, 140))]
)
def test_mel_bands_come_before_pitch_classes(tmp_path: Path, features: str, rows: slice) -> None:
    write_lab(tmp_path / "lab")
    stored = np.load(tmp_path / "lab" / "train" / "0.fused.full.npy")

    data = load_genres(tmp_path, "lab", features=features, mapping="none")

    assert np.allclose(data.train.inputs[0][0, :5], stored[rows].T)
    assert data.classes == 4


def test_a_mapping_of_the_users_own_is_a_table_in_the_folder(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")
    (tmp_path / "lab" / "mine.yaml").write_text(
        "Rock: A\nPsych-Rock: B\nIndie-Rock: A\nBlues: null\n"
    )

    assert load_genres(tmp_path, "lab", features="mel", mapping="mine.yaml").names == ("A", "B")


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def piece(lab: Path, number: int = 0) -> Path:
    return lab / "train" / f"{number}.fused.full.npy"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def save_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros((140, 4)))


MARK: list[str] = []  # what unpickling would leave


class Code:
    """An object that runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (MARK.append, ("ran",))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing piece": (
        lambda lab: piece(lab, 3).unlink(),
        r"missing, and train_labels.txt:5 names it; put it there or",
    ),
    "no array": (
        lambda lab: (lab / "test" / "0.fused.full.npy").write_bytes(b"x"),
        "not a readable .npy file",
    ),
    "empty": (
        lambda lab: piece(lab).write_bytes(b""),
        "train/0.fused.full.npy: not a readable .npy file",
    ),
    "cut": (lambda lab: cut(piece(lab)), "not a readable .npy file .*fetch it again"),
    "archive": (lambda lab: save_npz(piece(lab)), "not a readable .npy file .*magic"),
    "objects": (
        lambda lab: np.save(piece(lab), np.array([[Code()]]), allow_pickle=True),
        "Object arrays cannot be",
    ),
    "texts": (
        lambda lab: np.save(piece(lab), np.full((140, 3), "a")),
        "expected numbers, got an array of <U1",
    ),
    "complex": (
        lambda lab: np.save(piece(lab), np.ones((140, 3), complex)),
        "got an array of complex128",
    ),
    "shape": (
        lambda lab: write_piece(lab / "train", 0, rows=12),
        r"expected 140 rows of frames, got .* \(12, 9\)",
    ),
    "no frames": (
        lambda lab: write_piece(lab / "train", 0, frames=0),
        r"got an array of shape \(140, 0\)",
    ),
    "nan": (lambda lab: np.save(piece(lab), np.full((140, 3), np.nan)), "holds NaN"),
    "too large": (
        lambda lab: np.save(piece(lab), np.full((140, 3), 1e300)),
        "holds NaN or infinite",
    ),
    "genre": (
        lambda lab: edit(lab / "train_labels.txt", "Psych-Rock", "Pysch-Rock"),
        "did you mean 'Psych-Rock'",
    ),
    "columns": (
        lambda lab: edit(lab / "test_labels.txt", "\tRock", ""),
        r"test_labels.txt:2: expected an id and 1",
    ),
    "no genre": (
        lambda lab: edit(lab / "test_labels.txt", "\tRock", "\t "),
        r"test_labels.txt:2: expected an id and 1",
    ),
    "no labels": (
        lambda lab: (lab / "train_labels.txt").unlink(),
        r"train_labels.txt: cannot be read .*; check the name: there is no such file",
    ),
    "no lines": (
        lambda lab: (lab / "train_labels.txt").write_text("Id\tGenre\n\n"),
        "train_labels.txt: no pieces in it",
    ),
    "no header": (
        lambda lab: edit(lab / "train_labels.txt", "Id\tGenre\n", ""),
        "train_labels.txt:1: expected a header",
    ),
    "two genres": (
        lambda lab: edit(lab / "train_labels.txt", "1.f", "0.f"),
        "train_labels.txt:3: 0 has other labels on",
    ),
    "not learned": (
        lambda lab: drop(lab / "train_labels.txt", "Blues"),
        "genre 'Blues' has no training pieces; merge",
    ),
    "all dropped": (lambda lab: (lab / "mine.yaml").write_text("{}"), "unknown genre 'Rock'"),
    "nothing left": (
        lambda lab: merge(lab, "null"),
        "train_labels.txt: the mapping drops every piece",
    ),
    "one left": (lambda lab: merge(lab, "Music"), "train_labels.txt: one genre is left, Music"),
}


def drop(path: Path, word: str) -> None:
    path.write_text(
        "".join(line for line in path.read_text().splitlines(keepends=True) if word not in line)
    )


def merge(lab: Path, genre: str) -> None:
    names = ("Rock", "Psych-Rock", "Indie-Rock", "Blues")
    (lab / "mine.yaml").write_text("".join(f"{name}: {genre}\n" for name in names))


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_lab_name_the_file(tmp_path: Path, name: str) -> None:
    spoil, sentence = FAULTS[name]
    spoil(write_lab(tmp_path / "lab"))
    mapping = "mine.yaml" if (tmp_path / "lab" / "mine.yaml").exists() else "lab"

    with pytest.raises(UserError, match=sentence):
        load_genres(tmp_path, "lab", features="mel", mapping=mapping)

    assert MARK == []


def test_packed_files_and_files_of_other_systems_are_read_as_they_come(tmp_path: Path) -> None:
    lab = write_lab(tmp_path / "lab")
    plain = load_genres(tmp_path, "lab", features="mel", mapping="lab")
    for path in (lab / "train").iterdir():
        with gzip.open(path.with_name(path.name + ".gz"), "wb") as file:
            file.write(path.read_bytes())
        path.unlink()
    labels = (lab / "train_labels.txt").read_bytes()
    (lab / "train_labels.txt").write_bytes(b"\xef\xbb\xbf" + labels.replace(b"\n", b"\r\n"))

    packed = load_genres(tmp_path, "lab", features="mel", mapping="lab")

    assert torch.equal(plain.train.inputs[0], packed.train.inputs[0])
    assert torch.equal(plain.train.targets[0], packed.train.targets[0])


def test_a_line_that_is_there_twice_is_one_piece(tmp_path: Path) -> None:
    lab = write_lab(tmp_path / "lab")
    edit(lab / "train_labels.txt", "Id\tGenre\n", "Id\tGenre\n0\tRock\n")

    assert len(load_genres(tmp_path, "lab", features="mel", mapping="none").train) == 8


def test_what_became_of_each_genre_is_told(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")

    data = load_genres(tmp_path, "lab", features="mel", mapping="lab")

    assert data.origins == (
        Origin("Blues", "Blues", 2, 1),
        Origin("Indie-Rock", "", 2, 1),
        Origin("Psych-Rock", "Rock", 2, 1),
        Origin("Rock", "Rock", 2, 1),
    )


def test_a_mapping_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- Rock\n")

    with pytest.raises(UserError, match="expected lines `GENRE: GENRE`"):
        read_mapping(tmp_path, "list.yaml")
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not a readable table"):
        read_mapping(tmp_path, "code.yaml")
    for name in ("gone.yaml", "../list.yaml", ""):
        with pytest.raises(UserError, match="expected lab, none, or the name of a YAML file"):
            read_mapping(tmp_path, name)


def test_every_fifth_piece_with_emotions_is_tested(tmp_path: Path) -> None:
    write_emotions(tmp_path / "moods")

    data = load_emotions(tmp_path, "moods", features="mel", target="all")

    assert data.names == ("valence", "energy", "danceability")
    assert torch.allclose(data.test.targets[0], torch.tensor([[0.4, 0.5, 0.6], [0.9, 0.5, 0.1]]))
    assert len(data.train) == 8


def test_columns_of_emotions_are_taken_by_the_names_in_the_header(tmp_path: Path) -> None:
    labels = write_emotions(tmp_path / "moods") / "train_labels.txt"
    before = load_emotions(tmp_path, "moods", features="mel", target="all").train.targets[0]
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text("".join(f"{piece},{d},{v},{e}\n" for piece, v, e, d in rows))

    assert torch.equal(
        load_emotions(tmp_path, "moods", features="mel", target="all").train.targets[0], before
    )

    edit(labels, "valence", "mood")
    with pytest.raises(
        UserError, match=r"train_labels.txt:1: expected the columns valence, energy, danceability"
    ):
        load_emotions(tmp_path, "moods", features="mel", target="all")


def test_an_emotion_that_is_no_number_is_named(tmp_path: Path) -> None:
    edit(write_emotions(tmp_path / "moods") / "train_labels.txt", "0.5", "high")

    with pytest.raises(
        UserError, match=r"train_labels.txt:2: energy: expected a number, got 'high'"
    ):
        load_emotions(tmp_path, "moods", features="mel", target="energy")


@pytest.mark.parametrize("features", [12, 128])
def test_the_cnn_makes_vectors_of_one_length_from_pieces_of_any(features: int) -> None:
    torch.manual_seed(0)
    model = SpectrogramCnn(features, filters=2, size=7)
    batch = pad([torch.randn(length, features) for length in (1, 40, 17)], (torch.zeros(3),))

    vectors = model(*batch.inputs)
    torch.autograd.backward(vectors.square().sum())

    assert vectors.shape == (3, 7)
    assert all(p.grad is not None for p in model.parameters())


def test_what_lies_behind_the_end_of_a_piece_is_nothing_to_the_cnn() -> None:
    model = SpectrogramCnn(12, filters=2, size=7, mean=5.0, std=2.0).eval()
    frames, lengths = torch.randn(2, 20, 12), torch.tensor([20, 12])
    other = frames.clone()
    other[1, 12:] = 100.0

    assert torch.equal(model(frames, lengths), model(other, lengths))


@pytest.mark.slow
@torch.no_grad()
def test_a_piece_in_a_padded_batch_is_what_it_is_alone() -> None:
    torch.manual_seed(0)
    model = SpectrogramCnn(12, filters=4, size=7, mean=0.3, std=2.0).eval()
    pieces = [torch.randn(length, 12) for length in (1, 2, 3, 15, 16, 17, 64, 97, 130)]
    lengths = torch.tensor([len(piece) for piece in pieces])
    padded = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=9.0)

    together = model(padded, lengths)

    for row, piece, length in zip(together, pieces, lengths, strict=True):
        assert torch.allclose(row, model(piece[None], length[None])[0], atol=1e-5)
    assert together.std(dim=0).max() > 0


def test_parts_are_those_of_adaptive_pooling_on_each_sequence_alone() -> None:
    frames = torch.randn(4, 11, 3)
    lengths = torch.tensor([1, 3, 8, 11])

    found = parts(frames, lengths, 4)

    for row, sequence, length in zip(found, frames, lengths, strict=True):
        assert torch.allclose(
            row.T, torch.nn.functional.adaptive_avg_pool1d(sequence[:length].T, 4), atol=1e-6
        )


def test_several_errors_are_weighted_and_summed() -> None:
    output, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)

    loss, absolute = Regression((1.0, 0.5))(output, (target,), training=True)

    assert loss.item() == pytest.approx((1 + 9) / 2 + 0.5 * (4 + 16) / 2)
    assert absolute.item() == pytest.approx(1.5 + 3.5)


def genre_weights(runs: Path, run_id: str = "abc123abc123", **values: object) -> Path:
    """The weights that a finished genre run would have kept."""
    settings = make_spec("fma_genre", {"data": "made", "hidden": 8, **values}, 0).settings
    model = fma_genre.build(settings, 0, DatasetCache(runs), CPU).model  # type: ignore[arg-type] # of this task
    path = runs / "genres" / run_id / "weights.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save_weights(path, model.state_dict(), epoch=1)
    return path


@pytest.mark.parametrize("freeze", [False, True])
def test_a_backbone_is_taken_over_and_may_be_frozen(tmp_path: Path, freeze: bool) -> None:
    kept = torch.load(genre_weights(tmp_path), weights_only=True)["model"]
    values = {"data": "made", "hidden": 8, "init_from": "abc123abc123", "freeze": freeze}
    settings = make_spec("fma_emotion", values, 5).settings

    model = fma_emotion.build(settings, 5, DatasetCache(tmp_path, tmp_path), CPU).model  # type: ignore[arg-type] # as above

    own = model.state_dict()
    assert all(
        torch.equal(own[name], value)
        for name, value in kept.items()
        if name.startswith("backbone.")
    )
    assert isinstance(model, Headed)
    assert all(p.requires_grad != freeze for p in model.backbone.parameters())
    assert model.train().backbone.training != freeze
    assert all(p.requires_grad for p in model.head.parameters())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"init_from": "000000000000"}, "no weights of a run '000000000000'"),
        (
            {"init_from": "abc123abc123", "hidden": 16},
            "the backbone of run abc123abc123 is not this one",
        ),
        ({"init_from": "../../etc"}, "no weights of a run"),
    ],
)
def test_a_backbone_that_cannot_be_taken_over_is_a_sentence(
    tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    genre_weights(tmp_path)
    settings = make_spec("fma_emotion", {"data": "made", "hidden": 8, **values}, 0).settings

    with pytest.raises(UserError, match=sentence):
        fma_emotion.build(settings, 0, DatasetCache(tmp_path, tmp_path), CPU)  # type: ignore[arg-type] # of this task


def test_freezing_what_was_never_trained_is_refused() -> None:
    with pytest.raises(ValidationError, match="freeze: true needs init_from"):
        make_spec("fma_emotion", {"freeze": True}, 0)


def test_batch_norm_of_a_frozen_backbone_stays_as_it_was() -> None:
    model = Headed(SpectrogramCnn(12, filters=2, size=7), 3)
    batch = pad([torch.randn(20, 12) for _ in range(4)], (torch.zeros(4),))
    model.freeze()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}

    model.train()(*batch.inputs)

    assert all(
        torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items()
    )


@pytest.mark.slow
def test_a_model_of_genres_overfits_a_few_batches(tmp_path: Path) -> None:
    settings = make_spec(
        "fma_genre", {"data": "made", "hidden": 16, "overfit_batches": 1, "batch_size": 8}, 0
    ).settings
    workload = fma_genre.build(settings, 0, DatasetCache(tmp_path), CPU)  # type: ignore[arg-type] # of this task
    optimizer = torch.optim.Adam(workload.model.parameters(), lr=0.01)
    batch = workload.train.samples.gather(workload.train.rows)

    for _ in range(80):
        optimizer.zero_grad()
        loss = functional.cross_entropy(workload.model(*batch.inputs), batch.targets[0])
        torch.autograd.backward(loss)
        optimizer.step()

    assert loss.item() < 0.05
