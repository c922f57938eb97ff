from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from torchvision import models

from anlp.builders import images_transfer
from anlp.core.errors import UserError
from anlp.data import DatasetCache, Samples
from anlp.data.images import CIFAR_NAMES, load_cifar10, load_image_folder, make_images
from anlp.datasets import catalogue
from anlp.models.convnet import ConvNet
from anlp.models.recurrent import Headed
from anlp.models.resnet import ResNet
from anlp.tasks import make_spec
from anlp.training.closed_form import Fitted, logistic_regression
from anlp.workloads.augment import RandomFlip, RandomShift, in_turn
from anlp.workloads.workload import Split


def write_images(folder: Path, *classes: str, count: int = 5, side: int = 12) -> None:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (side, side + 4), (40 * number, index, 7)).save(
                folder / name / f"{index}.png"
            )


def test_a_folder_with_a_split_keeps_it(tmp_path: Path) -> None:
    write_images(tmp_path / "faces" / "train", "real", "fake", count=3)
    write_images(tmp_path / "faces" / "test", "real", "fake", count=2)

    data = load_image_folder(tmp_path, "faces", image_size=8)

    assert data.names == ("fake", "real")
    assert (len(data.train), len(data.test)) == (6, 4)
    assert data.train.inputs[0].shape == (6, 3, 8, 8)
    assert data.train.inputs[0][0, :, 0, 0].tolist() == [40, 0, 7]


def test_a_folder_without_a_split_tests_every_fifth_image_of_each_class(tmp_path: Path) -> None:
    write_images(tmp_path / "faces", "real", "fake", count=10)

    data = load_image_folder(tmp_path, "faces", image_size=8)

    assert data.test.targets[0].bincount().tolist() == [2, 2]


def test_an_archive_is_read_like_the_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "plain", "a", "b")
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "images.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "plain", ".")

    plain, packed = (
        load_image_folder(tmp_path, name, image_size=8) for name in ("plain", "packed")
    )

    assert torch.equal(plain.train.inputs[0], packed.train.inputs[0])


def test_validation_images_of_the_folders_own_are_what_runs_select_on(tmp_path: Path) -> None:
    for part, count in (("Training", 3), ("valid", 2), ("TEST", 1)):
        write_images(tmp_path / "faces" / part, "real", "fake", count=count)

    data = load_image_folder(tmp_path, "faces", image_size=8)

    assert data.val is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [6, 4, 2]
    assert data.names == ("fake", "real")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear_probe", "xgboost"])
def test_validation_images_stay_apart_in_every_method(tmp_path: Path, method: str) -> None:
    if method == "xgboost":
        pytest.importorskip("xgboost", reason="the method xgboost; pip install '.[boost]'")
    for part in ("train", "val", "test"):
        write_images(tmp_path / "faces" / part, "real", "fake", count=3)
    values = {"data": "faces", "method": method, "weights": "random", "image_size": 16, "pixels": 8}
    settings = make_spec("images_transfer", values, 0).settings

    workload = images_transfer.build(settings, 0, DatasetCache(tmp_path), torch.device("cpu"))  # type: ignore[arg-type]

    assert workload.sizes() == {"train": 6, "val": 6, "test": 6}


def first_pixel(folder: Path, image: Image.Image, name: str = "0.png", **options: Any) -> list[int]:
    """Of a picture among others, as it is loaded."""
    write_images(folder / "set" / "train", "a", "b", count=2)
    write_images(folder / "set" / "test", "a", "b", count=1)
    (folder / "set" / "train" / "a" / "0.png").unlink()
    image.save(folder / "set" / "train" / "a" / name, **options)
    found: list[int] = (
        load_image_folder(folder, "set", image_size=8).train.inputs[0][0, :, 0, 7].tolist()
    )
    return found


