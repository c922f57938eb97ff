"""Colour images as tensors of bytes: CIFAR-10, and folders with a folder for each class."""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.data.feature_cache import Arrays, cached
from anlp.data.image_files import ENDINGS, LAYOUT, SPLITS, TEST_EVERY, find_images
from anlp.data.samples import DataSet, Samples
from anlp.datasets import catalogue

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

CIFAR_SIDE = 32
CIFAR_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR_TEST = ("test_batch",)
DECODING = 3  # a new number where images are decoded in a new way: kept ones are decoded again
MADE_SIDE, MADE_OF_CLASS = 32, 20


def load_cifar10(data_dir: Path, name: str = "cifar10", *, image_size: int = CIFAR_SIDE) -> DataSet:
    """Load CIFAR-10 from `cifar-10-python.tar.gz`, whose content is checked before it is unpickled.

    Raises:
        UserError: the file is missing or is not the one its authors published.
    """
    files = catalogue.find(name, data_dir)
    if files is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    (path,) = files.values()
    arrays = cached(path, {}, lambda: _read_cifar(path))
    train, test = (
        Samples(
            (_resized(torch.from_numpy(arrays[f"{part}_images"]), image_size),),
            (_classes(arrays, part),),
        )
        for part in SPLITS
    )
    return _data_set(name, train, test, CIFAR_NAMES)


def load_image_folder(data_dir: Path, name: str, *, image_size: int) -> DataSet:
    """Load images under `NAME/train/CLASS/` and `NAME/test/CLASS/`, or `NAME/CLASS/`.

    Without parts, every fifth image of a class is tested. Images under `NAME/val/CLASS/`, if any,
    are the validation set. `NAME/images.tar.gz` may hold these folders instead. Images are turned
    as their camera recorded, laid on white where they are transparent, cut to their central square
    and resized, once. Links to folders are followed. Files that are no images are counted in a
    note; those whose names begin with a dot are ignored.

    Raises:
        UserError: no such folder, no images, fewer than two classes, a class without images or
            without images in one part, images beside the parts, or one that cannot be read.
    """
    found = catalogue.find(name, data_dir)
    if found is None:
        raise UserError(catalogue.where_to_put(name, data_dir))
    folder = found[""]
    options = {"image_size": image_size, "decoding": DECODING}
    arrays = cached(folder, options, lambda: _read_folder(folder, image_size))
    for sentence in arrays["left_out"].tolist():
        print(f"note: {sentence}", file=sys.stderr)
    names = tuple(arrays["names"].tolist())
    parts = {
        part: Samples((torch.from_numpy(arrays[f"{part}_images"]),), (_classes(arrays, part),))
        for part in ("train", "val", "test")
        if f"{part}_images" in arrays
    }
    return _data_set(name, parts["train"], parts["test"], names, parts.get("val"))


def make_images(data_dir: Path, name: str = "made", *, image_size: int = MADE_SIDE) -> DataSet:
    """Make images of ten classes, each with its stripes, for tests and smoke runs."""
    del data_dir
    draw = torch.Generator().manual_seed(0)
    train, test = (_made(image_size, draw) for _ in SPLITS)
    return _data_set(name, train, test, CIFAR_NAMES)


def _data_set(
    name: str, train: Samples, test: Samples, names: tuple[str, ...], val: Samples | None = None
) -> DataSet:
    """Return a data set with mean and standard deviation (C, 1, 1) of the training images."""
    pixels = train.inputs[0]
    total, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for piece in torch.split(pixels, 1024):
        values = piece.double()
        total += values.sum((0, 2, 3))
        squares += values.square().sum((0, 2, 3))
    count = pixels.numel() // 3
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1e-12).sqrt()
    return DataSet(
        name, train, test, names, mean.float().view(3, 1, 1), std.float().view(3, 1, 1), val
    )


def _classes(arrays: Arrays, part: str) -> Tensor:
    return torch.from_numpy(arrays[f"{part}_classes"]).to(torch.int64)


def _resized(images: Tensor, side: int) -> Tensor:
    """Return images as (N, 3, side, side) bytes."""
    if images.shape[-1] == side:
        return images
    from torchvision.transforms.functional import resize  # a second to import

    return torch.cat(
        [resize(piece, [side, side], antialias=True) for piece in torch.split(images, 1024)]
    )


