"""Which image the tests take: never one of other code, and none that another user put there or
still uses.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.apptainer import image
from tests.support.apptainer.image import IN_USE_S, MOST_KEPT, checksum, too_many


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (
        "anlp/a.py",
        "containers/build.sh",
        "containers/README.md",
        "grids/x.yaml",
        "setup.cfg",
        ".gitignore",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("*.pyc\n" if name == ".gitignore" else "1\n")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["anlp/a.py", "anlp/not in git yet.py", "containers/build.sh", "setup.cfg"]
)
def test_a_change_of_what_goes_in_needs_a_new_image(checkout: Path, name: str) -> None:
    before = checksum(checkout)
    (checkout / name).write_text("2\n")

    assert checksum(checkout) != before


def test_a_file_that_is_gone_needs_a_new_image(checkout: Path) -> None:
    before = checksum(checkout)
    (checkout / "anlp" / "a.py").unlink()

    assert checksum(checkout) != before


@pytest.mark.parametrize("name", ["grids/x.yaml", "containers/README.md", "anlp/a.pyc"])
def test_a_change_of_anything_else_does_not(checkout: Path, name: str) -> None:
    before = checksum(checkout)
    (checkout / name).write_text("2\n")

    assert checksum(checkout) == before


def test_images_that_tests_still_use_are_kept_however_many_there_are(tmp_path: Path) -> None:
    now = 1e9
    for number in range(MOST_KEPT + 3):
        path = tmp_path / f"anlp-{number}.sif"
        path.touch()
        os.utime(path, (0, now + number - (0 if number else 2 * IN_USE_S)))

    assert too_many(tmp_path, now) == [tmp_path / "anlp-0.sif"]
    assert too_many(tmp_path, now + 2 * IN_USE_S) == [
        tmp_path / f"anlp-{number}.sif" for number in range(3)
    ]


def test_images_in_a_folder_that_others_may_write_to_are_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "CACHE", tmp_path)
    tmp_path.chmod(0o777)

    with pytest.raises(
        pytest.fail.Exception, match="others may write there; name another place: ANLP_IMAGE_CACHE"
    ):
        image._locked("build").__enter__()
