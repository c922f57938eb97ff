from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from anlp.data import Sources
from anlp.data.sequences import pad
from anlp.data.spectrograms import load_emotions, load_genres, read_mapping
from anlp.errors import UserError
from anlp.models.recurrent import Headed
from anlp.models.spectrogram_cnn import SpectrogramCnn
from anlp.settings import make_spec
from anlp.training import checkpoint
from anlp.training.objectives import Regression
from anlp.training.tasks import fma_emotion, fma_genre

CPU = torch.device("cpu")


def write_piece(folder: Path, number: int, frames: int = 9, rows: int = 140) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(number)
    np.save(folder / f"{number}.fused.full.npy", draw.normal(size=(rows, frames)))


def write_lab(folder: Path, genres: tuple[str, ...] = ("Rock", "Psych-Rock", "Indie-Rock", "Blues")) -> Path:
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


@pytest.mark.parametrize(("features", "rows"), [("mel", slice(0, 128)), ("chroma", slice(128, 140))])
def test_mel_bands_come_before_pitch_classes(tmp_path: Path, features: str, rows: slice) -> None:
    write_lab(tmp_path / "lab")
    stored = np.load(tmp_path / "lab" / "train" / "0.fused.full.npy")

    data = load_genres(tmp_path, "lab", features=features, mapping="none")

    assert np.allclose(data.train.inputs[0][0, :5], stored[rows].T)
    assert data.classes == 4