PICTURES: dict[str, tuple[Callable[[], Image.Image], list[int]]] = {
    "grey": (lambda: Image.new("L", (9, 9), 77), [77, 77, 77]),
    "grey of 16 bits": (
        lambda: Image.fromarray(np.full((9, 9), 0x8000, np.uint16)),
        [127, 127, 127],
    ),
    "transparent": (lambda: Image.new("RGBA", (9, 9), (200, 10, 10, 0)), [255, 255, 255]),
    "grey and half transparent": (lambda: Image.new("LA", (9, 9), (0, 127)), [128, 128, 128]),
    "palette": (
        lambda: Image.new("RGB", (9, 9), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE),
        [10, 20, 30],
    ),
    "one bit": (lambda: Image.new("1", (9, 9), 1), [255, 255, 255]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_every_mode_become_colours_that_people_see(tmp_path: Path, name: str) -> None:
    make, wanted = PICTURES[name]

    assert first_pixel(tmp_path, make()) == wanted


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), "blue")
    image.paste((255, 0, 0), (0, 0, 8, 16))  # red on the left: turned a quarter, it is on top
    turned = image.getexif()
    turned[0x0112] = 6

    red, _, blue = first_pixel(tmp_path, image, "0.jpg", exif=turned, quality=95)

    assert red > 240 > 20 > blue


def test_files_that_systems_leave_are_no_images(tmp_path: Path) -> None:
    write_images(tmp_path / "faces", "real", "fake", count=5)
    (tmp_path / "faces" / "real" / "._0.png").write_bytes(b"\0\5\x16\7")
    write_images(tmp_path / "faces" / "real", ".ipynb_checkpoints", count=3)

    data = load_image_folder(tmp_path, "faces", image_size=8)

    assert (len(data.train), len(data.test)) == (8, 2)


def damage(folder: Path) -> None:
    write_images(folder, "a", "b")
    (folder / "a" / "0.png").write_bytes(b"no image")


def cut(folder: Path) -> None:
    write_images(folder, "a", "b")
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "0.png").write_bytes(whole[: len(whole) // 2])


def mislead(folder: Path) -> None:
    write_images(folder, "a", "b")
    (folder / "a" / "9.png").symlink_to("/nowhere/9.png")


def blow_up(folder: Path) -> None:
    write_images(folder, "a", "b")
    Image.new("1", (20_000, 20_000)).save(folder / "a" / "9.png")


def lack(folder: Path) -> None:
    write_images(folder / "train", "a", "b")
    write_images(folder / "test", "a")


def lack_a_part(folder: Path) -> None:
    write_images(folder / "train", "a", "b")


def mix(folder: Path) -> None:
    write_images(folder / "train", "a", "b")
    write_images(folder / "test", "a", "b")
    write_images(folder, "c")


def pack_badly(folder: Path) -> None:
    folder.mkdir()
    (folder / "images.tar.gz").write_bytes(b"no archive")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "neither a known data set"),
        (lambda folder: folder.mkdir(), "no images; expected train/CLASS/"),
        (lambda folder: write_images(folder, "only"), "one class, only; expected train/CLASS/"),
        (
            lambda folder: write_images(folder, "a", "b", count=1),
            "faces: no test images; .* at least 5 images a class",
        ),
        (lack, "class 'b' has no test images, but others have"),
        (lack_a_part, "faces: no test images; expected train/CLASS/"),
        (mix, r"faces/c/0.png: beside train/ and test/; .* move or remove it"),
        (damage, r"faces/a/0.png: not a readable image \(of no known kind\); remove or replace it"),
        (cut, r"faces/a/0.png: not a readable image"),
        (mislead, r"faces/a/9.png: cannot be read \(No such file or directory\); check the name"),
        (blow_up, r"faces/a/9.png: not a readable image \(Image size \(400000000 pixels\) exceeds"),
        (pack_badly, r"faces/images.tar.gz: not a readable archive \([^\n]*\); fetch it again"),
    ],
)
def test_faults_of_a_folder_are_sentences(tmp_path: Path, make: object, sentence: str) -> None:
    make(tmp_path / "faces")  # type: ignore[operator] # one of the functions above

    with pytest.raises(UserError, match=sentence):
        load_image_folder(tmp_path, "faces", image_size=8)


