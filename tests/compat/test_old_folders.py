"""Grid folders that commit a218e91 wrote are read, judged and continued as it did; README.md says
what is in them.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FOLDERS, EXPECTED = HERE / "folders", HERE / "expected"
GRIDS = ("digits", "points", "stopped", "broken", "packs")
OLD_HOST, OLD_RUNS = "node1", "/home/ann/runs"

# Meant for people: these may be said in other words, but not left out.
WORDS = {
    "advice",
    "caption",
    "command",
    "detail",
    "evidence",
    "message",
    "notes",
    "outage",
    "title",
    "waits",
    "why",
}
WORDS |= {"best_at_edge", "folder", "time"}  # sentences; where and when the test runs
CAUSES_IN_WORDS = (
    "retry-stopped.json",
    "retry-broken.json",
)  # their `cause` is the title of a group of failures
PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SILENT = '#!/bin/sh\necho "error: Unable to contact slurm controller" >&2\nexit 1\n'
MEASURED = {"seconds"}  # how long an epoch took
PLAIN_ARITHMETIC = {  # as when the numbers were recorded: none depends on what the processor can do
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Haswell",
}
# Relative, of the same numbers on another processor: sums that BLAS takes in another order, and
# training.
LAST_DIGITS, TRAINED = 1e-12, 1e-6


class OldRuns:
    """A copy of the recorded folders, on this host as they were on theirs, with a Slurm that does
    not answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "runs"
        self.programs = folder / "programs"
        shutil.copytree(FOLDERS, self.folder)
        for pattern in ("*/lock/*", "*/*/attempts/*", "*/journal.jsonl"):
            for path in self.folder.glob(pattern):
                path.write_text(path.read_text().replace(OLD_HOST, socket.gethostname()))
        for path in self.folder.glob("*/*/attempts/*"):
            last_heartbeat = (
                int(json.loads(path.read_text())["since"]) + 3
            )  # as in record.sh: git keeps no times
            os.utime(path, (last_heartbeat, last_heartbeat))
        self.programs.mkdir()
        for name in PROGRAMS:
            (self.programs / name).write_text(SILENT)
            (self.programs / name).chmod(0o755)
        self.environment = {
            **os.environ,
            **PLAIN_ARITHMETIC,
            "ANLP_RUNS": str(self.folder),
            "ANLP_DATA": str(folder / "data"),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }

    def call(self, *argv: str, **environment: str) -> str:
        """What a program printed; fails where its exit code is not 0."""
        done = subprocess.run(
            argv,
            cwd=REPOSITORY,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, *words: str) -> str:
        """What `python -m words` printed."""
        return self.call(sys.executable, "-m", *words)

    def states(self, grid: str) -> dict[str, str]:
        """The state of each run of a grid, by id."""
        return {
            run["id"]: run["state"]
            for run in json.loads(self.python("jobs.status", grid, "--json"))["runs"]
        }


@pytest.fixture
def old(tmp_path: Path) -> OldRuns:
    return OldRuns(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["jobs", "analysis"])
def test_commands_answer_as_before(old: OldRuns, tmp_path: Path, package: str) -> None:
    answers = tmp_path / "answers"
    old.call(sys.executable, str(HERE / "answers.py"), package, str(old.folder), str(answers))
    names = [words[0] for words in _commands() if words[1].startswith(f"{package}.")]

    differences = [line for name in names for line in _differences(EXPECTED / name, answers / name)]
    assert not differences, "\n".join(differences)


@pytest.mark.slow
def test_stopped_runs_continue_to_the_numbers_of_before(old: OldRuns) -> None:
    begun = {
        path.parent.name: path.read_text().splitlines()
        for path in old.folder.glob("stopped/*/metrics.jsonl")
    }
    local = ("--on", "local", "--device", "cpu", "--slots", "1", "-q", "-y")
    old.python("jobs.submit", str(old.folder / "stopped" / "grid.yaml"), *local)
    old.python("jobs.retry", "stopped", *local)

    assert set(old.states("stopped").values()) == {"done"}
    expected = sorted((EXPECTED / "continued").glob("*.jsonl"))
    assert len(expected) == 6
    for path in expected:
        metrics = old.folder / "stopped" / path.stem / "metrics.jsonl"
        kept = begun.get(path.stem, [])[:-1]  # the last may be of an epoch that no checkpoint has
        assert metrics.read_text().splitlines()[: len(kept)] == kept, f"{path.stem} began again"
        assert not list(_unlike(path.stem, _epochs(path), _epochs(metrics), rel=TRAINED))