def test_a_mapping_of_the_users_own_is_a_table_in_the_folder(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")
    (tmp_path / "lab" / "mine.yaml").write_text("Rock: A\nPsych-Rock: B\nIndie-Rock: A\nBlues: null\n")

    assert load_genres(tmp_path, "lab", features="mel", mapping="mine.yaml").names == ("A", "B")


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing piece": (lambda lab: (lab / "train" / "3.fused.full.npy").unlink(), r"missing, and train_labels.txt:5"),
    "no array": (lambda lab: (lab / "test" / "0.fused.full.npy").write_bytes(b"x"), "not a readable array"),
    "shape": (lambda lab: write_piece(lab / "train", 0, rows=12), r"expected 140 rows of frames, got .* \(12, 9\)"),
    "nan": (lambda lab: np.save(lab / "train" / "0.fused.full.npy", np.full((140, 3), np.nan)), "holds NaN"),
    "genre": (lambda lab: edit(lab / "train_labels.txt", "Psych-Rock", "Pysch-Rock"), "did you mean 'Psych-Rock'"),
    "columns": (lambda lab: edit(lab / "test_labels.txt", "\tRock", ""), r"test_labels.txt:2: expected an id and 1"),
    "no labels": (lambda lab: (lab / "train_labels.txt").unlink(), "train_labels.txt: not a readable labels file"),
    "all dropped": (lambda lab: (lab / "all.yaml").write_text("{}"), "unknown genre 'Rock'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_lab_name_the_file(tmp_path: Path, name: str) -> None:
    spoil, sentence = FAULTS[name]
    spoil(write_lab(tmp_path / "lab"))
    mapping = "all.yaml" if name == "all dropped" else "lab"

    with pytest.raises(UserError, match=sentence):
        load_genres(tmp_path, "lab", features="mel", mapping=mapping)


def test_a_mapping_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- Rock\n")

    with pytest.raises(UserError, match="expected lines `GENRE: GENRE`"):
        read_mapping(tmp_path, "list.yaml")
    with pytest.raises(UserError, match="not a readable table"):
        read_mapping(tmp_path, "gone.yaml")


def test_every_fifth_piece_with_emotions_is_tested(tmp_path: Path) -> None:
    write_emotions(tmp_path / "moods")

    data = load_emotions(tmp_path, "moods", features="mel", target="all")

    assert data.names == ("valence", "energy", "danceability")
    assert torch.allclose(data.test.targets[0], torch.tensor([[0.4, 0.5, 0.6], [0.9, 0.5, 0.1]]))
    assert len(data.train) == 8


def test_an_emotion_that_is_no_number_is_named(tmp_path: Path) -> None:
    edit(write_emotions(tmp_path / "moods") / "train_labels.txt", "0.5", "high")

    with pytest.raises(UserError, match=r"train_labels.txt:2: energy: expected a number, got 'high'"):
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


def test_several_errors_are_weighted_and_summed() -> None:
    output, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)

    loss, absolute = Regression((1.0, 0.5))(output, (target,), training=True)

    assert loss.item() == pytest.approx((1 + 9) / 2 + 0.5 * (4 + 16) / 2)
    assert absolute.item() == pytest.approx(1.5 + 3.5)


def genre_weights(runs: Path, run_id: str = "abc123abc123", **values: object) -> Path:
    """The weights that a finished genre run would have kept."""
    settings = make_spec("fma_genre", {"data": "made", "hidden": 8, **values}, 0).settings
    model = fma_genre.build(settings, 0, Sources(runs), CPU).model  # type: ignore[arg-type] # of this task
    path = runs / "genres" / run_id / "weights.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save(path, {"epoch": 1, "model": model.state_dict()})
    return path


@pytest.mark.parametrize("freeze", [False, True])
def test_a_backbone_is_taken_over_and_may_be_frozen(tmp_path: Path, freeze: bool) -> None:
    kept = torch.load(genre_weights(tmp_path), weights_only=True)["model"]
    values = {"data": "made", "hidden": 8, "init_from": "abc123abc123", "freeze": freeze}
    settings = make_spec("fma_emotion", values, 5).settings

    model = fma_emotion.build(settings, 5, Sources(tmp_path, tmp_path), CPU).model  # type: ignore[arg-type] # as above

    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in kept.items() if name.startswith("backbone."))
    assert isinstance(model, Headed)
    assert all(p.requires_grad != freeze for p in model.backbone.parameters())
    assert model.train().backbone.training != freeze
    assert all(p.requires_grad for p in model.head.parameters())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"init_from": "000000000000"}, "no weights of a run '000000000000'"),
        ({"init_from": "abc123abc123", "hidden": 16}, "the backbone of run abc123abc123 is not this one"),
        ({"init_from": "../../etc"}, "no weights of a run"),
    ],
)
def test_a_backbone_that_cannot_be_taken_over_is_a_sentence(
    tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    genre_weights(tmp_path)
    settings = make_spec("fma_emotion", {"data": "made", "hidden": 8, **values}, 0).settings

    with pytest.raises(UserError, match=sentence):
        fma_emotion.build(settings, 0, Sources(tmp_path, tmp_path), CPU)  # type: ignore[arg-type] # of this task


def test_freezing_what_was_never_trained_is_refused() -> None:
    with pytest.raises(ValidationError, match="freeze: true needs init_from"):
        make_spec("fma_emotion", {"freeze": True}, 0)


def test_batch_norm_of_a_frozen_backbone_stays_as_it_was() -> None:
    model = Headed(SpectrogramCnn(12, filters=2, size=7), 3)
    batch = pad([torch.randn(20, 12) for _ in range(4)], (torch.zeros(4),))
    model.freeze()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}

    model.train()(*batch.inputs)

    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_a_model_of_genres_overfits_a_few_batches(tmp_path: Path) -> None:
    settings = make_spec("fma_genre", {"data": "made", "hidden": 16, "overfit_batches": 1, "batch_size": 8}, 0).settings
    problem = fma_genre.build(settings, 0, Sources(tmp_path), CPU)  # type: ignore[arg-type] # of this task
    optimizer = torch.optim.Adam(problem.model.parameters(), lr=0.01)
    batch = problem.train.samples.gather(problem.train.rows)

    for _ in range(80):
        optimizer.zero_grad()
        loss = functional.cross_entropy(problem.model(*batch.inputs), batch.targets[0])
        torch.autograd.backward(loss)
        optimizer.step()

    assert loss.item() < 0.05
