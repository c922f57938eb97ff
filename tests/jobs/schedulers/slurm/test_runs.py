"""Real training in a real Slurm, interrupted in every way that it knows: one attempt later the
numbers are the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anlp.records.elements import Element
from anlp.records.files import read_json, read_metrics, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.runs.journal import new_tag
from jobs.schedulers.base import Batch, Cause, Phase
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from jobs.schedulers.slurm.script import SlurmOptions
from tests.support.schedulers.slurm.cluster import NODES, PATIENCE_S, Cluster, said, settle

pytestmark = pytest.mark.slow
EPOCHS = 100  # some seconds, so that it can be interrupted in between
ENDLESS = 100_000
SETTINGS = {"data": "digits", "hidden": 64, "batch_size": 32, "dropout": 0.2}


def make_runs(root: Path, epochs: int = EPOCHS) -> tuple[Batch, RunFolder]:
    """A batch of one run, as submit writes it."""
    spec = make_spec("mnist", {**SETTINGS, "epochs": epochs}, 0)
    folder = GridFolder(root / "runs" / "study")
    folder.batches.mkdir(parents=True)
    path = folder.batches / "1.jsonl"
    tag = new_tag()
    options = RunOptions(batch=tag, wandb=WandbOptions(mode="disabled"))
    write_jsonl(path, [Element((spec,), options).to_json()])
    return Batch(tag, "study", path, 1), folder.run(spec.run_id)


def numbers_of(run: RunFolder) -> Any:
    result = read_json(run.result) or {}
    kept = {name: value for name, value in result.items() if name not in ("seconds", "provenance")}
    lines = [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in read_metrics(run.metrics)
    ]
    return kept, lines


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The numbers of the run where nothing interrupts it."""
    batch, run = make_runs(tmp_path_factory.mktemp("reference"))
    subprocess.run(
        [sys.executable, "-m", "anlp.run", "--batch", batch.path, "--index", "0"], check=True
    )
    return numbers_of(run)