@pytest.mark.slow
def test_a_job_script_that_waited_through_the_update_still_runs(old: OldRuns) -> None:
    waiting = [run for run, state in old.states("packs").items() if state == "queued"]
    script = old.folder / "packs" / "batches" / "1.slurm" / "job.sh"
    text = script.read_text().replace(OLD_RUNS, str(old.folder))
    script.write_text(text.replace("/home/ann/anlp/.venv/bin/python", sys.executable))
    task = {"SLURM_JOB_ID": "3", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "2"}
    old.call("bash", str(script), "0", **task)

    states = old.states("packs")
    assert [states[run] for run in waiting] == ["done", "done"]


@pytest.mark.slow
def test_a_finished_grid_is_not_submitted_again(old: OldRuns) -> None:
    journal = old.folder / "points" / "journal.jsonl"
    before = journal.read_bytes()
    old.python("jobs.submit", str(old.folder / "points" / "grid.yaml"), "--on", "local", "-q", "-y")

    assert journal.read_bytes() == before


@pytest.mark.slow
def test_reports_and_claims_know_the_old_runs(old: OldRuns) -> None:
    old.python("analysis.report", "digits")
    old.python("analysis.claims", str(HERE / "claims.toml"))

    report = (old.folder / "digits" / "report" / "report.md").read_text()
    assert "96.244" in report
    assert (old.folder / "digits" / "report" / "report.html").stat().st_size > 10_000


def test_what_is_recorded_is_neutral() -> None:
    recorded = [path for path in (*FOLDERS.rglob("*"), *EXPECTED.rglob("*")) if path.is_file()]

    assert {path.name for path in FOLDERS.iterdir()} == set(GRIDS)
    assert sum(path.stat().st_size for path in recorded) < 800_000
    for path in FOLDERS.glob("*/*/attempts/*.json"):
        assert json.loads(path.read_text())["host"] == OLD_HOST


def _commands() -> list[list[str]]:
    lines = (HERE / "commands.txt").read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _differences(expected: Path, found: Path) -> Iterator[str]:
    """What is not as it was in an answer; names may be added, and sentences may say it in other
    words.
    """
    if not found.exists():
        yield f"{expected.name}: there is no such answer"
        return
    host = socket.gethostname()
    new_text = found.read_text().replace(f"@{host}", f"@{OLD_HOST}")
    new_text = new_text.replace(f'"host": "{host}"', f'"host": "{OLD_HOST}"')
    old_text = expected.read_text()
    if expected.suffix == ".csv":
        yield from _unlike_rows(expected.name, _rows(old_text), _rows(new_text))
        return
    skipped = WORDS | {"cause"} if expected.name in CAUSES_IN_WORDS else WORDS
    yield from _unlike(expected.name, json.loads(old_text), json.loads(new_text), skipped)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def _unlike_rows(
    where: str, old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]
) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{where}: {len(old)} rows became {len(new)}"
    for number, (one, other) in enumerate(zip(old, new, strict=False), start=2):
        for column in one.keys() - WORDS:
            if not _is_same(_number(one[column]), _number(other.get(column)), LAST_DIGITS):
                yield f"{where}:{number}: {column}: {one[column]} became {other.get(column)}"


def _unlike(
    where: str, old: Any, new: Any, skipped: set[str] = WORDS, rel: float = LAST_DIGITS
) -> Iterator[str]:
    """The places where `new` is not `old`, which may lack names that `new` has."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old:
            if name not in new:
                yield f"{where}.{name}: is gone"
            elif name not in skipped:
                yield from _unlike(f"{where}.{name}", old[name], new[name], skipped, rel)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _unlike(f"{where}[{number}]", one, other, skipped, rel)
    elif not _is_same(old, new, rel):
        yield f"{where}: {old!r:.200} became {new!r:.200}"


def _is_same(old: Any, new: Any, rel: float) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=rel, abs_tol=1e-15)
    return type(old) is type(new) and bool(old == new)


def _number(cell: str | None) -> float | str | None:
    """The number in a cell; a cell that is none, as it is."""
    try:
        return float(cell or "")
    except ValueError:
        return cell


def _epochs(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]
