"""Several runs to a job of the real Slurm: warned together, killed alone."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anlp.core import lease
from anlp.records.elements import Element
from anlp.records.files import read_metrics, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import read_result
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.runs.journal import Journal, new_tag
from jobs.runs.status import read_states
from jobs.schedulers.base import Batch, Cause, Job
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from jobs.schedulers.slurm.script import SlurmOptions
from tests.support.schedulers.slurm.cluster import PATIENCE_S, Cluster, said, settle

pytestmark = pytest.mark.slow
SETTINGS = {"data": "digits", "hidden": 64, "batch_size": 32, "epochs": 60}


def make_pack(
    root: Path, count: int, at_once: int, **settings: Any
) -> tuple[Batch, list[RunFolder]]:
    """A batch of one element, as submit writes it."""
    specs = tuple(
        make_spec("mnist", {**SETTINGS, **settings, "lr": (1 + number) / 100}, 0)
        for number in range(count)
    )
    folder, tag = GridFolder(root / "runs" / "study"), new_tag()
    folder.batches.mkdir(parents=True)
    path = folder.batches / "1.jsonl"
    options = RunOptions(batch=tag, wandb=WandbOptions(mode="disabled"))
    write_jsonl(path, [Element(specs, options, at_once).to_json()])
    return Batch(tag, "study", path, 1), [folder.run(spec.run_id) for spec in specs]


def endings_of(run: RunFolder) -> list[str]:
    return [lease.read(path).get("ending", "") for path in sorted(run.attempts.glob("*.json"))]


def numbers_of(run: RunFolder) -> Any:
    result = read_result(run)
    lines = [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in read_metrics(run.metrics)
    ]
    return result and (result.outcome, dict(result.metrics), result.epoch, result.steps), lines


def wait_for_epochs(runs: list[RunFolder], count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(len(read_metrics(run.metrics)) <= count for run in runs):
        assert time.monotonic() < deadline, "they do not train"
        time.sleep(0.1)


def test_a_warned_pack_is_requeued_goes_on_where_it_was_and_has_the_same_numbers(
    cluster: Cluster, tmp_path: Path
) -> None:
    batch, runs = make_pack(tmp_path / "warned", 3, 2)
    undisturbed, others = make_pack(tmp_path / "undisturbed", 3, 2)
    scheduler = SlurmScheduler()
    handles = [*scheduler.submit(batch, Resources()), *scheduler.submit(undisturbed, Resources())]
    wait_for_epochs(runs[:2], 3)

    cluster.ask("scancel", "--signal=USR2", "--batch", f"{handles[0].native_id}_{handles[0].index}")
    settle(scheduler, handles)

    assert [endings_of(run)[0] for run in runs] == ["interrupted", "interrupted", "done"], said(
        batch, handles[0]
    )
    assert [endings_of(run)[-1] for run in runs] == ["done"] * 3
    assert [numbers_of(run) for run in runs] == [numbers_of(run) for run in others]


def test_a_run_that_takes_its_jobs_memory_is_killed_alone_and_told_so(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO", json.dumps({"0.01": "sleep 1", "0.02": "eat 2000"}))
    batch, runs = make_pack(tmp_path, 3, 2)
    folder = GridFolder(batch.path.parents[1])
    journal = Journal(folder)
    scheduler = SlurmScheduler(
        SlurmOptions(python=(sys.executable,), runner="tests.support.packed_runs:run_quickly")
    )
    resources = Resources(mem_mib=400)

    journal.intend(batch, "slurm", "none", resources)
    handles = scheduler.submit(
        batch, resources, lambda job: journal.accepted(batch.tag, Job(job.native_id, 0, 1))
    )
    journal.answered(batch.tag)
    settle(scheduler, handles)

    assert [read_result(run) is not None for run in runs] == [True, False, True], said(
        batch, handles[0]
    )
    lost = read_states(folder, scheduler.states)[runs[1].run_id]
    assert (lost.cause, lost.crashed_in_pack) == (Cause.OUT_OF_MEMORY, True)
