"""All that real programs log with wandb, as one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anlp.programs.sources.wandb_runs import WandbRun
from tests.anlp.programs.sources.test_wandb_file import run_script
from tests.support.wandb_server import KEY, Stub

LOG = """
import sys
import wandb
run = wandb.init(project="p", config={{"lr": {lr}}})
for epoch in range({first}, {last}):
    run.log({{"epoch": epoch, "acc": epoch / {scale}}})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two attempts at one run, the second from its checkpoint on."""
    folder = tmp_path_factory.mktemp("attempts")
    given = {"WANDB_RUN_ID": "mine", "WANDB_RESUME": "allow"}
    run_script(folder, LOG.format(lr=0.1, first=0, last=4, scale=10), **given)
    run_script(folder, LOG.format(lr=0.2, first=2, last=6, scale=100), **given)
    return folder


def rows_of(run: WandbRun) -> list[tuple[float, float]]:
    return [(row["epoch"], row["acc"]) for row in run.new_rows()]


def test_attempts_are_read_in_their_order(folder: Path) -> None:
    run = WandbRun([folder], "mine")

    first = [(0, 0), (1, 0.1), (2, 0.2), (3, 0.3)]
    assert rows_of(run) == [*first, (2, 0.02), (3, 0.03), (4, 0.04), (5, 0.05)]
    assert rows_of(run) == []
    assert run.is_there
    assert run.config == {"lr": 0.2}
    assert run.summary["acc"] == 0.05
    assert run.exit_code == 0
    assert run.notes() == []


def test_the_folder_of_wandb_itself_will_do(folder: Path) -> None:
    assert len(rows_of(WandbRun([folder / "wandb"], "mine"))) == 8
    assert len(rows_of(WandbRun([folder, folder / "wandb"], "mine"))) == 8


def test_an_id_that_the_program_sets_itself_is_said(folder: Path) -> None:
    run = WandbRun([folder], "given")

    assert len(rows_of(run)) == 8
    assert run.notes() == [
        "the program sets the id of its wandb run itself (mine); leave `id` out of wandb.init and "
        "it is given"
    ]


TWO = """
import wandb
for name in ("first", "second", "third"):
    run = wandb.init(project="p", id=name, reinit="finish_previous")
    run.log({"epoch": 0, "acc": 0.5})
    run.finish()
"""


def test_other_runs_of_one_program_are_counted(tmp_path: Path) -> None:
    run_script(tmp_path, TWO)

    run = WandbRun([tmp_path], "second")
    assert rows_of(run) == [(0, 0.5)]
    assert run.run_id == "second"
    assert run.notes() == [
        "the program logged 2 other wandb runs as well, which the results leave out: first, third"
    ]
    own = WandbRun([tmp_path], "given")
    assert len(rows_of(own)) == 1
    assert own.run_id == "first"
    assert len(own.notes()) == 2


def test_the_run_with_the_given_id_takes_over_when_it_begins(tmp_path: Path) -> None:
    run_script(tmp_path, TWO)
    hidden = next(tmp_path.glob("wandb/*-second"))
    hidden.rename(tmp_path / "hidden")
    run = WandbRun([tmp_path], "second")
    assert (len(rows_of(run)), run.must_restart) == (1, False)

    (tmp_path / "hidden").rename(hidden)
    assert (len(rows_of(run)), run.must_restart) == (1, True)
    run.rewind()
    assert len(rows_of(run)) == 1
    assert run.run_id == "second"


def test_where_wandb_was_not_used_there_is_nothing(tmp_path: Path) -> None:
    run = WandbRun([tmp_path, tmp_path / "gone"], "mine")

    empty: list[dict[str, Any]] = list(run.new_rows())
    assert empty == []
    assert (run.is_there, run.run_id, run.exit_code, run.notes()) == (False, "", None, [])


def test_runs_that_are_sent_to_a_server_are_read_as_well(tmp_path: Path) -> None:
    """The server tells the second attempt where the first one was."""
    server = Stub()
    try:
        given = {
            "WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY,
            "WANDB_RUN_ID": "mine", "WANDB_RESUME": "allow",
        }  # fmt: skip
        run_script(tmp_path, LOG.format(lr=0.1, first=0, last=4, scale=10), **given)
        run_script(tmp_path, LOG.format(lr=0.2, first=2, last=6, scale=100), **given)
    finally:
        server.close()
    run = WandbRun([tmp_path], "mine")

    rows = list(run.new_rows())

    assert len(list(tmp_path.glob("wandb/run-*-mine"))) == 2
    assert [(row["_step"], row["epoch"]) for row in rows] == [
        (0, 0), (1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 4), (7, 5),
    ]  # fmt: skip
    assert run.config == {"lr": 0.2}
    assert run.notes() == []
