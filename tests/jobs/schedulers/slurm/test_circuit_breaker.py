"""Canaries, too many failures in a row and a retry in a real Slurm, without a command that waits
beside the jobs.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import RunState
from anlp.tasks import make_spec
from jobs import retry
from jobs.config.resources import Resources
from jobs.runs.options import SubmitOptions
from jobs.runs.status import RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Cause
from jobs.submission.launch import submit_specs
from tests.support.schedulers.slurm.cluster import PATIENCE_S, Cluster

pytestmark = pytest.mark.slow
OFF = WandbOptions(mode="disabled")


def a_run(seed: int, data: str = "digits") -> RunSpec:
    return make_spec("mnist", {"data": data, "epochs": 1, "train_samples": 64, "hidden": 8}, seed)


def settled(folder: GridFolder) -> list[RunStatus]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = list(read_states(folder, registry.states).values())
        if not any(status.state.is_active for status in found):
            return found
        assert time.monotonic() < deadline, (
            f"not ended: {Counter(status.state for status in found)}"
        )
        time.sleep(0.5)


def test_what_waits_behind_too_many_alike_failures_never_begins(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = GridFolder(tmp_path / "runs" / "study")
    specs = [a_run(seed, "mnist") for seed in range(6)]  # there is no such data in this place
    options = RunOptions(data_dir=str(tmp_path / "nowhere"), stop_after=2, wandb=OFF)

    submit_specs(
        folder, specs, SubmitOptions(on="slurm", options=options, max_parallel=1), redo="none"
    )
    found = settled(folder)

    assert Counter(status.state for status in found) == {
        RunState.FAILED: 2,
        RunState.INTERRUPTED: 4,
    }
    causes = {status.cause for status in found if status.state is RunState.INTERRUPTED}
    assert (
        Cause.CANCELLED in causes <= {Cause.CANCELLED, Cause.SKIPPED}
    )  # off the queue, or as soon as it began
    assert len(list(folder.path.glob("*/attempts"))) == 2


def test_the_rest_begins_behind_canaries_that_passed_and_not_behind_one_that_failed(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = GridFolder(tmp_path / "runs" / "study")
    options = RunOptions(data_dir=str(tmp_path / "nowhere"), wandb=OFF)
    target = SubmitOptions(on="slurm", options=options, canary=True)

    submit_specs(folder, [a_run(0, "mnist"), a_run(1), a_run(2)], target, redo="none")
    first = settled(folder)
    submit_specs(folder, [a_run(0, "mnist"), a_run(1), a_run(2)], target, redo="none")
    second = settled(folder)

    assert [status.state for status in first] == [
        RunState.FAILED,
        RunState.INTERRUPTED,
        RunState.INTERRUPTED,
    ]
    assert {status.cause for status in first[1:]} == {Cause.SKIPPED}
    assert [status.state for status in second] == [RunState.FAILED, RunState.DONE, RunState.DONE]


def test_a_run_that_slurm_killed_for_its_memory_is_to_get_half_as_much_again(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    folder = GridFolder(tmp_path / "runs" / "study")
    target = SubmitOptions(
        on="slurm", options=RunOptions(wandb=OFF), resources=Resources(mem_mib=100)
    )
    submit_specs(folder, [a_run(0)], target, redo="none")
    [status] = settled(folder)
    capsys.readouterr()

    retry.main(["study", "-n", "--json"])

    [remedy] = json.loads(capsys.readouterr().out)["remedies"]
    assert status.cause is Cause.OUT_OF_MEMORY
    assert remedy["action"] == "again with 150 MiB of memory"
    assert [run["resources"]["mem_mib"] for run in remedy["runs"]] == [150]