def write_cifar(path: Path, per_batch: int = 2) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
            pixels = torch.arange(per_batch * 3072).reshape(per_batch, 3072).to(torch.uint8).numpy()
            content = pickle.dumps({"data": pixels, "labels": [3] * per_batch})
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_cifar10_is_read_once_its_digest_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    write_cifar(path)
    with pytest.raises(UserError, match="not the published archive"):
        load_cifar10(tmp_path)
    monkeypatch.setattr(catalogue, "check", lambda *_: None)

    data = load_cifar10(tmp_path)

    assert data.train.inputs[0].shape == (10, 3, 32, 32)
    assert data.train.inputs[0][0, 0, 0, :3].tolist() == [0, 1, 2]
    assert data.names == CIFAR_NAMES


def test_images_of_another_size_are_resized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "cifar-10-python.tar.gz")
    monkeypatch.setattr(catalogue, "check", lambda *_: None)

    assert load_cifar10(tmp_path, image_size=16).test.inputs[0].shape == (2, 3, 16, 16)


NETS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: ConvNet(16, 10, conv_layers=2, filters=4, hidden=8, dropout=0.1),
    "cnn, kernel 2": lambda: ConvNet(
        16, 10, conv_layers=2, filters=4, hidden=8, kernel_size=2, padding=0, fc_layers=3
    ),
    "residual cnn": lambda: ConvNet(
        16, 10, conv_layers=2, filters=4, hidden=8, residual=True, batch_norm=True
    ),
    "resnet18": lambda: Headed(ResNet("resnet18", side=16), 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_nets_give_logits_and_a_gradient_to_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = NETS[name]()
    images = make_images(Path(), image_size=16).train.inputs[0][:6]

    logits = model(images)
    torch.autograd.backward(functional.cross_entropy(logits, torch.arange(6)))

    assert logits.shape == (6, 10)
    assert all(p.grad is not None for p in model.parameters())


MARK: list[str] = []  # what unpickling would leave


class Code:
    """An object that runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (MARK.append, ("ran",))


def save_half(path: Path) -> None:
    torch.save(models.resnet18(weights=None).state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])


WRONG_WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "other net": (
        lambda path: torch.save(nn.Linear(2, 2).state_dict(), path),
        "not the weights of this net .bias does",
    ),
    "larger net": (
        lambda path: torch.save(models.resnet34(weights=None).state_dict(), path),
        "layer1.2.bn1.bias does",
    ),
    "list": (lambda path: torch.save([1], path), "not the weights of this net"),
    "code": (
        lambda path: torch.save({"conv1.weight": Code()}, path),
        "not a whole file of weights, or one with more",
    ),
    "plain pickle": (
        lambda path: path.write_bytes(pickle.dumps(Code())),
        "not a whole file of weights, or one with",
    ),
    "half": (save_half, "not a whole file of weights"),
    "page": (lambda path: path.write_text("<html>not found</html>"), "not a whole file of weights"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole file of weights"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_wrong_weights_are_refused_and_nothing_in_them_is_run(tmp_path: Path, name: str) -> None:
    make, sentence = WRONG_WEIGHTS[name]
    make(tmp_path / "weights.pth")

    with pytest.raises(UserError, match=rf"weights.pth: .*{sentence}") as found:
        ResNet("resnet18", side=32, weights=tmp_path / "weights.pth")

    assert MARK == []
    assert "weights_only" not in str(found.value)  # torch's advice to switch its guard off


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "faces", "real", "fake")
    (tmp_path / "weights").mkdir()
    torch.save(
        models.resnet18(weights=None).state_dict(), tmp_path / "weights" / "resnet18-f37072fd.pth"
    )
    settings = make_spec("images_transfer", {"data": "faces", "image_size": 16}, 0).settings

    with pytest.raises(
        UserError, match=r"resnet18-f37072fd.pth: not the published file .*expected f37072fd"
    ):
        images_transfer.build(settings, 0, DatasetCache(tmp_path), torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_net_with_given_weights_begins_with_them(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(3)
    given = models.resnet18()
    torch.save(given.state_dict(), tmp_path / "weights.pth")

    net = ResNet("resnet18", side=32, weights=tmp_path / "weights.pth")

    assert torch.equal(net.net.state_dict()["conv1.weight"], given.conv1.weight)


def test_flips_mirror_some_images_and_leave_the_others() -> None:
    torch.manual_seed(0)
    images = torch.arange(64 * 4).reshape(64, 1, 1, 4)

    (flipped,) = RandomFlip()(Samples((images,), (torch.zeros(64),))).inputs

    mirrored = (flipped == images.flip(3)).all(3).flatten()
    kept = (flipped == images).all(3).flatten()
    assert bool((mirrored ^ kept).all())
    assert 16 < int(mirrored.sum()) < 48


def test_changes_are_made_in_turn() -> None:
    torch.manual_seed(0)
    batch = Samples((torch.ones(8, 3, 8, 8),), (torch.zeros(8),))

    assert in_turn(RandomShift(1), RandomFlip())(batch).inputs[0].shape == (8, 3, 8, 8)


def test_a_fitted_predictor_answers_evenly_before_and_rightly_after() -> None:
    draw = torch.Generator().manual_seed(0)
    places = torch.randn(90, 2, generator=draw)
    classes = 1 + (places[:, 0] > 0).long()
    model = Fitted(logistic_regression(1.0, 0), classes=3)

    before = model(places)
    model.fit(Split.whole(Samples((places,), (classes,))))

    assert torch.equal(before, torch.zeros(90, 3))
    assert (model(places).argmax(1) == classes).float().mean() > 0.95


@pytest.mark.slow
def test_features_of_a_frozen_net_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "faces", "real", "fake", count=5)
    values = {"data": "faces", "method": "linear_probe", "weights": "random", "image_size": 16}
    settings = make_spec("images_transfer", values, 0).settings
    device = torch.device("cpu")
    first = images_transfer.build(settings, 0, DatasetCache(tmp_path), device)  # type: ignore[arg-type] # of this task
    monkeypatch.setattr(images_transfer, "_features", lambda *_: pytest.fail("computed again"))

    again = images_transfer.build(settings, 1, DatasetCache(tmp_path), device)  # type: ignore[arg-type] # of this task

    assert torch.equal(first.train.samples.inputs[0], again.train.samples.inputs[0])
    assert first.train.samples.inputs[0].shape[1] == 512


@pytest.mark.slow
def test_features_are_kept_beside_the_runs_where_the_data_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    runs.mkdir()
    write_images(data / "faces", "real", "fake", count=5)
    (data / ".features").write_text("a file, so that there can be no such folder")
    values = {"data": "faces", "method": "linear_probe", "weights": "random", "image_size": 16}
    settings = make_spec("images_transfer", values, 0).settings
    images_transfer.build(settings, 0, DatasetCache(data, runs), torch.device("cpu"))  # type: ignore[arg-type] # as above
    monkeypatch.setattr(images_transfer, "_features", lambda *_: pytest.fail("computed again"))

    images_transfer.build(settings, 1, DatasetCache(data, runs), torch.device("cpu"))  # type: ignore[arg-type] # as above

    assert list((runs / ".features").glob("faces-*.npz"))


def test_learning_rates_make_no_difference_to_what_has_no_gradient() -> None:
    ids = {
        make_spec("images_transfer", {"method": "xgboost", "lr": lr}, 0).run_id
        for lr in (0.1, 0.01)
    }

    assert len(ids) == 1


def test_weights_that_are_missing_are_a_sentence(tmp_path: Path) -> None:
    write_images(tmp_path / "faces", "real", "fake")
    spec = make_spec(
        "images_transfer", {"data": "faces", "backbone": "resnet34", "image_size": 16}, 0
    )
    datasets = DatasetCache(tmp_path)

    if catalogue.find("resnet34", tmp_path) is None:
        with pytest.raises(UserError, match=r"expected resnet34-b627a593\.pth in"):
            images_transfer.build(spec.settings, 0, datasets, torch.device("cpu"))  # type: ignore[arg-type]
    assert spec.settings.assets() == ("resnet34",)


def test_layers_that_leave_nothing_of_the_image_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing of 32 pixels"):
        make_spec("cifar10", {"conv_layers": 6}, 0)
