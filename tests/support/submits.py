"""Real submits of tiny grids in processes of their own, and a look at what they leave on disk and
running.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.records.files import read_json, read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import RunState
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers import registry

PATIENCE_S = 600.0  # a bound on tests that hang, not on a busy machine
TINY = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 2}
grid: {lr: [0.1, 0.01], optimizer: [sgd, adam]}
wandb: {mode: disabled}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A grid file and the root that its runs go to."""

    file: Path
    root: Path
    extra: tuple[tuple[str, str], ...] = ()  # of the environment

    @property
    def folder(self) -> GridFolder:
        """The grid's folder."""
        return GridFolder(self.root / self.file.stem)

    @property
    def environment(self) -> dict[str, str]:
        """What a submit in this place is started with."""
        return {**os.environ, "ANLP_RUNS": str(self.root), "COLUMNS": "200", **dict(self.extra)}

    def start(
        self, *words: str, module: str = "jobs.submit", **options: Any
    ) -> subprocess.Popen[str]:
        """A submit in a session of its own, that is not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", module, str(self.file), *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def submit(self, *words: str, module: str = "jobs.submit") -> Ended:
        """A submit, to its end."""
        process = self.start(*words, module=module)
        out, err = process.communicate(timeout=PATIENCE_S)
        return Ended(process.returncode, out, err)

    def table(self) -> list[dict[str, str]]:
        """The rows of the grid's results table, without the seconds that they took."""
        rows = csv.DictReader(
            io.StringIO(self._run("analysis.tables", self.file.stem, "--format", "csv"))
        )
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    def _run(self, module: str, *words: str) -> str:
        argv = [sys.executable, "-m", module, *words]
        return subprocess.run(
            argv, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def states(self) -> dict[str, RunStatus]:
        """Where the runs stand."""
        return read_states(self.folder, registry.states, remember=False)

    def counts(self) -> dict[RunState, int]:
        """How many runs are in each state."""
        states = [status.state for status in self.states().values()]
        return {state: states.count(state) for state in RunState if state in states}

    def runs(self) -> list[RunFolder]:
        """The folders of all runs that ever began."""
        return [
            self.folder.run(path.parent.name)
            for path in sorted(self.folder.path.glob("*/attempts"))
        ]

    def processes(self) -> list[int]:
        """Living processes that were started for this root: submits, pools, workers."""
        wanted = f"ANLP_RUNS={self.root}".encode()
        return [
            pid
            for pid in _pids()
            if pid != os.getpid() and wanted in _environment(pid).split(b"\0")
        ]

    def wait_until_alone(self) -> None:
        """Returns when no process of this root is left.

        Raises:
            AssertionError: some stay; the text says which.
        """
        wait_until(
            lambda: not self.processes(),
            lambda: f"left behind: {[_command(pid) for pid in self.processes()]}",
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def is_plain(self) -> bool:
        """No traceback anywhere."""
        return "Traceback" not in self.out + self.err


def make_place(folder: Path, text: str = TINY, *, name: str = "tiny.yaml", **extra: str) -> Place:
    """A grid file with this text, and an empty root beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return Place(folder / name, folder / "runs", tuple(extra.items()))


def children_of(pid: int) -> list[int]:
    """Pids of the children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Sends a signal; False where the process had just ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def wait_until(
    is_so: Callable[[], bool],
    what: Callable[[], str],
    timeout_s: float = 300.0,
    *,
    pause_s: float = 0.01,
) -> None:
    """Returns when `is_so`; fails with `what` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, what()
        time.sleep(pause_s)


def attempts_of(run: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's attempts, in order."""
    return [json.loads(path.read_text()) for path in sorted(run.attempts.glob("*.json"))]


def numbers_of(place: Place) -> dict[str, Any]:
    """All that must not depend on what happened on the way, by run."""
    return {run.run_id: _numbers(run) for run in place.runs()}


def _numbers(run: RunFolder) -> tuple[Any, ...]:
    result: Mapping[str, Any] = read_json(run.result) or {}
    kept = {name: value for name, value in result.items() if name not in ("seconds", "provenance")}
    lines = [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in read_metrics(run.metrics)
    ]
    return kept, lines


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the content of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()  # empty for a zombie
    except OSError:
        return b""


def _command(pid: int) -> str:
    try:
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().decode()}"
    except OSError:
        return str(pid)
