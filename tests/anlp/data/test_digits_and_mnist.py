from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest
import torch

from anlp.core.errors import UserError
from anlp.data import DatasetCache, Samples, mnist
from anlp.data.digits import load_digits
from anlp.data.mnist import load_mnist, parse_idx, read_idx
from anlp.datasets import catalogue
from anlp.records.elements import Element
from anlp.records.options import RunOptions
from anlp.tasks import make_spec


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "IMAGES", {"train": 20, "t10k": 10})


def write_mnist(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        images = idx((count, 28, 28), bytes(count * 784))
        folder.joinpath(f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        folder.joinpath(f"{part}-labels-idx1-ubyte").write_bytes(
            idx((count,), bytes(k % 10 for k in range(count)))
        )


@pytest.mark.slow  # importing scikit-learn
def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="compares with scikit-learn: pip install '.[train]'"
    )
    expected = datasets.load_digits()

    data = load_digits()

    images = torch.cat([data.train.inputs[0], data.test.inputs[0]]).flatten(1)
    labels = torch.cat([data.train.targets[0], data.test.targets[0]])
    rows = sorted(map(tuple, torch.cat([images, labels.unsqueeze(1)], 1).tolist()))
    assert rows == sorted(
        (*map(int, row), int(label))
        for row, label in zip(expected.data, expected.target, strict=True)
    )


def test_digits_are_split_by_class_and_never_otherwise() -> None:
    data = load_digits()

    counts = data.test.targets[0].bincount()
    shares = counts / (counts + data.train.targets[0].bincount())
    assert (len(data.train), len(data.test)) == (1442, 355)
    assert shares.min() > 0.19
    assert shares.max() <= 0.2
    assert data.test.targets[0][:10].tolist() == load_digits().test.targets[0][:10].tolist()


def test_digits_constants_are_those_of_the_images() -> None:
    data = load_digits()
    images = torch.cat([data.train.inputs[0], data.test.inputs[0]]).double()

    assert data.mean == pytest.approx(images.mean().item())
    assert data.std == pytest.approx(images.std(correction=0).item())


@pytest.mark.usefixtures("few")
def test_idx_files_are_read_packed_and_plain(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")

    data = load_mnist(tmp_path)

    assert data.train.inputs[0].shape == (20, 1, 28, 28)
    assert data.test.targets[0].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "expected it to begin with 00 00 08"),
        (b"\x00\x00\x0d\x01" + bytes(8), "got 00 00 0d"),
        (b"\x00\x00\x08\x03\x00", "cut short within its header"),
        (idx((2, 3), bytes(5)), "expected 6 values, got 5"),
    ],
)
def test_damaged_idx_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_idx(content)


def test_damaged_file_is_a_sentence_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx((2, 3), bytes(6)))[:-9])

    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: not a readable idx file"):
        read_idx(path)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "train-labels-idx1-ubyte",
            idx((19,), bytes(19)),
            r"expected the shape \(20,\), got \(19,\)",
        ),
        (
            "train-labels-idx1-ubyte",
            idx((20,), bytes([17] * 20)),
            "expected labels from 0 to 9, got 17",
        ),
        (
            "t10k-images-idx3-ubyte",
            idx((10, 14, 56), bytes(7840)),
            r"expected the shape \(10, 28, 28\), got \(10, 14",
        ),
        (
            "t10k-images-idx3-ubyte",
            idx((10,), bytes(10)),
            r"expected the shape \(10, 28, 28\), got \(10,\)",
        ),
        ("t10k-images-idx3-ubyte", idx((20, 28, 28), bytes(15680)), r"got \(20, 28, 28\)"),
        ("t10k-labels-idx1-ubyte", idx((0,), b""), r"expected the shape \(10,\), got \(0,\)"),
    ],
)
def test_files_of_another_set_are_refused_by_name(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / name).write_bytes(content)

    with pytest.raises(
        UserError, match=rf"{name}: .*{sentence}.*; remove it, and submit downloads it again"
    ):
        load_mnist(tmp_path)


def test_sources_load_once_and_leave_faults_to_the_run(tmp_path: Path) -> None:
    datasets = DatasetCache(tmp_path)
    specs = tuple(make_spec("mnist", {"data": name}, 0) for name in ("digits", "mnist"))

    datasets.preload_elements([Element(specs, RunOptions())])

    digits, files = (spec.settings.data_key() for spec in specs)
    assert datasets.get(digits) is datasets.get(digits)
    with pytest.raises(UserError, match="expected train-images-idx3-ubyte"):
        datasets.get(files)


def test_gather_takes_inputs_and_targets_in_the_order_asked() -> None:
    samples = Samples((torch.arange(5), torch.arange(5) * 10), (torch.arange(5) * 100,))

    batch = samples.gather(torch.tensor([3, 1]))

    assert [tensor.tolist() for tensor in (*batch.inputs, *batch.targets)] == [
        [3, 1],
        [30, 10],
        [300, 100],
    ]


def test_real_mnist_loads() -> None:
    data_dir = Path(os.environ.get("ANLP_DATA", "data"))
    if catalogue.find("mnist", data_dir) is None:
        pytest.skip(
            "no MNIST files: set ANLP_DATA to a folder with "
            "mnist/train-images-idx3-ubyte.gz and the others"
        )

    data = DatasetCache(data_dir).get(make_spec("mnist", {"data": "mnist"}, 0).settings.data_key())

    images = data.train.inputs[0]
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert images.double().mean().item() == pytest.approx(data.mean)
    assert images.double().std(correction=0).item() == pytest.approx(data.std)
    assert data.train.targets[0].bincount().argmax() == 1
    assert (data.test.targets[0] == 1).sum() == 1135
