"""Files of a folder that several people write to: the umask decides, links lead nowhere."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anlp.core.files import (
    AppendedFile,
    UnwritableError,
    append_whole,
    create_whole,
    make_folder,
    read_at_most,
    write_whole,
)
from anlp.records import circuit_breaker
from anlp.records.folders import GridFolder
from anlp.records.results import RunError
from anlp.runtime.redirect import output_to
from anlp.tracking.jsonl import JsonlTracker
from jobs.runs.journal import Journal
from tests.support.paths import ROOT

NOBODY = 65534
APPENDERS: dict[str, Callable[[Path], object]] = {
    "append_whole": lambda path: append_whole(path, b"line\n"),
    "AppendedFile": lambda path: AppendedFile(path).write(b"line\n"),
    "log": lambda path: output_to(path).__enter__(),
    "metrics": lambda path: JsonlTracker(path).log({"loss": 1.0}, 0),
    "journal": lambda path: Journal(GridFolder(path.parent)).answered("tag"),
}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_that_is_appended_to_is_writable_by_the_group_where_the_umask_says_so(
    tmp_path: Path, umask: None
) -> None:
    append_whole(tmp_path / "a", b"x")
    AppendedFile(tmp_path / "b").close()
    Journal(GridFolder(tmp_path)).answered("tag")
    error = RunError("ValueError", "bad", "")
    for run in ("r1", "r2"):
        circuit_breaker.note(tmp_path / "1.jsonl", run, error, stop_after=2)

    found = {path.name: oct(mode_of(path)) for path in tmp_path.iterdir()}
    assert found == dict.fromkeys(("a", "b", "journal.jsonl", "1.ended", "1.tripped"), "0o664")


@pytest.mark.parametrize("name", ["append_whole", "AppendedFile", "journal"])
def test_a_planted_link_is_not_followed(name: str, tmp_path: Path) -> None:
    target = tmp_path / "of-another"
    target.write_text("precious\n")
    planted = tmp_path / "grid" / "journal.jsonl"
    planted.parent.mkdir()
    planted.symlink_to(target)

    with pytest.raises(UnwritableError) as raised:
        APPENDERS[name](planted)

    assert raised.value.errno == errno.ELOOP
    assert raised.value.filename == str(planted)
    assert target.read_text() == "precious\n"


def test_a_planted_link_as_a_log_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "of-another"
    (tmp_path / "log.txt").symlink_to(target)

    with pytest.raises(UnwritableError), output_to(tmp_path / "log.txt"):
        pass

    assert not target.exists()


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.txt")

    with pytest.raises(UnwritableError, match="expected a plain file"):
        append_whole(tmp_path / "log.txt", b"line\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a link of another user")
def test_a_folder_behind_a_link_of_another_user_is_not_written_to(tmp_path: Path) -> None:
    target = tmp_path / "home"
    target.mkdir()
    link = tmp_path / "run"
    link.symlink_to(target)
    make_folder(link)  # an own one is followed
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)

    with pytest.raises(UnwritableError, match="a symbolic link that another user made"):
        make_folder(link)


def test_a_link_to_nothing_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "gone")

    with pytest.raises(UnwritableError, match="a symbolic link to nothing"):
        make_folder(tmp_path / "runs")


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"half')

    append_whole(path, b"{}\n")

    assert path.read_bytes() == b'{"half\n{}\n'


@pytest.mark.parametrize("write", [write_whole, create_whole])
def test_what_cannot_be_written_names_its_file_and_not_its_draft(
    write: Callable[[Path, bytes], object], tmp_path: Path
) -> None:
    path = tmp_path / "gone" / "result.json"

    with pytest.raises(UnwritableError) as raised:
        write(path, b"{}")

    assert raised.value.filename == str(path)


def test_a_file_without_an_end_is_read_up_to_the_limit(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert len(read_at_most(Path("/dev/zero"), 100_000)) == 100_001
    assert read_at_most(tmp_path / "pipe", 10) == b""


# Opens for writing that are safe: what they open is private, or was just created by this process.
WRITES_ALLOWED = {
    "anlp/core/files.py",
    "anlp/core/lease.py",  # O_EXCL, and O_NOFOLLOW within a lease of its own
    "anlp/console/stdio.py",  # /dev/null
    "anlp/datasets/catalogue.py",  # a draft with a random name
    "jobs/programs/functions.py",  # a private file of mkstemp
    "jobs/programs/function_bootstrap.py",  # the same file
    "jobs/programs/snapshot.py",  # in a draft folder with a random name
}
OPENS_FOR_WRITING = re.compile(
    r"""open\([^)]*["'](?:[wax]b?\+?|ab|wb|xb|r\+b?)["']|os\.open\(|write_text\(|write_bytes\(|mkstemp|"""
    r"""NamedTemporaryFile|\.touch\("""
)


def test_no_module_opens_files_for_writing_by_itself() -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in ("anlp", "jobs", "analysis")
        for path in (ROOT / package).rglob("*.py")
        if any(
            OPENS_FOR_WRITING.search(line) and "O_RDONLY" not in line and "fdopen(d" not in line
            for line in path.read_text().splitlines()
        )
    }

    assert found <= WRITES_ALLOWED
