"""Copies of a project's code: what they hold, what they cost, and that they are whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from jobs.common.git import project_commit, work_tree
from jobs.programs import snapshot as snapshot_module
from jobs.programs.snapshot import Snapshot, take_snapshot
from tests.support.paths import ROOT


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    allowed = ["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]
    argv = ["git", "-C", str(folder), *identity, *allowed, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, text: str = "x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("train.py", "lib/model.py", "lib/__init__.py", ".gitignore"):
        write(folder / name, f"# {name}\n")
    write(folder / ".gitignore", "data/\n*.pt\n")
    return folder


@pytest.fixture
def repository(project: Path) -> Path:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "first")
    return project


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "study" / "code"


def names(found: Snapshot) -> list[str]:
    assert found.folder is not None
    return sorted(
        str(path.relative_to(found.folder))
        for path in found.folder.rglob("*")
        if path.is_symlink() or path.is_file()
    )


CODE = [".gitignore", "lib/__init__.py", "lib/model.py", "train.py"]


def test_git_copies_the_work_tree_as_it_is_now(repository: Path, store: Path) -> None:
    write(repository / "train.py", "# edited, not committed\n")
    write(repository / "new.py")
    write(repository / "größe 1.py")
    write(repository / "data/big.bin")
    write(repository / "model.pt")
    write(repository / "lib/__pycache__/model.pyc")
    write(repository / "wandb/run/logs.txt")
    write(repository / "env/pyvenv.cfg")
    write(repository / "env/lib/package.py")
    (repository / "lib/__init__.py").unlink()

    found = take_snapshot(repository, "git", store)

    assert names(found) == [".gitignore", "größe 1.py", "lib/model.py", "new.py", "train.py"]
    assert found.folder is not None
    assert (found.folder / "train.py").read_text() == "# edited, not committed\n"
    assert found.folder.parent == store
    assert (found.files, found.bytes, found.notes) == (5, 54, ())


def test_git_copies_the_files_of_submodules(repository: Path, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other / "layers.py")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "first")
    git(repository, "submodule", "add", "-q", str(other), "vendor/other")
    write(repository / "vendor/other/edited.py")

    found = take_snapshot(repository, "git", store)

    assert {"vendor/other/layers.py", "vendor/other/edited.py"} <= set(names(found))
    assert not any(".git/" in name for name in names(found))


def test_a_part_of_a_work_tree_is_a_project_too(repository: Path, store: Path) -> None:
    found = take_snapshot(repository / "lib", "git", store)

    assert names(found) == ["__init__.py", "model.py"]


def test_files_copies_all_but_tools_results_and_environments(project: Path) -> None:
    store = project / "results" / "study" / "code"
    for name in ("runs/study/a.json", "wandb/a", ".venv/a.py", "lib/__pycache__/a.pyc"):
        write(project / name)
    write(project / "my_environment/pyvenv.cfg")
    write(project / "my_environment/lib/a.py")
    write(project / "results/old/journal.jsonl")
    write(project / "results/old/0123/log.txt")
    write(project / ".git", "gitdir: elsewhere\n")
    write(project / "data/small.csv")

    first = take_snapshot(project, "files", store)
    second = take_snapshot(project, "files", store)

    assert names(first) == [".gitignore", "data/small.csv", *CODE[1:]]
    assert first.digest == second.digest  # the copy itself is no code


def test_none_copies_nothing(project: Path, store: Path) -> None:
    found = take_snapshot(project, "none", store)

    assert found.folder is None
    assert not store.exists()
    assert found.sentence == "no code copy: queued runs start the files as they are then"


def test_git_without_a_work_tree_says_what_to_use(project: Path, store: Path) -> None:
    with pytest.raises(UserError) as refused:
        take_snapshot(project, "git", store)

    assert "is not a work tree that git can list" in str(refused.value)
    assert "use snapshot: files" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unchanged_code_is_copied_once(repository: Path, store: Path) -> None:
    first = take_snapshot(repository, "git", store)
    before = sorted(path.stat().st_ctime_ns for path in store.rglob("*"))
    os.utime(repository / "train.py")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")

    second = take_snapshot(repository, "git", store)

    assert (second.folder, second.digest) == (first.folder, first.digest)
    assert second.new_bytes == 0
    assert sorted(path.stat().st_ctime_ns for path in store.rglob("*")) == before
    assert first.sentence == f"code copy {first.digest}: 4 files of 55 B, 55 B of them new"
    assert second.sentence == f"code copy {first.digest}: 4 files of 55 B, nothing new"


def test_equal_files_of_two_copies_are_one_but_never_the_users(
    repository: Path, store: Path
) -> None:
    first = take_snapshot(repository, "git", store).folder
    write(repository / "train.py", "# 2\n")
    second = take_snapshot(repository, "git", store).folder

    assert first is not None
    assert second is not None
    assert first != second
    assert (first / "lib/model.py").samefile(second / "lib/model.py")
    assert not (first / "lib/model.py").samefile(repository / "lib/model.py")
    assert (first / "train.py").read_text() == "# train.py\n"


def test_copies_are_read_only_and_keep_the_mark_of_executables(
    repository: Path, store: Path
) -> None:
    (repository / "train.py").chmod(0o755)

    folder = take_snapshot(repository, "git", store).folder

    assert folder is not None
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("train.py", *CODE)}
    umask = os.umask(0)
    os.umask(umask)
    assert modes["train.py"] == 0o555 & ~umask
    assert modes["lib/model.py"] == 0o444 & ~umask
    (repository / "train.py").chmod(0o644)
    assert take_snapshot(repository, "git", store).folder != folder  # it could not be started


def test_links_inside_stay_and_links_outside_are_said(
    project: Path, store: Path, tmp_path: Path
) -> None:
    write(tmp_path / "elsewhere/data.bin")
    (project / "inside").symlink_to("lib/model.py")
    (project / "absolute").symlink_to(project / "lib")
    (project / "outside").symlink_to("../elsewhere")

    found = take_snapshot(project, "files", store)

    assert found.folder is not None
    assert (found.folder / "inside").readlink() == Path("lib/model.py")
    assert (found.folder / "absolute").readlink() == Path("lib")
    assert (found.folder / "outside/data.bin").read_text() == "x\n"
    assert found.notes == (
        f"outside is a link to {tmp_path / 'elsewhere'}, outside of {project}: the code copy has "
        "the link, not what it points to",
    )


def test_too_much_names_what_is_large_and_what_to_do(repository: Path, store: Path) -> None:
    write(repository / "raw/2024/images.bin", "x" * 40_000)
    write(repository / "logs/a.txt", "x" * 9_000)
    write(repository / "logs/b.txt", "x" * 9_000)
    write(repository / "notes.md", "x" * 3_000)

    with pytest.raises(UserError) as refused:
        take_snapshot(repository, "git", store, limit_bytes=50_000)

    assert str(refused.value) == (
        f"{repository}: the copy of the code would hold 59.6 KiB, more than the limit of "
        "48.8 KiB; the largest: raw/2024/images.bin (39.1 KiB), logs/ (17.6 KiB), notes.md "
        "(2.9 KiB). What is no code: name it in .gitignore, raise the limit with "
        "`snapshot_limit: 10MB`; or `snapshot: none`: then editing changes queued runs"
    )
    assert not store.exists()
    assert take_snapshot(repository, "git", store, limit_bytes=70_000).files == 8


def test_too_many_files_are_refused_too(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "MAX_FILES", 3)

    with pytest.raises(UserError, match="4 files, more than 3; the largest: lib/ "):
        take_snapshot(project, "files", store)


def test_a_file_that_cannot_be_read_is_named(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuse(path: Path, mode: str = "r") -> object:
        if path.name == "train.py":  # the administrator, who may run this, can read every file
            raise PermissionError(13, "Permission denied")
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(UserError, match=r"train\.py: cannot be read for the code copy"):
        take_snapshot(project, "files", store)


def test_pipes_and_vanished_files_are_left_out(repository: Path, store: Path) -> None:
    os.mkfifo(repository / "pipe")
    (repository / "gone").symlink_to("nowhere")

    assert names(take_snapshot(repository, "git", store)) == sorted([*CODE, "gone"])


def test_a_file_system_without_hard_links_gets_copies(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    folder = take_snapshot(project, "files", store).folder

    assert folder is not None
    assert (folder / "train.py").read_text() == "# train.py\n"
    assert not (folder / "train.py").stat().st_mode & 0o222


def test_a_content_that_changes_while_it_is_copied_is_one_or_the_other(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "_copy", _edit_first(project, snapshot_module._copy))

    found = take_snapshot(project, "files", store)

    assert found.folder is not None
    assert (found.folder / "train.py").read_text() == "# edited meanwhile\n"
    assert take_snapshot(project, "files", store).folder == found.folder


def _edit_first(project: Path, copy: object) -> object:
    def edited(*arguments: object) -> object:
        write(project / "train.py", "# edited meanwhile\n")
        assert callable(copy)
        return copy(*arguments)

    return edited


def _take(project: Path, store: Path) -> Path | None:
    return take_snapshot(project, "files", store).folder


def test_submits_at_the_same_time_share_one_copy(project: Path, store: Path) -> None:
    for number in range(200):
        write(project / f"many/{number}.py", f"{number}\n")

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        folders = set(pool.starmap(_take, [(project, store)] * 8))

    assert len(folders) == 1
    assert sorted(os.listdir(store)) == sorted([snapshot_module.OBJECTS, folders.pop().name])  # type: ignore[union-attr]  # a copy has a folder


def test_a_killed_submit_leaves_no_half_copy(project: Path, store: Path) -> None:
    for number in range(300):
        write(project / f"many/{number}.py", f"{number}\n" * 50)
    code = (
        "import sys; from pathlib import Path; from jobs.programs.snapshot import take_snapshot\n"
        "print('ready', flush=True)\n"
        "take_snapshot(Path(sys.argv[1]), 'files', Path(sys.argv[2]))\n"
    )
    for delay_s in (0.0, 0.01, 0.03, 0.06):
        argv = [sys.executable, "-c", code, str(project), str(store)]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(delay_s)
            child.send_signal(signal.SIGKILL)

        whole = [path for path in store.glob("*") if not path.name.startswith(".")]
        for folder in whole:
            assert len(list(folder.rglob("*.py"))) == 303

    found = take_snapshot(project, "files", store)
    assert found.files == 304
    assert len(names(found)) == 304
    assert found.folder is not None
    assert (found.folder / "many/7.py").read_text() == "7\n" * 50


def test_what_killed_submits_left_is_removed_later(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = store / ".draft-0123" / "tree"
    write(left / "train.py")
    take_snapshot(project, "files", store)
    assert left.exists()  # another submit may be at work on it

    monkeypatch.setattr(snapshot_module, "LEFT_OVER_S", -1.0)
    write(project / "train.py", "# 2\n")
    take_snapshot(project, "files", store)

    assert not left.parent.exists()


def test_a_file_of_the_store_that_a_power_cut_emptied_is_written_again(
    project: Path, store: Path
) -> None:
    first = take_snapshot(project, "files", store)
    assert first.folder is not None
    for kept in (store / snapshot_module.OBJECTS).rglob("*-f"):
        kept.unlink()
        kept.touch()
    write(project / "more.py")

    second = take_snapshot(project, "files", store)

    assert second.folder is not None
    assert (second.folder / "train.py").read_text() == "# train.py\n"


def test_ten_thousand_files_would_take_seconds(tmp_path: Path, store: Path) -> None:
    project = tmp_path / "large"
    for number in range(2_000):
        path = project / f"{number % 100}/{number}.py"
        if number < 100:
            path.parent.mkdir(parents=True)
        path.write_text(f"{number}\n")

    began = time.process_time()
    take_snapshot(project, "files", store)
    copied = time.process_time()
    again = take_snapshot(project, "files", store)

    assert again.files == 2_000
    assert copied - began < 3.0  # a fifth of ten thousand; 0.5 on a quiet machine
    assert time.process_time() - copied < 1.5


def test_the_commit_of_a_project_says_whether_its_files_differ(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert project_commit(repository) == head
    assert work_tree(repository / "lib") == repository
    assert work_tree(repository.parent) is None
    assert project_commit(repository.parent) == ""

    write(repository / "runs/study/result.json")
    assert project_commit(repository, without=[repository / "runs", Path("/else")]) == head
    assert project_commit(repository / "lib") == head
    write(repository / "lib/new.py")
    assert project_commit(repository) == head + "+dirty"
    assert project_commit(repository / "lib") == head + "+dirty"
