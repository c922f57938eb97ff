"""Which commit runs are said to be of, and when the code is said to differ from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.common import git as git_module
from jobs.common.git import code_commit


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    argv = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("anlp/model.py", "grids/study.yaml", ".gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("*.pyc\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(git_module, "HERE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "mark"),
    [
        (None, ""),
        ("anlp/model.py", "+dirty"),
        ("anlp/not_in_git_yet.py", "+dirty"),
        ("anlp/model.pyc", ""),
        ("grids/study.yaml", ""),
    ],
)
def test_dirty_means_that_the_code_is_not_what_the_commit_says(
    checkout: Path, changed: str | None, mark: str
) -> None:
    if changed:
        (checkout / changed).write_text("2\n")

    assert code_commit() == git(checkout, "rev-parse", "HEAD") + mark


def test_code_that_is_installed_below_another_checkout_is_not_of_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "site-packages").mkdir()
    monkeypatch.setattr(git_module, "HERE", checkout / "site-packages")

    assert code_commit() == ""
