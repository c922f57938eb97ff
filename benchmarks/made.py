"""Grids for measuring: batches of short runs, and folders of runs that never took place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from anlp.claim import Process
from anlp.record import Element, GridFolder, Outcome, RunOptions, RunResult, write_jsonl
from anlp.settings import make_spec
from anlp.spec import RunSpec
from jobs.journal import Journal, new_tag, render_process
from jobs.resources import Resources
from jobs.schedulers.base import Batch, Job

RUNNER = "benchmarks.first_step:run_element"


def note_path(batch: Path, index: int) -> Path:
    """Where `RUNNER` notes the time of element `index`, on the clock that all processes of a machine share."""
    return batch.with_name(f"first-step-{index}")


def specs(count: int, **settings: object) -> list[RunSpec]:
    """`count` runs that differ in their learning rate."""
    return [make_spec("mnist", {"lr": 1e-3 + 1e-7 * index, **settings}, 0) for index in range(count)]


def write_batch(folder: GridFolder, runs: Sequence[RunSpec], options: RunOptions) -> Batch:
    """The batch file of a first submission, one run per element."""
    folder.batches.mkdir(parents=True)
    path = folder.batches / "1.jsonl"
    write_jsonl(path, [Element((spec,), options).to_json() for spec in runs])
    return Batch(options.batch, folder.name, path, len(runs))


def finished_grid(root: Path, count: int) -> GridFolder:
    """The folder of a grid whose `count` runs were all submitted and are done, each with its result."""
    folder, tag = GridFolder(root / f"done{count}"), new_tag()
    runs = specs(count)
    batch = write_batch(folder, runs, RunOptions(batch=tag))
    launcher = render_process(Process.this())
    journal = Journal(folder)
    journal.intend(batch, "local", "none", Resources())
    journal.accepted(tag, Job(launcher, 0, count))
    journal.answered(tag)
    for spec in runs:
        metrics = {"val/acc": 0.97, "val/loss": 0.1, "test/acc": 0.96, "test/loss": 0.12}
        result = RunResult(spec.run_id, Outcome.OK, metrics, epochs=10, seconds=20.0, provenance={"batch": tag})
        run = folder.run(spec.run_id)
        run.path.mkdir()
        run.result.write_text(json.dumps(result.to_json()))  # nobody reads meanwhile: no need to sync 10,000 files
    return folder
