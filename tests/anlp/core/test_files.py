from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anlp.core.files import create_whole, write_whole


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_gets_the_permissions_asked_for_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "open", b"")
        write_whole(tmp_path / "private", b"", mode=0o600)
    finally:
        os.umask(before)

    assert (mode_of(tmp_path / "open"), mode_of(tmp_path / "private")) == (0o640, 0o600)


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_whole_and_no_draft_stays(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "a"

    write_whole(path, b"old", sync=sync)
    write_whole(path, b"new", sync=sync)

    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")

    def refuse(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_only_the_first_creates_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"

    assert create_whole(path, b"first")
    assert not create_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]
