"""`--retries` and `--stop-after` on PBS, where no command waits beside the jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from anlp.console.command import run_command
from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import RunState
from anlp.tasks import make_spec
from jobs import status
from jobs.runs.options import SubmitOptions
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Cause
from jobs.submission.launch import submit_specs
from tests.support.quick_runner import call_submit
from tests.support.schedulers.pbs import fake_pbs
from tests.support.submits import wait_until

pytestmark = pytest.mark.slow

GRID = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 1}
grid: {lr: [0.1, 0.03, 0.01]}
resources: {time: 30m}
wandb: {mode: disabled}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    commands = fake_pbs.install(tmp_path / "site", slots=1)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    yield tmp_path / "site"
    fake_pbs.close(tmp_path / "site")


def settle(folder: GridFolder, site: Path) -> list[RunStatus]:
    """Where the runs stand once every job has ended."""
    pbs = fake_pbs.Site(site, fake_pbs.CONFIG)
    wait_until(lambda: all(map(pbs.is_over, pbs.jobs())), lambda: "they run for ever")
    return list(read_states(folder, registry.states).values())


def test_what_waits_behind_too_many_alike_failures_never_begins(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = GridFolder(tmp_path / "runs" / "study")
    settings = {"data": "mnist", "epochs": 1, "train_samples": 64, "hidden": 8}
    specs: list[RunSpec] = [make_spec("mnist", settings, seed) for seed in range(5)]
    options = RunOptions(
        data_dir=str(tmp_path / "nowhere"), stop_after=2, wandb=WandbOptions(mode="disabled")
    )

    submit_specs(folder, specs, SubmitOptions(on="pbs", options=options), redo="none")
    found = settle(folder, site)
    run_command(lambda: status.main(["study"]))

    assert Counter((one.state, one.cause) for one in found) == {
        (RunState.FAILED, None): 2,
        (RunState.INTERRUPTED, Cause.SKIPPED): 3,
    }
    assert len(list(folder.path.glob("*/attempts"))) == 2
    assert "held back: 2 runs in a row failed with" in capsys.readouterr().out
    assert [call[0] for call in fake_pbs.calls(site) if call[0] != "qstat"] == ["qsub"]
    last = folder.batches / "1.out" / "0.4.log"
    assert last.read_text().endswith(": held back: too many runs failed alike\n")  # without Python


def test_runs_that_their_machine_ended_are_repeated_by_later_submits_and_not_for_ever(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(GRID)
    profile = tmp_path / "site.yaml"
    profile.write_text("modules: [no/such]\ndefaults: {time: 30m}\n")
    folder = GridFolder(tmp_path / "runs" / "study")
    plans = []

    for _ in range(4):
        capsys.readouterr()
        assert call_submit(file, "--on", "pbs", "--profile", str(profile), "--retries", "2") == 0
        plans.append(capsys.readouterr().out)
        found = settle(folder, site)

    assert {(one.state, one.cause) for one in found} == {(RunState.LOST, Cause.NOT_STARTED)}
    assert len([call for call in fake_pbs.calls(site) if call[0] == "qsub"]) == 3
    assert ["their machines ended them" in plan for plan in plans] == [False, True, True, False]


def test_a_job_whose_node_was_lost_goes_on_by_itself_and_is_no_retry(
    site: Path, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(GRID)
    folder = GridFolder(tmp_path / "runs" / "study")
    assert call_submit(file, "--on", "pbs", "--retries", "1") == 0
    job = site / "jobs" / "1"
    wait_until(lambda: (job / "0.json").exists(), lambda: "nothing begins")
    (job / "lose.0").touch()

    found = settle(folder, site)

    assert {one.state for one in found} == {RunState.DONE}
    assert len([call for call in fake_pbs.calls(site) if call[0] == "qsub"]) == 1