def wait_for_epochs(run: RunFolder, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(read_metrics(run.metrics)) <= count:
        assert time.monotonic() < deadline, "it does not train"
        time.sleep(0.1)


def attempts(run: RunFolder) -> list[str]:
    """How each attempt ended; nothing where it was killed."""
    return [
        (read_json(path) or {}).get("ending", "") for path in sorted(run.attempts.glob("*.json"))
    ]


def test_a_run_that_is_warned_of_its_time_limit_is_requeued_and_ends_with_the_same_numbers(
    cluster: Cluster, tmp_path: Path, reference: Any
) -> None:
    batch, run = make_runs(tmp_path)
    scheduler = SlurmScheduler()

    handles = scheduler.submit(batch, Resources(walltime_min=1))
    wait_for_epochs(run, 10)
    # Slurm looks at time limits every 30 s, which a short run may not live to see: its warning,
    # sent by hand
    cluster.ask("scancel", "--signal=USR2", "--batch", f"{handles[0].native_id}_{handles[0].index}")
    states = settle(scheduler, handles)

    assert states[handles[0]].cause is None
    assert attempts(run)[0] == "interrupted"
    assert attempts(run)[-1] == "done"
    assert numbers_of(run) == reference
    assert "this job is timed-out" in said(batch, handles[0])
    assert (
        len(list(batch.path.with_suffix(".slurm").iterdir())) == 3
    )  # the script, the output, the count


def test_a_run_that_may_not_be_continued_any_more_is_left_for_the_next_submit(
    cluster: Cluster, tmp_path: Path
) -> None:
    batch, run = make_runs(tmp_path, ENDLESS)
    scheduler = SlurmScheduler(SlurmOptions(continuations=0))

    handles = scheduler.submit(batch, Resources(walltime_min=1))
    states = settle(scheduler, handles)

    state = states[handles[0]]
    assert (state.cause, state.detail) == (Cause.CONTINUE, "it saved a checkpoint and left")
    assert attempts(run) == ["interrupted"]
    assert "timed-out too many times. The next submit continues it." in said(batch, handles[0])


def test_where_nodes_have_no_scontrol_the_run_is_left_for_the_next_submit(
    cluster: Cluster, tmp_path: Path
) -> None:
    batch, run = make_runs(tmp_path, ENDLESS)
    scheduler = SlurmScheduler(SlurmOptions(python=("env", "PATH=/nowhere", sys.executable)))

    handles = scheduler.submit(batch, Resources(walltime_min=1))
    states = settle(scheduler, handles)

    assert states[handles[0]].cause is Cause.CONTINUE
    assert "could not requeue" in said(batch, handles[0])
    assert (attempts(run), run.checkpoint.exists()) == (["interrupted"], True)


def test_a_preempted_run_is_requeued_and_ends_with_the_same_numbers(
    cluster_alone: Cluster, tmp_path: Path, reference: Any
) -> None:
    batch, run = make_runs(tmp_path)
    scheduler = SlurmScheduler(SlurmOptions(continuations=0))  # preemption uses none of them

    handles = scheduler.submit(batch, Resources(queue="low", walltime_min=60))
    wait_for_epochs(run, 5)
    cluster_alone.ask("sbatch", "--exclusive", "-N4", "-o/dev/null", "--wrap", "sleep 2")
    states = settle(scheduler, handles)

    assert states[handles[0]].cause is None
    assert attempts(run) == ["interrupted", "done"]
    assert numbers_of(run) == reference


def test_a_run_whose_job_is_ended_by_preemption_is_interrupted_and_says_so(
    cluster_alone: Cluster, tmp_path: Path
) -> None:
    batch, run = make_runs(tmp_path, ENDLESS)
    scheduler = SlurmScheduler()

    handles = scheduler.submit(batch, Resources(queue="spare", walltime_min=60))
    wait_for_epochs(run, 5)
    cluster_alone.ask("sbatch", "--exclusive", "-N4", "-o/dev/null", "--wrap", "sleep 2")
    state = settle(scheduler, handles)[handles[0]]

    assert (state.cause, state.detail) == (
        Cause.PREEMPTED,
        f"preempted by another job ({state.node})",
    )
    assert state.node.startswith(NODES)
    row = cluster_alone.ask("sacct", "-n", "-P", "-X", "-j", handles[0].native_id, "-o", "State")
    assert row.split() == ["PREEMPTED"]
    assert run.checkpoint.exists()


def test_a_run_whose_node_dies_goes_on_elsewhere_and_ends_with_the_same_numbers(
    cluster_alone: Cluster, tmp_path: Path, reference: Any
) -> None:
    batch, run = make_runs(tmp_path)
    scheduler = SlurmScheduler()
    handles = scheduler.submit(batch, Resources())
    wait_for_epochs(run, 5)
    node = cluster_alone.ask("squeue", "-h", "-j", handles[0].native_id, "-o", "%N").strip()

    cluster_alone.act("fail", node)
    between = scheduler.states(handles)[handles[0]]
    states = settle(scheduler, handles)

    assert between.phase is not Phase.ENDED
    assert states[handles[0]].cause is None
    assert attempts(run) == ["", "done"]
    assert numbers_of(run) == reference


@pytest.mark.parametrize("before", ["while it waits", "while it runs"])
def test_a_cancelled_run_is_not_requeued(cluster: Cluster, tmp_path: Path, before: str) -> None:
    batch, run = make_runs(tmp_path, ENDLESS)
    scheduler = SlurmScheduler()
    waits: dict[str, Callable[[], None]] = {
        "while it waits": lambda: None,
        "while it runs": lambda: wait_for_epochs(run, 5),
    }

    handles = scheduler.submit(
        batch, Resources(extra=("--hold",) if before == "while it waits" else ())
    )
    waits[before]()
    scheduler.cancel(handles)
    state = settle(scheduler, handles)[handles[0]]

    words = " before it started" if before == "while it waits" else ""
    assert (state.cause, state.detail) == (Cause.CANCELLED, f"cancelled by user 0{words}")
    assert attempts(run) == ([] if before == "while it waits" else ["interrupted"])
