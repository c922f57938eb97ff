"""Runs that were trained here and mirrored to a server give the same frames from their folders and
from the server.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from pandas.testing import assert_frame_equal

import analysis
from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.tasks import make_spec
from tests.support.wandb_server import KEY, Stub

pytestmark = pytest.mark.slow  # a process that trains for each way in which a run can end

TINY: Mapping[str, Any] = {
    "data": "digits",
    "hidden": 16,
    "epochs": 3,
    "batch_size": 64,
    "lr": 0.01,
}
_processes = multiprocessing.get_context("spawn")  # nothing of this process's wandb


@pytest.fixture
def frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[analysis.Runs, analysis.Runs]]:
    """What was trained, from the folders and from the server."""
    stub = Stub()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    values = {"BASE_URL": stub.url, "API_KEY": KEY, "ERROR_REPORTING": "false"}
    for name, value in values.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    train(tmp_path / "runs" / "digits")
    yield analysis.load("digits"), analysis.load("wandb://stub/tiny/digits")
    wandb.teardown()
    stub.close()


def train(grid: Path) -> None:
    """Runs that end in every way a run can end after it has begun."""
    run(
        grid,
        [
            spec(0),
            spec(1, model="cnn", filters=2, units=8),
            spec(2, test_each_epoch=True),
            spec(3, epochs=0),
            spec(4, lr=1e30),  # diverges
        ],
    )
    run(grid, [spec(5)], fail_in_step)
    run(grid, [spec(6)], stop_in_step)
    run(grid, [spec(7)], stop_in_step)
    run(grid, [spec(7)])  # continues


def spec(seed: int, **changes: Any) -> RunSpec:
    return make_spec("mnist", {**TINY, **changes}, seed)


def run(grid: Path, specs: list[RunSpec], prepare: Callable[[], None] = lambda: None) -> None:
    """Carries out an element with these runs in a process of its own."""
    folder = GridFolder(grid)
    folder.batches.mkdir(parents=True, exist_ok=True)
    path = folder.batches / f"{len(os.listdir(folder.batches)) + 1}.jsonl"
    options = RunOptions(
        device="cpu", wandb=WandbOptions("online", "tiny", "stub", "digits", ("tag",))
    )
    path.write_text(json.dumps(Element(tuple(specs), options).to_json()) + "\n")
    process = _processes.Process(target=carry_out, args=(path, prepare.__name__))
    process.start()
    process.join(300)  # several minutes of a machine that does other things as well
    assert process.exitcode is not None


def carry_out(batch: Path, prepare: str) -> None:
    from anlp.run import run_element

    globals().get(prepare, lambda: None)()
    raise SystemExit(run_element(batch, 0, job="test"))


def fail_in_step() -> None:
    in_step(40, lambda: 1 / 0)


def stop_in_step() -> None:
    in_step(40, lambda: os.kill(os.getpid(), signal.SIGTERM))


def in_step(number: int, act: Callable[[], object]) -> None:
    """Acts within the `number`-th step of training, the second epoch here."""
    from anlp.training import attempt, trainer

    attempt.SAVE_INTERVAL_S = 0.0
    original, done = trainer.Trainer._train_step, [0]

    def step(self: trainer.Trainer, *given: Any) -> None:
        original(self, *given)
        done[0] += 1
        if done[0] == number:
            act()

    # replacing a part of the subject is how a test gets a run to end at a given point
    trainer.Trainer._train_step = step  # type: ignore[method-assign,assignment] # see above


def test_folders_and_wandb_give_equal_frames_of_runs_that_ended_in_every_way(
    frames: tuple[analysis.Runs, analysis.Runs],
) -> None:
    folders, server = frames

    assert_frame_equal(folders.runs, server.runs, check_exact=True)
    assert_frame_equal(folders.history, server.history, check_exact=True)
    assert (folders.notes, server.notes) == ((), ())
    runs: pd.DataFrame = frames[1].runs.set_index("seed").sort_index()

    assert runs["outcome"].tolist() == [
        "ok",
        "ok",
        "ok",
        "ok",
        "diverged",
        "failed",
        "unfinished",
        "ok",
    ]
    assert runs["tested_epoch"][3] == 0
    assert runs["test/acc"].notna().sum() == 5
    epochs = frames[1].history.groupby("run_id")["epoch"].apply(list)
    assert epochs[runs["run_id"][7]] == [0, 1, 2, 3]
    assert len(epochs[runs["run_id"][6]]) == 2
