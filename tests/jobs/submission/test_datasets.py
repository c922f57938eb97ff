from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.core.training_settings import TrainingSettings
from anlp.datasets import catalogue
from anlp.tasks import make_spec
from jobs.submission.datasets import with_data
from tests.support.grids import a_spec

MNIST = [a_spec(0, data="mnist", lr=lr) for lr in (0.1, 0.2)]
DIGITS = [a_spec(0, lr=lr) for lr in (0.1, 0.2)]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was to be downloaded, in vain."""
    wanted: list[str] = []

    def refuse(name: str, where: Path) -> None:
        wanted.append(name)
        raise UserError(catalogue.where_to_put(name, where))

    monkeypatch.setattr(catalogue, "stage", refuse)
    return wanted


@pytest.fixture
def said() -> list[str]:
    return []


def put_mnist(where: Path) -> None:
    (where / "mnist").mkdir(parents=True)
    for name in catalogue.CATALOGUE["mnist"].digests:
        (where / "mnist" / name).touch()


def call(
    specs: list[RunSpec],
    where: Path,
    say: Callable[[str], None],
    *,
    fallback: str | None = None,
    download: bool = True,
) -> list[RunSpec]:
    return with_data(specs, fallback, where, download=download, say=say)


def test_embedded_data_is_always_there(tmp_path: Path, offline: list[str], said: list[str]) -> None:
    assert call(DIGITS, tmp_path / "none", said.append) == DIGITS
    assert (offline, said) == ([], [])


def test_data_on_disk_is_not_downloaded(
    tmp_path: Path, offline: list[str], said: list[str]
) -> None:
    put_mnist(tmp_path)

    assert call(MNIST, tmp_path, said.append, fallback="digits") == MNIST
    assert (offline, said) == ([], [])


def test_missing_data_without_a_fallback_names_the_files_and_the_place(
    tmp_path: Path, offline: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        call(MNIST, tmp_path, print)

    assert all(name in str(caught.value) for name in catalogue.CATALOGUE["mnist"].digests)
    assert str(tmp_path / "mnist") in str(caught.value)


def test_what_only_runs_need_that_are_not_wanted_is_not_looked_for(
    tmp_path: Path, offline: list[str]
) -> None:
    put_mnist(tmp_path)
    scratch = make_spec("cifar10", {"data": "made", "model": "cnn"}, seed=0)
    tuned = make_spec("cifar10", {"data": "made", "model": "resnet18", "pretrained": True}, seed=0)
    where, only_scratch = tmp_path / "none", lambda spec: spec is scratch

    runs = with_data(
        [scratch, tuned], None, where, download=True, say=print, is_wanted=only_scratch
    )

    assert (runs, offline) == ([scratch, tuned], [])
    with pytest.raises(UserError, match="resnet18"):
        with_data([scratch, tuned], None, where, download=True, say=print)


def test_a_run_is_wanted_also_if_only_its_fallback_is(tmp_path: Path, offline: list[str]) -> None:
    ids = {spec.run_id for spec in DIGITS}

    runs = with_data(
        MNIST,
        "digits",
        tmp_path,
        download=True,
        say=print,
        is_wanted=lambda spec: spec.run_id in ids,
    )

    assert ([run.run_id for run in runs], offline) == ([run.run_id for run in DIGITS], ["mnist"])


def test_the_fallback_is_said_in_one_loud_line_and_is_part_of_what_the_runs_are(
    tmp_path: Path, offline: list[str], said: list[str]
) -> None:
    runs = call(MNIST, tmp_path, said.append, fallback="digits")

    assert [run.run_id for run in runs] == [run.run_id for run in DIGITS]
    assert len(said) == 1
    assert "ITS RUNS USE digits INSTEAD" in said[0]
    assert offline == ["mnist"]  # asked for once, not per run


def test_runs_that_the_grid_had_already_are_not_doubled_by_the_fallback(
    tmp_path: Path, offline: list[str]
) -> None:
    assert len(call([*DIGITS, *MNIST], tmp_path, lambda _: None, fallback="digits")) == 2


def test_looking_only_downloads_nothing_and_says_what_submitting_would_do(
    tmp_path: Path, offline: list[str], said: list[str]
) -> None:
    assert call(MNIST, tmp_path, said.append, fallback="digits", download=False) == MNIST
    assert offline == []
    assert said == [f"note: mnist is not in {tmp_path}; submit would download it"]


def test_looking_for_a_folder_of_the_users_own_promises_no_download(
    tmp_path: Path, said: list[str]
) -> None:
    faces = [make_spec("images_transfer", {"method": "scratch"}, 0)]

    assert call(faces, tmp_path, said.append, download=False) == faces
    assert said == [f"note: faces is not in {tmp_path}; put it there before submitting"]


def test_a_data_folder_that_cannot_be_written_is_missing_data(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match="put them there or set ANLP_DATA"):
        call(MNIST, tmp_path / "file", print)


class WineSettings(TrainingSettings):
    data: str = "wine"
    loaders: ClassVar[Mapping[str, str]] = {
        "wine": "somewhere:load_wine",
        "": "somewhere:load_table",
    }


def test_data_that_a_task_has_a_loader_for_needs_no_files_if_none_are_published(
    tmp_path: Path,
) -> None:
    embedded, own = (RunSpec("wine", WineSettings(data=name), 0) for name in ("wine", "cellar"))

    assert call([embedded], tmp_path, print) == [embedded]
    with pytest.raises(UserError, match="data cellar: neither a known data set"):
        call([own], tmp_path, print)


def test_a_file_of_the_users_own_is_looked_at_before_anything_is_queued(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("long,lat,label\n1,2,a\n1,x,a\n")
    runs = [make_spec("points", {"data": "map.csv", "lr": lr}, 0) for lr in (0.1, 0.2)]

    with pytest.raises(UserError, match=r"map.csv:3: lat: expected a number, got 'x'"):
        call(runs, tmp_path, print)


def test_a_folder_of_recordings_is_looked_at_before_anything_is_queued(tmp_path: Path) -> None:
    for name in ("0_a_0.wav", "1_b_0.wav", "1_c_0.wav"):
        (tmp_path / "own" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "own" / name).touch()
    fits, fits_not = (
        make_spec("spoken_digits", {"data": "own", "features": "mel", "test_speaker": who}, 0)
        for who in "ad"
    )

    assert call([fits], tmp_path, print) == [fits]
    with pytest.raises(UserError, match=r"own: test_speaker: expected one of a, b, c, got 'd'"):
        call([fits, fits_not], tmp_path, print)


def test_weights_with_another_content_are_refused_before_anything_is_submitted(
    tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "weights" / "resnet18-f37072fd.pth"
    path.parent.mkdir()
    path.write_bytes(b"half of it")
    run = make_spec("cifar10", {"data": "made", "model": "resnet18", "pretrained": True}, 0)

    for download in (True, False):
        with pytest.raises(
            UserError,
            match=r"resnet18-f37072fd.pth: not the published file .*; remove it and submit",
        ):
            call([run], tmp_path, said.append, download=download)
