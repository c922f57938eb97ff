"""Which image a submission takes: command line, grid, profile, and what the last submission
took.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import ContainerOptions, RunOptions
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.runs.journal import Journal
from jobs.runs.options import SubmitOptions, last_options
from jobs.schedulers.base import Batch
from jobs.submission.arguments import add_submit_arguments, override, read_overrides


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images in the current folder, and a profile that names one of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("typed.sif", "grid.sif", "site.sif"):
        Path(name).touch()
    Path("site.yaml").write_text("scheduler: slurm\ncontainer: site.sif\nbinds: [/usr/share]\n")
    return tmp_path


def chosen(grid: str | None, *words: str) -> str | None:
    """Name of the image, with what goes over it."""
    parser = argparse.ArgumentParser()
    add_submit_arguments(parser)
    image = override(SubmitOptions(container=grid), read_overrides(parser.parse_args(words))).image
    return None if image is None else image.path.name + (" live" if image.is_live else "")


@pytest.mark.parametrize(
    ("grid", "words", "name"),
    [
        (None, [], None),
        ("grid.sif", [], "grid.sif"),
        ("grid.sif", ["--container", "typed.sif"], "typed.sif"),
        ("grid.sif", ["--profile", "site.yaml"], "grid.sif"),
        (None, ["--profile", "./site.yaml"], "site.sif"),
        ("", ["--profile", "./site.yaml"], None),
        ("grid.sif", ["--no-container"], None),
        (None, ["--profile", "./site.yaml", "--no-container"], None),
        ("grid.sif", ["--live"], "grid.sif live"),
    ],
)
def test_the_command_line_goes_before_the_grid_and_the_grid_before_the_profile(
    images: Path, grid: str | None, words: list[str], name: str | None
) -> None:
    assert chosen(grid, *words) == name


def test_the_binds_of_the_profile_go_with_any_image(images: Path) -> None:
    parser = argparse.ArgumentParser()
    add_submit_arguments(parser)

    image = override(
        SubmitOptions(container="grid.sif"),
        read_overrides(parser.parse_args(["--profile", "./site.yaml"])),
    ).image

    assert image is not None
    assert (image.path, image.binds) == (images / "grid.sif", ("/usr/share",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--live"],
            "--live: puts this checkout's code over an image's; name one with --container",
        ),
        (["--live", "--no-container"], "--no-container: contradicts --container and --live"),
        (
            ["--container", "gone.sif"],
            r"gone.sif from where the command is typed\): no "
            r"such image; containers/build.sh builds one",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(images: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        chosen(None, *words)


@pytest.mark.parametrize("mode", ["baked", "live"])
def test_a_retry_takes_the_image_of_the_last_submission(images: Path, mode: str) -> None:
    image = ContainerOptions(str(images / "grid.sif"))
    folder = GridFolder(images / "study")
    submit(folder, RunOptions(container=replace(image, mode="live") if mode == "live" else image))

    target = last_options(folder)

    assert (target.container, target.is_live) == (str(images / "grid.sif"), mode == "live")


def test_a_retry_of_bare_runs_is_bare_under_any_profile(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path / "study")
    submit(folder, RunOptions())

    assert last_options(folder).container == ""


def submit(folder: GridFolder, options: RunOptions) -> None:
    """What a submission leaves in the journal and the batch file."""
    folder.batches.mkdir(parents=True, exist_ok=True)
    path = folder.batches / "1.jsonl"
    write_jsonl(path, [Element((make_spec("mnist", {}, 0),), options).to_json()])
    Journal(folder).intend(
        Batch("0123456789ab", "study", path, 1), "local", "none", Resources(), Resources()
    )
