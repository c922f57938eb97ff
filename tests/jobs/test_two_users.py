"""Two real users of one group share a grid: they join, wait for, cancel and continue runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from tests.support.submits import PATIENCE_S, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="needs root and setpriv, to be two users",
    ),
]

FIRST, SECOND, GROUP = 64001, 64002, 64000
# Python may be installed where other users may not look: reading is allowed, writing is not.
READS = "-all,+dac_read_search"
# /proc as on many clusters: it hides the processes of other users
HIDING = ("unshare", "-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh")
GRID = """\
task: mnist
fixed: {data: digits, epochs: 1, hidden: 8, train_samples: 128}
grid: {lr: [0.1, 0.01]}
wandb: {mode: disabled}
"""


@dataclass(frozen=True)
class Shared:
    """A folder of a group, in which files go to the group."""

    path: Path

    @property
    def folder(self) -> GridFolder:
        return GridFolder(self.path / "runs" / "g")

    def start(self, user: int, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        argv = [*before, "setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups"]
        argv += [f"--inh-caps={READS}", f"--ambient-caps={READS}", f"--bounding-set={READS}"]
        home = str(self.path / str(user))
        return subprocess.Popen(
            [*argv, sys.executable, "-m", *words],
            cwd=self.path,
            env={**os.environ, "ANLP_RUNS": str(self.path / "runs"), "HOME": home},
            umask=0o002,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, user: int, *words: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
        process = self.start(user, *words, before=before)
        said = process.communicate(timeout=PATIENCE_S)[0]
        return process.returncode, said


@pytest.fixture
def shared() -> Iterator[Shared]:
    # not in tmp_path, which only its owner may enter
    path = Path(tempfile.mkdtemp(prefix="group-"))
    try:
        (path / "g.yaml").write_text(GRID)
        for user in (FIRST, SECOND):
            (path / str(user)).mkdir()
            os.chown(path / str(user), user, GROUP)
        os.chown(path, 0, GROUP)
        path.chmod(0o2775)
        yield Shared(path)
    finally:
        shutil.rmtree(path)


def test_a_second_user_joins_a_grid_and_all_its_files_are_of_the_group(shared: Shared) -> None:
    code, said = shared.run(
        FIRST, "jobs.submit", "g.yaml", "--on", "local", "-q", "--only", "lr=0.1"
    )
    assert code == 0, said

    code, said = shared.run(SECOND, "jobs.submit", "g.yaml", "--on", "local", "-q")

    assert code == 0, said
    assert "  done              1" in said
    owners = {path.stat().st_uid for path in shared.folder.path.iterdir()}
    assert owners == {FIRST, SECOND}
    closed = [
        path
        for path in shared.folder.path.rglob("*")
        if not path.stat().st_mode & stat.S_IWGRP or path.stat().st_gid != GROUP
    ]
    assert closed == []
    assert (
        shared.run(FIRST, "jobs.submit", "g.yaml", "--on", "local", "-q", "--replace", "-y")[0] == 0
    )


def test_the_runs_of_another_user_are_waited_for_cancelled_and_continued(shared: Shared) -> None:
    long = shared.path / "g.yaml"
    long.write_text(GRID.replace("epochs: 1,", "epochs: 100000,"))
    first = shared.start(FIRST, "jobs.submit", "g.yaml", "--on", "local")
    try:
        wait_until(
            lambda: len(list(shared.folder.path.glob("*/metrics.jsonl"))) == 2,
            lambda: "no run began",
            60.0,
        )

        code, said = shared.run(SECOND, "jobs.submit", "g.yaml", "--on", "local", "-q")
        assert (code, "nothing to submit: 2 running" in said) == (0, True), said
        code, said = shared.run(SECOND, "jobs.status", "g", before=HIDING)
        assert "  2 running" in said, said

        code, said = shared.run(SECOND, "jobs.cancel", "g", "-y")
        assert (code, "asked 2 running runs to stop" in said) == (0, True), said
        assert "2 interrupted" in first.communicate(timeout=PATIENCE_S)[0]
        code, said = shared.run(SECOND, "jobs.submit", "g.yaml", "--on", "local", "-n")
        assert "  interrupted       2" in said, said
    finally:
        first.kill()
        first.wait()
