"""Before a submission the image is started as its jobs will start it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from jobs.containers.apptainer import Bind, Container
from jobs.containers.trial import check_start

CAPABILITIES = (
    "\x1b[91mERROR  : Requesting capability set 0x1ffffffffff while permitted capability set is "
    "0x1fffeffffff\x1b[0m"
)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    """An image, and a folder for programs before the machine's own."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()
    bind = Bind(tmp_path, tmp_path)
    return Container(tmp_path / "anlp.sif", binds=(bind,), cwd=tmp_path, has_gpus=True)


def answer(folder: Path, line: str) -> None:
    """Let apptainer note its words and the environment, and then do this."""
    path = folder / "bin" / "apptainer"
    note = f"""printf '%s\\n' "$@" >{folder}/words; env >{folder}/env"""
    path.write_text(f"#!/bin/sh\n{note}\n{line}\n")
    path.chmod(0o755)


def test_it_is_started_with_the_words_and_the_environment_of_a_job(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, "exit 0")
    monkeypatch.setenv("WANDB_MODE", "offline")

    check_start(container)

    words = (tmp_path / "words").read_text().splitlines()
    expected = container.exec_argv("sh")[1:]
    assert tuple(words[: len(expected)]) == expected
    assert "APPTAINERENV_WANDB_MODE=offline" in (tmp_path / "env").read_text().splitlines()


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (CAPABILITIES, 1, "this machine lacks rights: export APPTAINER_USERNS=1"),
        ('FATAL:   "python": executable file not found in $PATH', 255, 'would not start: "python'),
        ("ModuleNotFoundError: No module named 'anlp'", 1, "put this checkout over it with --live"),
        ("", 7, "jobs in it would not start: exit code 7"),
    ],
)
def test_what_would_end_every_job_is_one_sentence_before_the_submission(
    container: Container, tmp_path: Path, said: str, code: int, words: str
) -> None:
    answer(tmp_path, f"printf '%s\\n' {shlex.quote(said)} >&2; exit {code}")

    with pytest.raises(UserError) as raised:
        check_start(container)

    assert words in str(raised.value)
    assert str(raised.value).startswith(f"container: {tmp_path}/anlp.sif: ")
    assert str(raised.value).isprintable()


def test_where_only_nodes_start_images_it_can_be_left_out(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, "exit 1")
    monkeypatch.setenv("ANLP_IMAGE_CHECK", "off")

    check_start(container)

    assert not (tmp_path / "words").exists()
