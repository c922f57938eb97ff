from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anlp.console.command import run_command


def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "journal.jsonl"
    path.mkdir()

    assert run_command(lambda: len(path.read_text())) == 2

    said = capsys.readouterr().err
    assert said == f"{path}: Is a directory; move that folder away: a file is expected\n"


def test_a_full_disk_under_the_screen_is_one_sentence() -> None:
    code = (
        "import sys; from anlp.console.command import run_command; "
        "sys.exit(run_command(lambda: print('x') or 0))"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert done.returncode == 2
    assert done.stderr == "output: No space left on device; free space on that disk\n"


def test_other_errors_of_the_system_are_ours() -> None:
    def refuse() -> int:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        run_command(refuse)