def _read_cifar(path: Path) -> Arrays:
    try:
        catalogue.check(path, catalogue.CATALOGUE["cifar10"].digests["cifar-10-python.tar.gz"])
        with tarfile.open(path) as archive:
            parts = {
                "train": _cifar_batches(archive, CIFAR_TRAIN),
                "test": _cifar_batches(archive, CIFAR_TEST),
            }
    except (OSError, EOFError, tarfile.TarError, KeyError, pickle.UnpicklingError) as error:
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: not the published archive ({error}); remove it and stage the data again"
        ) from error
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}
    for part, (images, classes) in parts.items():
        arrays |= {f"{part}_images": images.numpy(), f"{part}_classes": classes.numpy()}
    return arrays


def _cifar_batches(archive: tarfile.TarFile, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    images, classes = [], []
    for name in names:
        file = archive.extractfile(f"cifar-10-batches-py/{name}")
        if file is None:
            raise KeyError(name)
        batch = pickle.load(file, encoding="latin1")  # noqa: S301 - digest checked
        images.append(torch.from_numpy(batch["data"].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).copy()))
        classes.append(torch.tensor(batch["labels"]))
    return torch.cat(images), torch.cat(classes)


def _read_folder(folder: Path, side: int) -> Arrays:
    parts: dict[str, dict[str, list[Tensor]]] = {part: defaultdict(list) for part in SPLITS}
    images_of, left_out = find_images(folder)
    for part, kind, path, source in images_of:
        parts.setdefault(part, defaultdict(list))[kind].append(_decode(path, source, side))
    _check_classes(folder, parts)
    names = sorted(parts["train"])
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "names": np.array(names),
        "left_out": np.array(left_out, dtype=np.str_),
    }
    for part, classes in parts.items():
        images: list[Tensor] = []
        for name in names:
            images += classes[name]
        counts = [len(classes[name]) for name in names]
        arrays[f"{part}_images"] = torch.stack(images).numpy()
        arrays[f"{part}_classes"] = np.repeat(np.arange(len(names)), counts)
    return arrays


def _check_classes(folder: Path, parts: Mapping[str, Mapping[str, list[Tensor]]]) -> None:
    names = sorted({name for classes in parts.values() for name in classes})
    if len(names) < 2:
        found = f"one class, {names[0]}" if names else "no images"
        raise UserError(
            f"{folder}: {found}; expected {LAYOUT}, with images ({' '.join(sorted(ENDINGS))}) "
            "for two classes or more"
        )
    for part, classes in parts.items():
        missing = [name for name in names if not classes.get(name)]
        if missing == names:
            raise UserError(
                f"{folder}: no {part} images; expected {LAYOUT}, "
                f"or at least {TEST_EVERY} images a class"
            )
        if missing:
            raise UserError(
                f"{folder}: class {missing[0]!r} has no {part} images, but others have; "
                "add some or remove the class"
            )


def _decode(path: Path, source: Path | bytes, side: int) -> Tensor:
    """Decode an image to (3, side, side) bytes: the central square, resized.

    Raises:
        UserError: not an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # comes with torchvision

    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            fitted = ImageOps.fit(_in_colour(image), (side, side))
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path}: not a readable image (of no known kind); remove or replace it"
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        refuse_unreadable(path, error)
        raise UserError(f"{path}: not a readable image ({error}); remove or replace it") from error
    return torch.from_numpy(np.asarray(fitted, dtype=np.uint8).copy()).permute(2, 0, 1).contiguous()


def _in_colour(image: Picture) -> Picture:
    """Return an image upright and in RGB.

    16 bits of grey are scaled (a plain conversion cuts them off), and transparent parts become
    white.
    """
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # I;16 and its kin
        grey = np.asarray(upright, dtype=np.float64)
        scaled = (grey / max(grey.max(), 65535) * 255).clip(0, 255)
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if upright.mode == "F":
        raise ValueError("its pixels are fractions of no known range; save it with 8 or 16 bits")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _made(side: int, draw: torch.Generator) -> Samples:
    count = MADE_OF_CLASS * len(CIFAR_NAMES)
    classes = torch.arange(count) % len(CIFAR_NAMES)
    along = torch.arange(side) / side
    phase = torch.rand(count, 1, generator=draw)
    stripes = torch.sin(2 * torch.pi * ((classes[:, None] + 1) * along + phase))  # (N, side)
    colours = 0.5 + 0.5 * torch.cos(classes[:, None] * torch.tensor([0.7, 1.9, 3.1]))  # (N, 3)
    images = 128 + 100 * stripes[:, None, None, :] * colours[:, :, None, None]  # (N, 3, 1, side)
    noise = 20 * torch.randn(count, 3, side, side, generator=draw)
    return Samples(((images + noise).clamp(0, 255).to(torch.uint8),), (classes,))
