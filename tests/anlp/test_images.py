from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from anlp import staging
from anlp.data import Samples, Sources
from anlp.data.images import CIFAR_NAMES, load_cifar10, load_image_folder, make_images
from anlp.errors import UserError
from anlp.models.convnet import ConvNet
from anlp.models.recurrent import Headed
from anlp.models.resnet import ResNet
from anlp.settings import make_spec
from anlp.training.augment import RandomFlip, RandomShift, in_turn
from anlp.training.fitted import Fitted, logistic_regression
from anlp.training.problem import Split
from anlp.training.tasks import images_transfer


def write_images(folder: Path, *classes: str, count: int = 5, side: int = 12) -> None:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (side, side + 4), (40 * number, index, 7)).save(folder / name / f"{index}.png")


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

    plain, packed = (load_image_folder(tmp_path, name, image_size=8) for name in ("plain", "packed"))

    assert torch.equal(plain.train.inputs[0], packed.train.inputs[0])


def damage(folder: Path) -> None:
    write_images(folder, "a", "b")
    (folder / "a" / "0.png").write_bytes(b"no image")


def lack(folder: Path) -> None:
    write_images(folder / "train", "a", "b")
    write_images(folder / "test", "a")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "neither a known data set"),
        (lambda folder: folder.mkdir(), "no images; expected train/CLASS/"),
        (lambda folder: write_images(folder, "only"), "one class, only; expected train/CLASS/"),
        (lack, "class 'b' has no test images"),
        (damage, "a/0.png: not a readable image"),
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


def test_cifar10_is_read_once_its_digest_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    write_cifar(path)
    with pytest.raises(UserError, match="not the published archive"):
        load_cifar10(tmp_path)
    monkeypatch.setattr(staging, "check", lambda *_: None)

    data = load_cifar10(tmp_path)

    assert data.train.inputs[0].shape == (10, 3, 32, 32)
    assert data.train.inputs[0][0, 0, 0, :3].tolist() == [0, 1, 2]
    assert data.names == CIFAR_NAMES


def test_images_of_another_size_are_resized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar-10-python.tar.gz")
    monkeypatch.setattr(staging, "check", lambda *_: None)

    assert load_cifar10(tmp_path, image_size=16).test.inputs[0].shape == (2, 3, 16, 16)


NETS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: ConvNet(16, 10, conv_layers=2, filters=4, hidden=8, dropout=0.1),
    "cnn, kernel 2": lambda: ConvNet(16, 10, conv_layers=2, filters=4, hidden=8, kernel_size=2, padding=0, fc_layers=3),
    "residual cnn": lambda: ConvNet(16, 10, conv_layers=2, filters=4, hidden=8, residual=True, batch_norm=True),
    "resnet18": lambda: Headed(ResNet("resnet18", side=16), 10),
}


@pytest.mark.parametrize("name", NETS)
def test_nets_give_logits_and_a_gradient_to_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = NETS[name]()
    images = make_images(Path(), image_size=16).train.inputs[0][:6]

    logits = model(images)
    torch.autograd.backward(functional.cross_entropy(logits, torch.arange(6)))

    assert logits.shape == (6, 10)
    assert all(p.grad is not None for p in model.parameters())


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pth")

    with pytest.raises(UserError, match="not the weights of this net"):
        ResNet("resnet18", side=32, weights=tmp_path / "weights.pth")


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


def test_features_of_a_frozen_net_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "faces", "real", "fake", count=5)
    values = {"data": "faces", "method": "linear_probe", "weights": "random", "image_size": 16}
    settings = make_spec("images_transfer", values, 0).settings
    device = torch.device("cpu")
    first = images_transfer.build(settings, 0, Sources(tmp_path), device)  # type: ignore[arg-type] # of this task
    monkeypatch.setattr(images_transfer, "_features", lambda *_: pytest.fail("computed again"))

    again = images_transfer.build(settings, 1, Sources(tmp_path), device)  # type: ignore[arg-type] # of this task

    assert torch.equal(first.train.samples.inputs[0], again.train.samples.inputs[0])
    assert first.train.samples.inputs[0].shape[1] == 512


def test_learning_rates_make_no_difference_to_what_has_no_gradient() -> None:
    ids = {make_spec("images_transfer", {"method": "xgboost", "lr": lr}, 0).run_id for lr in (0.1, 0.01)}

    assert len(ids) == 1


def test_weights_that_are_missing_are_a_sentence(tmp_path: Path) -> None:
    write_images(tmp_path / "faces", "real", "fake")
    spec = make_spec("images_transfer", {"data": "faces", "backbone": "resnet34", "image_size": 16}, 0)
    sources = Sources(tmp_path)

    if staging.find("resnet34", tmp_path) is None:
        with pytest.raises(UserError, match=r"expected resnet34-b627a593\.pth in"):
            images_transfer.build(spec.settings, 0, sources, torch.device("cpu"))  # type: ignore[arg-type]
    assert spec.settings.assets() == ("resnet34",)


def test_layers_that_leave_nothing_of_the_image_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing of 32 pixels"):
        make_spec("cifar10", {"conv_layers": 6}, 0)
