"""How often each command calls Slurm: a budget per command, and the test fails where one is
passed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.records.files import write_json
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunResult
from jobs.runs.batches import Asked, asked_runs
from jobs.runs.journal import Journal
from tests.support.schedulers.slurm import fake_slurm
from tests.support.schedulers.slurm.cluster import Cluster, why_not
from tests.support.schedulers.slurm.command_log import Calls, note_calls

pytestmark = pytest.mark.slow
RUNS = 10_000
PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
PRETENDED, REAL = "a pretended Slurm", "the real one"
QUERY = {"squeue": 1}
QUERY_AND_ACCOUNTS = {"squeue": 1, "sacct": 1}

# What each command may call at most, in the order in which they are tried on one grid of 10,000
# runs; RUN is one of it.
BUDGETS: tuple[tuple[str, str, Mapping[str, int]], ...] = (
    ("plan", "jobs.submit GRID --dry-run", {"scontrol ping": 1}),
    ("submit", "jobs.submit GRID", {"scontrol ping": 1, "scontrol show": 1, "sbatch": 10}),
    ("status", "jobs.status NAME --fresh", QUERY),
    ("status a moment later", "jobs.status NAME", {}),
    ("submit again", "jobs.submit GRID", {"scontrol ping": 1, **QUERY}),
    ("logs", "jobs.logs NAME RUN --fresh", QUERY),
    ("explain", "jobs.explain NAME RUN --fresh", QUERY),
    ("retry with nothing to repeat", "jobs.retry NAME", {"scontrol ping": 1, **QUERY}),
    ("cancel", "jobs.cancel NAME --yes", {"squeue": 2, "scancel": 1}),
    ("status after cancel", "jobs.status NAME --fresh", QUERY_AND_ACCOUNTS),
)
FINISHED = (
    "jobs.status NAME --fresh",
    "jobs.explain NAME RUN --fresh",
    "jobs.retry NAME",
    "jobs.cancel NAME --yes",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A Slurm whose calls are noted, and a grid to submit to it."""

    calls: Calls
    folder: Path
    environment: Mapping[str, str]

    @property
    def grid(self) -> GridFolder:
        return GridFolder(self.folder / "runs" / "many")

    def call(self, line: str) -> tuple[Counter[str], float]:
        """What a command called, and the processor seconds of it and all that it called: others may
        be at work here.
        """
        run = next(iter(self._asked()), "")
        words = [
            {"GRID": "many.yaml", "NAME": "many", "RUN": run}.get(word, word)
            for word in line.split()
        ]
        before = cpu_s()
        argv = [sys.executable, "-m", *words]
        subprocess.run(
            argv, cwd=self.folder, env=dict(self.environment), check=True, stdout=subprocess.DEVNULL
        )
        return self.calls.look(), cpu_s() - before

    def _asked(self) -> Mapping[str, Asked]:
        return asked_runs(self.grid, Journal(self.grid).submissions())

    def finish(self) -> None:
        """Writes a result for every run, as their submission would have had them."""
        for run_id, asked in self._asked().items():
            self.grid.run(run_id).path.mkdir()
            result = RunResult(run_id, Outcome.OK, provenance={"batch": asked.submission.tag})
            write_json(self.grid.run(run_id).result, result.to_json())


def cpu_s() -> float:
    """Processor seconds of all processes that have ended for this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == REAL:
        request.getfixturevalue("cluster")
        programs = {name: f"/usr/bin/{name}" for name in PROGRAMS}
    else:
        commands = fake_slurm.install(tmp_path / "slurm", state="PENDING")
        programs = {name: str(commands / name) for name in PROGRAMS}
    calls = note_calls(tmp_path / "bin", programs)
    own = {"ANLP_RUNS": str(tmp_path / "runs"), "ANLP_ON": "auto"}
    yield Site(
        calls, tmp_path, {**os.environ, **own, "PATH": f"{calls.folder}:{os.environ['PATH']}"}
    )
    if request.param == REAL:
        cancel_jobs_of(request.getfixturevalue("cluster"), tmp_path)


def cancel_jobs_of(cluster: Cluster, folder: Path) -> None:
    """Takes the jobs that were submitted below a folder out of the queue, and no other jobs."""
    lines = [
        line.partition("|") for line in cluster.ask("squeue", "-h", "-o", "%F|%o").splitlines()
    ]
    if ids := {array for array, _, command in lines if str(folder) in command}:
        cluster.ask("scancel", *ids)


def write_grid(folder: Path, runs: int) -> None:
    form = {
        "task": "mnist",
        "fixed": {"data": "digits"},
        "grid": {"model": ["dense", "cnn"], "lr": {"logspace": [1e-5, 1e-1, runs // 10]}},
        "seeds": 5,
        "wandb": {"mode": "disabled"},
        "resources": {"extra": ["--hold"]},
    }
    (folder / "many.yaml").write_text(json.dumps(form))  # JSON is YAML


@pytest.mark.parametrize("site", [PRETENDED if why_not() else REAL], indirect=True)
def test_no_command_passes_its_budget_on_ten_thousand_runs(site: Site) -> None:
    write_grid(site.folder, RUNS)
    used, times = {}, {}
    for name, line, _ in BUDGETS:
        used[name], times[name] = site.call(line)

    print({name: round(seconds, 2) for name, seconds in times.items()})
    assert used["submit"]["sbatch"] == 10
    over = {name: found for name, _, budget in BUDGETS if (found := used[name] - Counter(budget))}
    assert over == {}
    assert (times["submit"] < 10, times["status"] < 4) == (True, True), times


@pytest.mark.parametrize("site", [PRETENDED, REAL], indirect=True)
def test_a_finished_grid_asks_no_scheduler(site: Site) -> None:
    write_grid(site.folder, 20)
    site.call("jobs.submit GRID --on slurm")
    site.finish()

    used = {line: site.call(line)[0] for line in FINISHED}

    assert used == {line: Counter() for line in FINISHED}
