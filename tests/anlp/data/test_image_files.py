"""Which files of a folder are images, and what is said of the others."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anlp.core.errors import UserError
from anlp.data.images import load_image_folder
from anlp.data.samples import DataSet


def write(folder: Path, count: int = 5, ending: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.full((6, 6, 3), 10 * number, np.uint8)
        kind = {".jfif": "JPEG", ".tif": "TIFF"}.get(ending)
        Image.fromarray(pixels).save(folder / f"{number}{ending}", kind)


def load(data: Path) -> DataSet:
    return load_image_folder(data, "pets", image_size=6)


def pets(data: Path) -> Path:
    """Two classes in two parts."""
    for part in ("train", "test"):
        for kind in ("a", "b"):
            write(data / "pets" / part / kind)
    return data / "pets"


def test_a_class_that_is_a_link_is_a_class(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    write(tmp_path / "elsewhere", 10)
    for part in ("train", "test"):
        (folder / part / "c").symlink_to(tmp_path / "elsewhere")

    found = load(tmp_path)

    assert found.names == ("a", "b", "c")
    assert (len(found.train), len(found.test)) == (20, 20)


def test_parts_and_the_data_set_may_be_links_too(tmp_path: Path) -> None:
    pets(tmp_path / "store")
    (tmp_path / "real").mkdir()
    for part in ("train", "test"):
        (tmp_path / "real" / part).symlink_to(tmp_path / "store" / "pets" / part)
    (tmp_path / "pets").symlink_to(tmp_path / "real")

    assert len(load(tmp_path).train) == 10


def test_images_that_are_replaced_behind_a_link_are_decoded_again(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    write(tmp_path / "elsewhere", 5)
    for part in ("train", "test"):
        (folder / part / "c").symlink_to(tmp_path / "elsewhere")
    load(tmp_path)
    write(tmp_path / "elsewhere", 8)

    assert len(load(tmp_path).train) == 18


def test_a_link_to_a_folder_above_is_no_endless_walk(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    (folder / "train" / "a" / "up").symlink_to(folder)

    assert len(load(tmp_path).train) == 10


@pytest.mark.parametrize("place", ["train/c", "train/a/c", "notes"])
def test_a_link_to_nothing_is_named(tmp_path: Path, place: str) -> None:
    folder = pets(tmp_path)
    (folder / place).symlink_to(tmp_path / "purged")

    with pytest.raises(UserError, match=rf"pets/{place}: a link to nothing"):
        load(tmp_path)


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".jfif", ".ppm", ".pgm", ".TIF"])
def test_every_kind_of_image_is_read(tmp_path: Path, ending: str) -> None:
    folder = pets(tmp_path)
    for part in ("train", "test"):
        write(folder / part / "c", ending=ending.lower())
        for path in list((folder / part / "c").iterdir()):
            path.rename(path.with_suffix(ending))

    found = load(tmp_path)

    assert found.names == ("a", "b", "c")
    assert len(found.train) == 15


@pytest.mark.parametrize("has_parts", [True, False])
def test_a_class_of_files_that_cannot_be_read_is_not_dropped(
    tmp_path: Path, has_parts: bool
) -> None:
    folder = pets(tmp_path) / ("train" if has_parts else "")
    if not has_parts:
        for kind in ("a", "b"):
            write(tmp_path / "plain" / kind)
        folder = folder.rename(tmp_path / "old") and (tmp_path / "plain").rename(folder)
    (folder / "c").mkdir()
    for number in range(3):
        (folder / "c" / f"{number}.heic").write_bytes(b"x")

    with pytest.raises(UserError, match=r"/c: none of its 3 files \(3 \.heic\) can be read"):
        load(tmp_path)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    (folder / "train" / "c").mkdir()

    with pytest.raises(UserError, match=r"train/c: no images in it"):
        load(tmp_path)


def test_files_that_are_left_out_are_counted_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pets(tmp_path)
    (folder / "labels.csv").write_text("x")
    (folder / "train" / "a" / "0.heic").write_text("x")
    (folder / "train" / "a" / "1.heic").write_text("x")
    (folder / ".DS_Store").write_text("x")

    for _ in range(2):  # computed, and from what is kept
        load(tmp_path)
        said = capsys.readouterr().err
        assert f"note: {folder}: 3 files (2 .heic, 1 .csv) left out, which are no images" in said


def test_nothing_is_said_where_nothing_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pets(tmp_path)

    load(tmp_path)

    assert capsys.readouterr().err == ""


def test_images_beside_the_archive_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pets(tmp_path)
    with tarfile.open(folder / "images.tar.gz", "w:gz") as archive:
        for part in ("train", "test"):
            archive.add(folder / part, part)

    load(tmp_path)

    assert "20 images left out, those of images.tar.gz are read" in capsys.readouterr().err


def test_links_in_an_archive_are_read_or_refused(tmp_path: Path) -> None:
    folder = pets(tmp_path / "store")
    (folder / "train" / "a" / "9.png").symlink_to("0.png")
    (tmp_path / "pets").mkdir()
    packed = tmp_path / "pets" / "images.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for part in ("train", "test"):
            archive.add(folder / part, part)
    assert len(load(tmp_path).train) == 11

    (folder / "train" / "c").symlink_to("a")
    with tarfile.open(packed, "w:gz") as archive:
        for part in ("train", "test"):
            archive.add(folder / part, part)
    with pytest.raises(UserError, match=r"train/c is a link; pack with tar --dereference"):
        load(tmp_path)


def test_an_image_beside_the_classes_is_named(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        write(tmp_path / "pets" / kind)
    write(tmp_path / "pets", 1)

    with pytest.raises(UserError, match=r"pets/0\.png: beside the folders of classes"):
        load(tmp_path)


def test_fractions_without_a_range_are_refused(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    image = Image.fromarray(np.full((6, 6), 0.5, np.float32))
    image.save(folder / "train" / "a" / "x.tif", "TIFF")

    with pytest.raises(UserError, match=r"x\.tif: .* fractions of no known range"):
        load(tmp_path)
