"""How often each command calls the scheduler's programs: docs/for-admins.md promises these
numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunResult
from jobs import cancel, explain, logs, retry, status
from tests.support.processor_time import processor_s
from tests.support.quick_runner import call_submit
from tests.support.schedulers.pbs import fake_pbs
from tests.support.schedulers.slurm import fake_slurm

GRID = (
    "task: mnist\nfixed: {{data: digits, epochs: 10}}\ngrid: "
    "{{lr: {{logspace: [1.0e-5, 0.1, {n}]}}}}\n"
)

Calls = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ANLP_DATA", str(tmp_path / "data"))
    for name in ("SLURM_JOB_ID", "PBS_JOBID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def slurm(root: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A Slurm of which every task runs; what it was asked since the last time."""
    monkeypatch.setenv("PATH", str(fake_slurm.install(root / "slurm")), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    return lambda: fake_slurm.take_calls(root / "slurm")


@pytest.fixture
def pbs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """A PBS that starts nothing and takes arrays of ten."""
    commands = fake_pbs.install(root / "site", held=True, max_array_size=10)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it

    def calls() -> list[str]:
        names = [call[0] for call in fake_pbs.calls(root / "site")]
        (root / "site" / "calls").unlink(missing_ok=True)
        return names

    yield calls
    fake_pbs.close(root / "site")


def submit(root: Path, n: int, *words: str) -> None:
    """Submits a grid of `n` runs."""
    file = root / "many.yaml"
    file.write_text(GRID.format(n=n))
    assert call_submit(file, "--yes", *words) == 0


def some_run(root: Path) -> str:
    line = next(read_jsonl(root / "runs" / "many" / "batches" / "1.jsonl"))
    run_id: str = line["specs"][0]["run_id"]
    return run_id


@pytest.mark.slow
def test_commands_on_slurm_keep_to_their_budget(
    root: Path, slurm: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(root, 30, "--on", "slurm")
    assert slurm() == ["scontrol", "sbatch"]
    status.main(["many"])
    assert slurm() == ["squeue"]
    for look in (status, logs, explain):
        look.main(["many", *([] if look is status else [some_run(root)])])
    assert slurm() == []
    status.main(["many", "--fresh"])
    assert slurm() == ["squeue"]
    submit(root, 30, "--on", "slurm")
    assert slurm() == ["squeue"]
    submit(root, 30, "--on", "slurm", "-n")
    assert slurm() == ["squeue"]
    retry.main(["many"])
    assert slurm() == ["squeue"]
    cancel.main(["many", "--yes"])
    assert slurm() == ["squeue", "scancel"]


@pytest.mark.slow
def test_commands_on_pbs_keep_to_their_budget(
    root: Path, pbs: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(root, 30, "--on", "pbs")
    assert [name for name in pbs() if name == "qsub"] == ["qsub"] * 3
    status.main(["many"])
    assert pbs() == ["qstat"]
    logs.main(["many", some_run(root)])
    assert pbs() == []
    submit(root, 30, "--on", "pbs")
    assert pbs() == ["qstat"]
    cancel.main(["many", "--yes"])
    assert pbs() == ["qstat", "qstat", "qdel", "qstat"]


def test_the_scheduler_is_looked_for_once(root: Path, slurm: Calls) -> None:
    submit(root, 3)

    assert slurm() == ["scontrol", "scontrol", "sbatch"]  # a ping, the limits, the array


def test_a_grid_that_is_finished_asks_no_scheduler(
    root: Path, slurm: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(root, 3, "--on", "slurm")
    folder = GridFolder(root / "runs" / "many")
    for line in read_jsonl(folder.batches / "1.jsonl"):
        run = folder.run(line["specs"][0]["run_id"])
        run.path.mkdir()
        run.result.write_text(json.dumps(RunResult(run.run_id, Outcome.OK).to_json()))
    slurm()

    status.main(["many"])
    submit(root, 3, "--on", "slurm")

    assert slurm() == []


def test_nothing_is_written_for_a_run_before_it_starts(root: Path, slurm: Calls) -> None:
    submit(root, 30, "--on", "slurm")

    files = {
        str(path.relative_to(root / "runs" / "many"))
        for path in (root / "runs" / "many").rglob("*")
    }

    assert len([name for name in files if not name.startswith("lock")]) == 6
    assert {"batches/1.jsonl", "batches/1.slurm/job.sh", "grid.yaml", "journal.jsonl"} < files


@pytest.mark.slow
def test_ten_thousand_runs_are_ten_calls_and_seconds(
    root: Path, slurm: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    began = processor_s()
    submit(root, 10_000, "--on", "slurm")
    took = processor_s() - began
    submitted = slurm()
    began = processor_s()
    status.main(["many"])
    looked = processor_s() - began

    assert submitted == ["scontrol"] + ["sbatch"] * 10
    assert slurm() == ["squeue"]
    assert took < 10.0  # processor seconds, beside other work
    assert looked < 4.0
