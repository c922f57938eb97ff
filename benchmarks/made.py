"""Grids for measuring: batches of short runs, and folders of runs that never took place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from anlp.core.lease import Process
from anlp.core.spec import RunSpec
from anlp.records.accounting import AttemptUsage
from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunResult
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.runs.journal import Journal, new_tag
from jobs.schedulers.base import Batch, Job

RUNNER = "benchmarks.first_step:run_element"


def note_path(batch: Path, index: int) -> Path:
    """Return where `RUNNER` records the time of element `index`, on the machine-wide clock."""
    return batch.with_name(f"first-step-{index}")


def specs(count: int, **settings: object) -> list[RunSpec]:
    """`count` runs that differ in their learning rate."""
    return [
        make_spec("mnist", {"lr": 1e-3 + 1e-7 * index, **settings}, 0) for index in range(count)
    ]


def write_batch(folder: GridFolder, runs: Sequence[RunSpec], options: RunOptions) -> Batch:
    """Return the batch file of a first submission, one run per element."""
    folder.batches.mkdir(parents=True)
    path = folder.batches / "1.jsonl"
    write_jsonl(path, [Element((spec,), options).to_json() for spec in runs])
    return Batch(options.batch, folder.name, path, len(runs))


def finished_grid(root: Path, count: int) -> GridFolder:
    """Make the folder of a grid of `count` submitted and finished runs, each with its result."""
    folder, tag = GridFolder(root / f"done{count}"), new_tag()
    runs = specs(count)
    batch = write_batch(folder, runs, RunOptions(batch=tag))
    launcher = Process.this().to_id()
    journal = Journal(folder)
    journal.intend(batch, "local", "none", Resources())
    journal.accepted(tag, Job(launcher, 0, count))
    journal.answered(tag)
    for spec in runs:
        metrics = {"val/acc": 0.97, "val/loss": 0.1, "test/acc": 0.96, "test/loss": 0.12}
        result = RunResult(
            spec.run_id, Outcome.OK, metrics, epochs=10, seconds=20.0, provenance=_provenance(tag)
        )
        run = folder.run(spec.run_id)
        run.path.mkdir()
        run.result.write_text(
            json.dumps(result.to_json())
        )  # no reader meanwhile: 10,000 files need no sync
    return folder


def _provenance(tag: str) -> dict[str, object]:
    """Return what a run writes about itself, as far as `jobs.runs.cost` reads it."""
    spent = AttemptUsage(1e9, 1e9 + 20, "done", tag, 18.0)
    return {"batch": tag, "cpu_s": 18.0, "peak_rss_mib": 400.0, "spent": [spent.to_json()]}


def trained_grid(root: Path, count: int, epochs: int) -> GridFolder:
    """Make the folder of `count` finished runs of `epochs` epochs each, without a journal."""
    folder = GridFolder(root / f"trained{count}x{epochs}")
    options = RunOptions().to_json()
    for number, spec in enumerate(specs(count, epochs=epochs)):
        run = folder.run(spec.run_id)
        run.path.mkdir(parents=True)
        lines = [_made_line(epoch, number) for epoch in range(epochs + 1)]
        run.spec.write_text(json.dumps({"spec": spec.to_json(), "options": options}, indent=1))
        run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        run.result.write_text(json.dumps(_made_result(spec, lines[-1]).to_json(), indent=1))
    return folder


def factorial_grid(root: Path, epochs: int) -> GridFolder:
    """Make the folder of 10,000 finished runs over six settings.

    2 models, 10 rates, 4 optimizers, 5 dropouts, 5 batch sizes, 5 seeds.

    Rates and optimizers interact, and the largest rates fail, as in real grids.
    """
    folder = GridFolder(root / f"factorial{epochs}")
    axes: dict[str, Sequence[Any]] = {
        "model": ["dense", "cnn"],
        "lr": [10 ** (-4 + 0.4 * k) for k in range(10)],
        "optimizer": ["sgd", "adam", "adamw", "rmsprop"],
        "dropout": [0.0, 0.1, 0.2, 0.3, 0.5],
        "batch_size": [16, 32, 64, 128, 256],
    }
    options = RunOptions().to_json()
    for number, (*levels, seed) in enumerate(product(*[*axes.values(), range(5)])):
        settings = dict(zip(axes, levels, strict=True))
        spec = make_spec("mnist", {**settings, "epochs": epochs}, seed)
        run = folder.run(spec.run_id)
        run.path.mkdir(parents=True)
        lines = [_factorial_line(epoch, number, settings) for epoch in range(epochs + 1)]
        run.spec.write_text(json.dumps({"spec": spec.to_json(), "options": options}, indent=1))
        run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        result = replace(
            _made_result(spec, lines[-1]),
            provenance={**_provenance("made"), "host": f"node{number % 9}"},
        )
        run.result.write_text(json.dumps(result.to_json(), indent=1))
    return folder


def _factorial_line(epoch: int, number: int, settings: Mapping[str, Any]) -> dict[str, float]:
    distance = math.log10(settings["lr"]) - (-1.0 if settings["optimizer"] == "sgd" else -2.5)
    learned = 0.0 if distance > 1 else 0.88 * math.exp(-(distance**2)) - 0.02 * settings["dropout"]
    share = 1 - math.exp(-epoch / 8)
    noise = 0.004 * math.sin(12.9898 * number + 78.233 * epoch)
    acc = 0.105 + learned * share + noise
    losses = {
        "train/loss": 2.3 - 2.2 * learned * share,
        "val/loss": 2.3 - 2.1 * learned * share + abs(noise),
    }
    return {
        "epoch": epoch,
        "lr": settings["lr"],
        **losses,
        "train/acc": acc,
        "val/acc": acc - 0.003,
        "seconds": 1.25,
    }


def _made_line(epoch: int, number: int) -> dict[str, float]:
    acc = 1 - 0.9 * math.exp(-epoch / (10 + number % 7)) + 1e-4 * math.sin(number + 3 * epoch)
    losses = {
        "train/loss": 1 / (1 + epoch) + 1e-3 * math.cos(number),
        "val/loss": 1.1 / (1 + epoch),
    }
    return {
        "epoch": epoch,
        "lr": 1e-3,
        **losses,
        "train/acc": acc,
        "val/acc": acc - 0.01,
        "seconds": 1.25,
    }


def _made_result(spec: RunSpec, last: Mapping[str, float]) -> RunResult:
    metrics = {name: value for name, value in last.items() if "/" in name} | {
        "test/acc": last["val/acc"]
    }
    return RunResult(
        run_id=spec.run_id,
        outcome=Outcome.OK,
        metrics=metrics,
        epoch=int(last["epoch"]),
        epochs=int(last["epoch"]),
        baselines={"random": 0.1, "majority": 0.1135},
        sizes={"train": 54_000, "val": 6_000, "test": 10_000},
        seconds=125.0,
    )
