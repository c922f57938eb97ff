"""A smoke test of the Torque dialect: Debian's qsub, qstat and qdel over the real Slurm, with runs
that train.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.journal import Journal, new_tag
from jobs.runs.status import read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Cause, Job, Phase
from jobs.schedulers.pbs.scheduler import PbsScheduler
from jobs.schedulers.pbs.script import Start, output_of
from jobs.schedulers.profiles import load_profile
from tests.support import scripted_elements
from tests.support.quick_runner import call_submit
from tests.support.schedulers.pbs.sites import RUNNER, settle
from tests.support.schedulers.slurm import torque_wrappers
from tests.support.schedulers.slurm.cluster import NODES, PATIENCE_S, Cluster
from tests.support.submits import wait_until

pytestmark = pytest.mark.slow
PROFILE = """\
scheduler: pbs
dialect: torque
max_array_size: 1        # this qsub numbers an array like a job
defaults: {time: 10m, mem: 1G}
"""
GRID = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 2}
grid: {lr: [0.1, 0.01], optimizer: [sgd]}
wandb: {mode: disabled}
"""


@dataclass(frozen=True, slots=True)
class Login:
    """A working directory, and a profile for the wrappers."""

    folder: Path
    profile: Path

    def scheduler(self) -> PbsScheduler:
        return PbsScheduler(
            replace(load_profile(str(self.profile)), warn_s=0.0), Start(self.folder, RUNNER)
        )

    def batch(self, *behaviours: str) -> Batch:
        tag = new_tag()
        (self.folder / tag).mkdir()
        return Batch(
            tag,
            "study",
            scripted_elements.write_batch(self.folder / tag, *behaviours),
            len(behaviours),
        )


@pytest.fixture
def login(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    monkeypatch.setenv("PATH", f"{torque_wrappers.unpack()}:{os.environ['PATH']}")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text(PROFILE)
    return Login(tmp_path, tmp_path / "site.yaml")


def test_a_grid_is_submitted_and_trained_and_its_results_are_read(login: Login) -> None:
    (login.folder / "study.yaml").write_text(GRID)
    folder = GridFolder(login.folder / "runs" / "study")

    assert call_submit("study.yaml", "--on", "pbs", "--profile", login.profile) == 0
    first = {status.state for status in read_states(folder, registry.states).values()}
    wait_until(
        lambda: _are_done(folder), lambda: f"{read_states(folder, registry.states)}", PATIENCE_S
    )

    assert first <= {RunState.QUEUED, RunState.RUNNING}
    (submission,) = Journal(folder).submissions().values()
    assert [(job.first, job.size) for job in submission.jobs] == [(0, 1), (1, 1)]
    for index in (0, 1):
        wait_until(
            output_of(folder.batches / "1.jsonl", index, 0).exists,
            lambda: "its output is not where it should be",
        )
    assert sorted(path.name for path in login.folder.iterdir()) == [
        "runs",
        "site.yaml",
        "study.yaml",
    ]


def _are_done(folder: GridFolder) -> bool:
    return {status.state for status in read_states(folder, registry.states).values()} == {
        RunState.DONE
    }


def test_elements_end_as_they_should_where_qstat_tells_no_exit_codes(login: Login) -> None:
    scheduler = login.scheduler()
    batch = login.batch("ok", "exit 3", "sleep 60")
    handles = scheduler.submit(batch, Resources(cpus=2, mem_mib=500, walltime_min=5))
    wait_until(
        scripted_elements.log_of(batch.path, 2).exists, lambda: "it does not start", PATIENCE_S
    )

    scheduler.cancel([handles[2]])
    states = settle(scheduler, handles, patience_s=PATIENCE_S)

    assert {(state.phase, state.cause, state.detail) for state in states.values()} == {
        (Phase.ENDED, Cause.UNKNOWN, "PBS does not say how it ended")
    }
    assert {state.node[:1] for state in states.values()} == {NODES[0]}
    assert output_of(batch.path, 0, 0).read_text().startswith("element 0 prints")


def test_jobs_are_found_by_their_tag_without_qselect_and_can_wait_for_each_other(
    login: Login,
) -> None:
    scheduler = login.scheduler()
    first = replace(login.batch("sleep 2", "ok"), apart=True)
    canaries = scheduler.submit(first, Resources())
    rest = replace(login.batch("ok"), after=tuple(job.native_id for job in canaries))

    handles = scheduler.submit(rest, Resources())
    waiting = scheduler.states(handles)[handles[0]]
    found = scheduler.find(first.tag)
    settle(scheduler, [*canaries, *handles], patience_s=PATIENCE_S)

    assert waiting.phase is Phase.QUEUED
    assert found == [Job(job.native_id, index, 1) for index, job in enumerate(canaries)]
    assert (
        scripted_elements.log_of(rest.path, 0).stat().st_mtime
        - scripted_elements.log_of(first.path, 0).stat().st_mtime
        > 1.5
    )
