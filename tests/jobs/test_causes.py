"""Messages name the true cause: an exception's text becomes advice only where the advice helps."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from analysis.text.output import write_file
from anlp.console.command import run_command
from anlp.core.errors import UserError, describe_import
from anlp.core.files import refuse_unreadable
from anlp.data.mnist import read_idx
from anlp.records.folders import GridFolder
from anlp.runtime import pool
from anlp.tasks import read_element
from anlp.training import checkpoint
from jobs.common import external
from jobs.runs.journal import Journal
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause, JobState, Phase
from tests.support.grids import a_spec, submit


@pytest.mark.parametrize(
    ("text", "says", "says_not"),
    [
        ("raise ImportError('libtorch.so: failed to map segment')", "memory ran out", "pip"),
        (
            "raise ImportError('libcuda.so: wrong ELF class')",
            "cannot be loaded (ImportError",
            "pip",
        ),
        ("raise MemoryError", "memory ran out", "pip"),
        ("raise OSError(24, 'Too many open files')", "Too many open files", "pip"),
        ("import no_such_package.deep", "no_such_package is not installed; pip install", "loaded"),
        ("", "needed_by_runs has no attribute", "pip"),
    ],
)
def test_only_a_missing_package_is_to_be_installed(
    text: str, says: str, says_not: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needed_by_runs.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "needed_by_runs", raising=False)

    with pytest.raises(UserError) as raised:
        pool._resolve("needed_by_runs:attribute")

    assert says.removesuffix(" attribute") in str(raised.value)
    assert says_not not in str(raised.value)


def test_a_package_that_lacks_another_is_not_called_missing() -> None:
    error = ModuleNotFoundError("No module named 'numpy'", name="numpy")

    assert describe_import(error, "xgboost", "boost").startswith("xgboost is installed and cannot")


def test_a_file_that_cannot_be_opened_is_not_to_be_downloaded_again(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read_idx(tmp_path)

    assert str(raised.value).startswith(f"{tmp_path}: cannot be read (Is a directory); ")
    with pytest.raises(UserError, match=r"raise the limit of open files \(ulimit -n\)"):
        refuse_unreadable(tmp_path, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))


def test_a_batch_file_that_cannot_be_read_is_not_called_short(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        read_element(tmp_path / "1.jsonl", 0)


def test_a_checkpoint_is_not_called_damaged_where_memory_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"whole")

    def load(*given: object, **named: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("torch.load", load)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        checkpoint.load_checkpoint(path)


def test_a_command_without_its_interpreter_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sbatch").write_text("#!/no/such/shell\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    answer = external.run(["sbatch"])

    assert (answer.code, answer.err) == (
        external.NOT_STARTED,
        f"{tmp_path}/sbatch: the interpreter in its first line is missing",
    )


@pytest.mark.parametrize("cause", [Cause.LAUNCHER, Cause.UNKNOWN])
def test_a_run_that_was_asked_to_stop_is_cancelled_whatever_saw_its_end(
    cause: Cause, tmp_path: Path
) -> None:
    folder = GridFolder(tmp_path / "demo")
    tag = submit(folder, [a_spec(lr=0.1), a_spec(lr=0.2)])
    Journal(folder).cancel({tag: [1]})

    found = read_states(
        folder, lambda jobs: dict.fromkeys(jobs, JobState(Phase.ENDED, cause, "gone"))
    )

    assert [status.cause for status in found.values()] == [cause, Cause.CANCELLED]


def test_a_link_to_nothing_is_not_to_be_given_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")

    def write() -> int:
        write_file(tmp_path / "out" / "table.md", b"")
        return 0

    assert run_command(write) == 2
    assert "free space" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free space on that disk"),
        (errno.EACCES, "fix the permissions"),
        (errno.EMFILE, "raise the limit of open files (ulimit -n)"),
        (errno.ENOENT, "check that path: a folder of it is missing"),
    ],
)
def test_advice_follows_the_number_of_the_error(
    number: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise OSError(number, os.strerror(number), "/some/file")

    assert run_command(fail) == 2
    assert capsys.readouterr().err == f"/some/file: {os.strerror(number)}; {advice}\n"
